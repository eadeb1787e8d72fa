//! The book as a file: a line that counts the rows, then two lines for each of them.
//!
//! ```text
//! {"version":1,"live":1,"stacks":1,"grants":[…]}
//! {"owner":{…},"boot":"…","netns":4026531840,"supervisor":{…},"numbers":{"tcp":[[8000,8000]]}}
//! [{"key":{…},"port":8000}]
//! {"owner":{…},"until":…,"numbers":{"tcp":[[8000,8000]]}}
//! {"sticky":[{"key":{…},"port":8000,"used":…}]}
//! ```
//!
//! The bodies (each second line) are carried over unread. So that a file that was cut off is found
//! out all the same, the first line says how many rows there are, and the last byte is a newline.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::book::Book;
use super::row::{Body, GrantRow, LiveRow, StackRow};

/// The version of the file that this program reads and writes.
pub(crate) const VERSION: u32 = 1;

/// The first line.
#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    live: usize,
    stacks: usize,
    grants: Vec<GrantRow>,
}

/// Only as much as the first line of every version has.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// Why text is no book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoBook {
    /// A later version wrote it.
    Newer,
    /// Where and how it is damaged.
    Damaged(String),
}

impl From<serde_json::Error> for NoBook {
    fn from(error: serde_json::Error) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// Reads a book.
pub(crate) fn read(bytes: &[u8]) -> Result<Book, NoBook> {
    let text = std::str::from_utf8(bytes).map_err(|error| NoBook::Damaged(error.to_string()))?;
    let first = text.lines().next().unwrap_or_default();
    // A newer file may well have another shape; its version says so.
    if let Ok(Version { version }) = serde_json::from_str(first)
        && version > VERSION
    {
        return Err(NoBook::Newer);
    }
    let head: Head = serde_json::from_str(first)?;
    let whole = text.strip_suffix('\n');
    let mut lines = whole.unwrap_or_default().split('\n').skip(1);
    let rows = head.live.saturating_add(head.stacks);
    if whole.is_none() || Some(lines.clone().count()) != rows.checked_mul(2) {
        return Err(NoBook::Damaged("it ends early".to_owned()));
    }
    let mut live = Vec::with_capacity(head.live);
    for _ in 0..head.live {
        let (head, text, ports) = row(&mut lines, ('[', ']'))?;
        live.push(LiveRow {
            head,
            head_text: Some(text),
            ports,
        });
    }
    let mut stacks = Vec::with_capacity(head.stacks);
    for _ in 0..head.stacks {
        let (head, text, past) = row(&mut lines, ('{', '}'))?;
        stacks.push(StackRow {
            head,
            head_text: Some(text),
            past,
        });
    }
    Ok(Book {
        live,
        stacks,
        grants: head.grants,
        damage: RefCell::new(None),
    })
}

/// The two lines of a row, the first one also as it stands there; `ends` are the characters in which the body stands.
fn row<'a, H: DeserializeOwned, B>(
    lines: &mut impl Iterator<Item = &'a str>,
    ends: (char, char),
) -> Result<(H, String, Body<B>), NoBook> {
    let mut next = || lines.next().unwrap_or_default();
    let text = next();
    let head = serde_json::from_str(text)?;
    let body = next();
    if !body.starts_with(ends.0) || !body.ends_with(ends.1) {
        return Err(NoBook::Damaged("a row has no body".to_owned()));
    }
    Ok((head, text.to_owned(), Body::Text(body.to_owned())))
}

/// The book as [`read`] takes it.
pub(crate) fn to_bytes(book: &Book) -> serde_json::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(64 * 1024);
    let head = Head {
        version: VERSION,
        live: book.live.len(),
        stacks: book.stacks.len(),
        grants: book.grants.clone(),
    };
    serde_json::to_writer(&mut bytes, &head)?;
    bytes.push(b'\n');
    for row in &book.live {
        write_row(&mut bytes, &row.head, row.head_text.as_ref(), &row.ports)?;
    }
    for row in &book.stacks {
        write_row(&mut bytes, &row.head, row.head_text.as_ref(), &row.past)?;
    }
    Ok(bytes)
}

fn write_row<T: Clone + Serialize + DeserializeOwned>(
    to: &mut Vec<u8>,
    head: &impl Serialize,
    head_text: Option<&String>,
    body: &Body<T>,
) -> serde_json::Result<()> {
    match head_text {
        Some(text) => to.extend_from_slice(text.as_bytes()),
        None => serde_json::to_writer(&mut *to, head)?,
    }
    to.push(b'\n');
    body.write(to)?;
    to.push(b'\n');
    Ok(())
}

/// Puts `bytes` in the place of the file `path`, by way of the file `beside`, so that a reader finds
/// the old file or the new one. Only for who has the lock: the name of `beside` is always the same,
/// so that a crash leaves one file behind at most.
pub(crate) fn replace(path: &Path, beside: &Path, bytes: &[u8]) -> io::Result<()> {
    let create = || {
        File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(beside)
    };
    let file = match create() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs_err::remove_file(beside)?;
            create()
        }
        other => other,
    };
    let named = |error: io::Error| {
        let text = format!("failed to write `{}`: {error}", beside.display());
        io::Error::new(error.kind(), text)
    };
    let written = file.map_err(named)?.write_all(bytes);
    let outcome = written.map_err(named).and_then(|()| rename(beside, path));
    if outcome.is_err() {
        drop(fs_err::remove_file(beside));
    }
    outcome
}

/// Renames a file over another one.
///
/// ext4 starts to write the data of a file that is renamed over another one, which takes longer than
/// all the rest (0.1 ms; `auto_da_alloc` in ext4(5)). It does not when the two change places.
#[cfg(target_os = "linux")]
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    let exchanged = renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_EXCHANGE);
    match exchanged {
        // There is no file yet, or the file system cannot do it.
        Err(_) => fs_err::rename(from, to),
        // A directory has nothing to do there, and it could not have been read either.
        Ok(()) => fs_err::remove_file(from),
    }
}

/// Renames a file over another one.
#[cfg(not(target_os = "linux"))]
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs_err::rename(from, to)
}
