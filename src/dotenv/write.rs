//! Puts the generated block into the file on disk.

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::fence::{self, Block};
use super::quote::{EntryError, QuoteWarning};
use super::read::read;
use crate::support::fs::write_atomically;

/// A new file may hold secrets.
const NEW_MODE: u32 = 0o600;

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Whether the file on disk is another one than before.
    pub changed: bool,
    /// What the user should know.
    pub warnings: Vec<WriteWarning>,
}

/// Something that does not keep the file from being written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteWarning {
    /// Some readers read a value wrong.
    #[error("`{key}`: {warning}")]
    Value {
        /// The key.
        key: String,
        /// Why, and which readers.
        warning: QuoteWarning,
    },
    /// The user's part has a generated key too, with another value.
    #[error("`{key}` is also set in line {line}, outside of the generated block")]
    KeyOutside {
        /// The key.
        key: String,
        /// The line in the new file, from 1.
        line: usize,
    },
    /// Somebody changed the block; what was in it has become the user's.
    #[error("the generated block was changed by hand; what it held was moved out of it")]
    BlockDamaged,
}

impl WriteWarning {
    /// What to do about it, or whom it concerns.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Value { warning, .. } => {
                Some(format!("it is read wrong by {}", warning.readers()))
            }
            // For these the first of two equal keys wins, and the block is at the end.
            Self::KeyOutside { .. } => Some(
                "the block's value is the one that counts, but dotenvy, deno and uv take the first \
                 of two: remove the line, or write the same value there"
                    .to_owned(),
            ),
            Self::BlockDamaged => None,
        }
    }
}

/// Why the file was not written. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum DotenvError {
    /// A key or a value that no .env file can hold.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// A directory, a FIFO, a device: nothing that can be replaced.
    #[error("`{}` is not a regular file", .path.display())]
    NotAFile {
        /// Which path.
        path: PathBuf,
    },
    /// A link into the file of another stack, whose values this one would replace.
    #[error("`{}` is a link to `{}`, where the stack of that directory has its values", .path.display(), .target.display())]
    OtherStack {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// The file cannot be read, replaced or removed; the source names it.
    #[error("the generated .env file cannot be written")]
    Io(#[from] io::Error),
}

impl DotenvError {
    /// What to do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Entry(error) => error.hint(),
            Self::NotAFile { .. } => "choose another place with `dotenv.path`",
            Self::OtherStack { .. } => {
                "choose a file of its own, such as `dotenv.path: .env.local`"
            }
            Self::Io(_) => {
                "make the directory writable, choose another place with `dotenv.path`, or turn the \
                 file off with `dotenv: false`"
            }
        }
    }
}

/// Replaces the generated block of the file at `path` by one for `entries`.
///
/// Without entries the block is removed, and with it a file in which nothing else is left. A link is
/// followed, an existing file keeps its mode, and nothing is written when nothing changes. Blocks
/// on `fsync`.
pub fn write(path: &Path, entries: &[(String, String)]) -> Result<Written, DotenvError> {
    let existing = read_existing(path)?;
    if let Some(target) = others_file(path) {
        // Nothing of ours is in there, so there is nothing to be removed either.
        if entries.is_empty() {
            return Ok(Written {
                changed: false,
                warnings: Vec::new(),
            });
        }
        let path = path.to_owned();
        return Err(DotenvError::OtherStack { path, target });
    }
    let bytes = existing.as_deref().unwrap_or_default();
    let rendered = fence::render(bytes, entries)?;
    let warnings = warnings(&rendered, entries);
    let changed = if rendered.bytes == bytes {
        false
    } else if rendered.bytes.is_empty() && !fs::symlink_metadata(path)?.is_symlink() {
        fs::remove_file(path)?;
        true
    } else {
        // It may hold secrets: git ignores what is in there, should it ever be left.
        let room = path.with_file_name(".stack");
        write_atomically(path, &rendered.bytes, NEW_MODE, &room)?;
        true
    };
    Ok(Written { changed, warnings })
}

/// Where a link leads if that is another directory with a stack of its own: tools for worktrees link
/// each worktree's `.env` to that of the main one.
fn others_file(path: &Path) -> Option<PathBuf> {
    let own = fs::canonicalize(path.parent()?).ok()?;
    let target = fs::canonicalize(path).ok()?;
    let directory = target.parent()?;
    let has_stack = ["stack.yaml", "stack.yml", ".stack"]
        .iter()
        .any(|name| directory.join(name).exists());
    (directory != own && has_stack).then_some(target)
}

/// The bytes of the file; `None` if there is none, also behind a dangling link.
fn read_existing(path: &Path) -> Result<Option<Vec<u8>>, DotenvError> {
    match fs::metadata(path) {
        // Opening a FIFO would wait for a writer, for ever.
        Ok(metadata) if !metadata.is_file() => Err(DotenvError::NotAFile {
            path: path.to_owned(),
        }),
        Ok(_) => Ok(Some(fs::read(path)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn warnings(rendered: &fence::Rendered, entries: &[(String, String)]) -> Vec<WriteWarning> {
    let mut warnings = Vec::new();
    if rendered.old_block == Block::Damaged {
        warnings.push(WriteWarning::BlockDamaged);
    }
    for (key, warning) in &rendered.warnings {
        let (key, warning) = (key.clone(), *warning);
        warnings.push(WriteWarning::Value { key, warning });
    }
    // The value of a variable depends on who reads the file; here all of them are empty.
    for entry in read(&rendered.user, |_| Some(String::new())).entries {
        let generated = entries.iter().find(|(key, _)| *key == entry.key);
        // A wish that was granted says the same twice, and no reader can take the wrong one.
        if generated.is_some_and(|(_, value)| entry.value.as_ref() != Some(value)) {
            let (key, line) = (entry.key, entry.line);
            warnings.push(WriteWarning::KeyOutside { key, line });
        }
    }
    warnings
}
