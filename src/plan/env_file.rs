//! One `env_file`: read, with the place of everything that is wrong in it.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use super::code;
use crate::dotenv;
use crate::spec::code as spec_code;
use crate::spec::model::EnvFileSpec;
use crate::spec::problem::{Problem, Source, Span};

/// The largest file that is read, in bytes: an `env_file` may be a device by mistake.
const MAX_BYTES: u64 = 64 << 20;

/// How many mistakes of one file are told; each costs a walk to its line, and nobody reads more.
pub(super) const MAX_TOLD: usize = 100;

/// What a file says, in its order; `None` removes a key.
pub(super) type Entries = Vec<(String, Option<String>)>;

/// A file to read.
pub(super) struct Reading<'a> {
    pub(super) file: &'a EnvFileSpec,
    /// Its path as the user wrote it.
    pub(super) shown: &'a str,
    pub(super) path: &'a Path,
    /// Whether what `stack` wrote into it is left out.
    pub(super) without_block: bool,
}

impl Reading<'_> {
    /// The entries of the file; what is wrong goes to `problems`.
    pub(super) fn entries(
        &self,
        lookup: &dyn Fn(&str) -> Option<String>,
        problems: &mut Vec<Problem>,
    ) -> Entries {
        let bytes = match read_bytes(self.path) {
            Ok(bytes) if self.without_block => dotenv::user_part(&bytes),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.file.is_required => {
                return Vec::new();
            }
            Err(error) => {
                problems.push(self.unreadable(&error));
                return Vec::new();
            }
        };
        let contents = dotenv::read(&bytes, lookup);
        let source = source(Path::new(self.shown), &bytes);
        for error in contents.errors.iter().take(MAX_TOLD) {
            let mut problem = Problem::error(
                error.kind.code(),
                error.kind.to_string(),
                &place(&source, error.line, error.column),
            );
            problem.hint = error.kind.hint().map(str::to_owned);
            problems.push(problem);
        }
        for unset in contents.unset.iter().take(MAX_TOLD) {
            problems.push(
                Problem::warning(
                    spec_code::UNSET_VARIABLE,
                    format!(
                        "the variable `{}` is not set; its place stays empty",
                        unset.name
                    ),
                    &place(&source, unset.line, unset.column),
                )
                .hint("put the value in single quotes if the `$` is meant as it stands"),
            );
        }
        contents
            .entries
            .into_iter()
            .map(|entry| {
                let value = entry.value.or_else(|| lookup(&entry.key));
                (entry.key, value)
            })
            .collect()
    }

    fn unreadable(&self, error: &io::Error) -> Problem {
        let shown = self.shown;
        let (reason, hint) = match error.kind() {
            io::ErrorKind::NotFound => (
                "does not exist".to_owned(),
                format!(
                    "create it, or write `{{path: {shown}, required: false}}` if it may be missing"
                ),
            ),
            io::ErrorKind::PermissionDenied => (
                format!("cannot be read: {error}"),
                "check its permissions".to_owned(),
            ),
            _ => (
                format!("cannot be read: {error}"),
                "name a file with lines of `KEY=value`".to_owned(),
            ),
        };
        Problem::error(
            code::ENV_FILE,
            format!("the env_file `{shown}` {reason}"),
            &self.file.path.span,
        )
        .hint(hint)
    }
}

/// The bytes of a file, if they are not too many. The error's text does not repeat the path.
pub(super) fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is larger than {} MiB", MAX_BYTES >> 20),
        ));
    }
    Ok(bytes)
}

/// The text of a file, for the places in it.
pub(super) fn source(path: &Path, bytes: &[u8]) -> Arc<Source> {
    let text = String::from_utf8_lossy(bytes);
    Arc::new(Source {
        path: path.to_path_buf(),
        // As the reader has it, so that the columns of the first line agree.
        text: text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned(),
    })
}

/// The span of one character at a line and column, both from 1.
pub(super) fn place(source: &Arc<Source>, line: usize, column: usize) -> Span {
    let text = &source.text;
    let line_start = if line <= 1 {
        0
    } else {
        text.match_indices('\n')
            .nth(line - 2)
            .map_or(text.len(), |(at, _)| at + 1)
    };
    let start = text[line_start..]
        .char_indices()
        .nth(column.saturating_sub(1))
        .map_or(text.len(), |(at, _)| line_start + at);
    let end = text[start..]
        .chars()
        .next()
        .map_or(start, |c| start + c.len_utf8());
    Span {
        source: Arc::clone(source),
        start,
        end,
    }
}
