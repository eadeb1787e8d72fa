//! One `env_file`: its entries, with the place of everything that is wrong in it.

use std::path::Path;
use std::sync::Arc;

use super::code;
use super::sources::{Caller, Content, FileText};
use crate::dotenv;
use crate::spec::code as spec_code;
use crate::spec::model::EnvFileSpec;
use crate::spec::problem::{Home, Problem, Report, Severity, Source, Span};

/// How many mistakes of one file are told; each costs a walk to its line, and nobody reads more.
const MAX_TOLD: usize = 100;

/// What a file says, in its order; `None` removes a key.
pub(super) type Entries = Vec<(String, Option<String>)>;

/// The entries of an `env_file` whose path is `shown`; what is wrong goes to `problems`.
///
/// `is_ours` says that `stack` itself writes into the file: that part is left out. The file may be
/// missing where `is_missing_allowed`.
pub(super) fn entries(
    file: &EnvFileSpec,
    shown: &str,
    text: &FileText,
    (is_ours, is_missing_allowed): (bool, bool),
    lookup: &dyn Fn(&str) -> Option<String>,
    problems: &mut Vec<Problem>,
) -> Entries {
    let bytes = match &text.content {
        Content::Bytes(bytes) if is_ours => dotenv::user_part(&bytes.0),
        Content::Bytes(bytes) => bytes.0.clone(),
        Content::Missing if is_missing_allowed => return Vec::new(),
        Content::Missing => {
            let (message, hint) = (
                format!("the {} `{shown}` does not exist", file.key()),
                format!(
                    "create it, or write `{{path: {shown}, required: false}}` if it may be missing"
                ),
            );
            problems.error(code::ENV_FILE, &file.path.span, message, hint);
            return Vec::new();
        }
        Content::Unreadable(reason) => {
            let message = format!("the {} `{shown}` cannot be read: {reason}", file.key());
            problems.error(
                code::ENV_FILE,
                &file.path.span,
                message,
                "check its permissions; it is a file with lines of `KEY=value`",
            );
            return Vec::new();
        }
    };
    let path = Path::new(shown);
    let contents = if file.is_raw {
        dotenv::read_raw(&bytes)
    } else {
        dotenv::read(&bytes, lookup)
    };
    tell(&contents, &bytes, path, Severity::Error, problems);
    let entries = contents.entries.into_iter();
    entries
        .map(|entry| {
            let value = entry.value.or_else(|| lookup(&entry.key));
            (entry.key, value)
        })
        .collect()
}

/// The value of a variable in the user's part of a file, for what must be known before anything else is
/// read; what is wrong in the file is told later.
pub fn of_dotenv(path: &Path, key: &str, caller: &Caller) -> Option<String> {
    let Content::Bytes(bytes) = FileText::read(path).content else {
        return None;
    };
    let lookup = |name: &str| {
        let found = caller.iter().find(|(key, _)| key == name);
        found.and_then(|(_, value)| value.to_str().map(str::to_owned))
    };
    let contents = dotenv::read(&dotenv::user_part(&bytes.0), lookup);
    let mut entries = contents.entries.into_iter().rev();
    let value = entries.find(|entry| entry.key == key)?.value;
    value.filter(|value| !value.is_empty())
}

/// Tells what is wrong in the text of a file: with an `env_file` that is an error, with the user's
/// part of `.env` a warning.
pub(super) fn tell(
    contents: &dotenv::Contents,
    bytes: &[u8],
    shown: &Path,
    severity: Severity,
    problems: &mut Vec<Problem>,
) {
    let source = source(shown, bytes);
    for error in contents.errors.iter().take(MAX_TOLD) {
        let message = match severity {
            Severity::Error => error.kind.to_string(),
            Severity::Warning => format!("{}; the line is left alone and not used", error.kind),
        };
        let place = character(&source, error.at);
        let mut problem = Problem::error(error.kind.code(), message, &place);
        problem.severity = severity;
        problem.hint = Some(error.kind.hint().to_owned());
        problems.push(problem);
    }
    if severity == Severity::Error {
        for unset in contents.unset.iter().take(MAX_TOLD) {
            let message = format!(
                "the variable `{}` is not set; its place stays empty",
                unset.name
            );
            let place = character(&source, unset.at);
            problems.warning(
                spec_code::UNSET_VARIABLE,
                &place,
                message,
                "put the value in single quotes if the `$` is meant as it stands",
            );
        }
    }
}

/// The text of a file, for the places in it.
fn source(path: &Path, bytes: &[u8]) -> Arc<Source> {
    let text = String::from_utf8_lossy(bytes);
    Arc::new(Source {
        path: path.to_path_buf(),
        // As the reader has it, so that the columns of the first line agree.
        text: text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned(),
        home: Home::default(),
    })
}

/// The span of the character at a byte.
fn character(source: &Arc<Source>, at: usize) -> Span {
    let length = source.text[at..].chars().next().map_or(0, char::len_utf8);
    Span::new(source, at..at + length)
}
