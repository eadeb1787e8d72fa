//! What is wrong with what the user wrote: one finding, where it stands, and the way out.
//!
//! Problems are data. `cli::diagnostics` draws them; tests compare them.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::code;

/// A text that was read, with the path by which the user knows it.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// The path as it is shown, relative where the user's was.
    pub path: PathBuf,
    /// The whole text, without its byte order mark.
    pub text: String,
    /// To what it belongs.
    pub home: Home,
}

/// What relative paths and variables of a text mean.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Home {
    /// Where its relative paths start, absolute.
    pub dir: PathBuf,
    /// Whose variables it sees: 0 is the project, every other number one `include`.
    pub realm: usize,
}

/// A range of bytes in a [`Source`].
#[derive(Clone, PartialEq, Eq)]
pub struct Span {
    /// The text that holds the range.
    pub source: Arc<Source>,
    /// The first byte.
    pub start: usize,
    /// One past the last byte; equal to `start` for a mere position.
    pub end: usize,
}

/// Where something stands for a reader: both numbers count from 1, columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// A value with the place where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Nothing is started; exit code 2.
    Error,
    /// Said once; everything goes on.
    Warning,
}

/// A place that belongs to a problem, with what there is to say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The bytes to underline.
    pub span: Span,
    /// A few words under the line; may be empty.
    pub text: String,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// The stable code, such as `stack::spec::unknown_key`.
    pub code: &'static str,
    /// What is wrong, as a lowercase fragment.
    pub message: String,
    /// The places, the main one first; empty when no text is at fault (a missing file).
    pub labels: Vec<Label>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Span {
    /// A range of bytes of a text.
    pub fn new(source: &Arc<Source>, range: Range<usize>) -> Self {
        Self {
            source: Arc::clone(source),
            start: range.start,
            end: range.end,
        }
    }

    /// The place of the first byte.
    pub fn location(&self) -> Location {
        let before = &self.source.text[..self.start.min(self.source.text.len())];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Location {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    /// The bytes themselves.
    pub fn text(&self) -> &str {
        &self.source.text[self.start..self.end]
    }

    /// The path of the text.
    pub fn path(&self) -> &Path {
        &self.source.path
    }

    /// Where relative paths that stand here start.
    pub fn dir(&self) -> &Path {
        &self.source.home.dir
    }
}

impl fmt::Debug for Span {
    /// Shows `path:line:column` alone: the whole source would drown every test failure.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Location { line, column } = self.location();
        write!(f, "{}:{line}:{column}", self.source.path.display())
    }
}

impl Problem {
    /// An error at a place.
    pub fn error(code: &'static str, message: impl Into<String>, span: &Span) -> Self {
        Self::new(Severity::Error, code, message, span)
    }

    /// A warning at a place.
    pub fn warning(code: &'static str, message: impl Into<String>, span: &Span) -> Self {
        Self::new(Severity::Warning, code, message, span)
    }

    /// An error about what stands in one place twice.
    pub(crate) fn twice(what: &str, again: &Span, first: &Span) -> Self {
        Self::error(
            code::DUPLICATE_KEY,
            format!("the {what} is here twice"),
            again,
        )
        .label("again here")
        .also(first, "first here")
        .hint("keep one of the two")
    }

    /// An error that no text is to blame for.
    pub fn without_place(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            labels: Vec::new(),
            hint: None,
        }
    }

    fn new(
        severity: Severity,
        code: &'static str,
        message: impl Into<String>,
        span: &Span,
    ) -> Self {
        Self {
            severity,
            ..Self::without_place(code, message).also(span, "")
        }
    }

    /// Adds the way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Puts a few words under the main place.
    #[must_use]
    pub fn label(mut self, text: impl Into<String>) -> Self {
        if let Some(first) = self.labels.first_mut() {
            first.text = text.into();
        }
        self
    }

    /// Adds another place.
    #[must_use]
    pub fn also(mut self, span: &Span, text: impl Into<String>) -> Self {
        self.labels.push(Label {
            span: span.clone(),
            text: text.into(),
        });
        self
    }

    /// Whether this stops the run.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// More problems than anybody reads. Past it a file is rubbish or an attack, and neither should
/// fill the memory with its report.
const MAX_PROBLEMS: usize = 1_000;

/// Collects problems.
pub(crate) trait Report {
    /// Adds a problem, unless there are too many already.
    fn report(&mut self, problem: Problem);

    /// Whether no more are taken.
    fn is_full(&self) -> bool;

    /// Reports an error at a place, with its way out.
    fn error(
        &mut self,
        code: &'static str,
        span: &Span,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.report(Problem::error(code, message, span).hint(hint));
    }

    /// Reports a warning at a place, with its way out.
    fn warning(
        &mut self,
        code: &'static str,
        span: &Span,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.report(Problem::warning(code, message, span).hint(hint));
    }
}

impl Report for Vec<Problem> {
    fn report(&mut self, problem: Problem) {
        // However many warnings there are, an error must not get lost among them.
        if self.is_full() && problem.is_error() {
            self.pop();
        }
        if !self.is_full() {
            self.push(problem);
        }
    }

    fn is_full(&self) -> bool {
        self.len() >= MAX_PROBLEMS
    }
}

/// The problems as one reads them: those of no file first, then those of the file `first`, then
/// other files'; each in the order of its file, and what was found twice only once.
pub fn in_order(mut problems: Vec<Problem>, first: &Path) -> Vec<Problem> {
    let mut seen = HashSet::new();
    problems.retain(|problem| {
        let place = problem.labels.first().map(|label| {
            let span = &label.span;
            (span.path().to_path_buf(), span.start, span.end)
        });
        seen.insert((problem.code, problem.message.clone(), place))
    });
    problems.sort_by_cached_key(|problem| {
        let span = &problem.labels.first()?.span;
        Some((span.path() != first, span.path().to_path_buf(), span.start))
    });
    problems
}
