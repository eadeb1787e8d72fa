//! Problems as people read them: the line, what is wrong in it, and the way out.
//!
//! The one file that names `miette`. Pure: problems in, text out; the printer prints it. What
//! reaches `miette` is a window around the labels (see `excerpt`), never the whole file.

mod excerpt;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError,
    MietteSpanContents, SourceCode, SourceSpan, SpanContents,
};

use self::excerpt::{Excerpt, LineIndex};
use crate::cli::style::{Palette, Tone};
use crate::spec::{Problem, Severity, Source};
use crate::support::text::{count, list};

/// More problems than anybody reads at once.
const MAX_SHOWN: usize = 50;

/// How many characters of a message, label or line of a hint are shown: they may quote a value.
const MAX_TEXT: usize = 500;

/// How reports look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Whether escape sequences for colours may be used; they never carry a meaning alone.
    pub color: bool,
    /// The width to wrap at, in columns.
    pub width: usize,
}

/// Draws every problem, and below those of a file a last line that counts them.
///
/// The text ends in a newline and, without colour, holds no control character but newlines,
/// whatever the user's file holds.
pub fn render(problems: &[Problem], options: Options) -> String {
    let theme = if options.color {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::unicode_nocolor()
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(options.width.max(40))
        .with_links(false)
        .tab_width(4);
    let mut lines = Lines::default();
    let mut report = String::new();
    for problem in problems.iter().take(MAX_SHOWN) {
        let has_place = !problem.labels.is_empty();
        report.push_str(&heading(problem, options.color));
        for drawing in Drawing::of(problem, &mut lines) {
            let mut drawn = String::new();
            // Writing to a string cannot fail; a drawing that does is still told in words.
            if handler.render_report(&mut drawn, &drawing).is_ok() {
                report.push_str(excerpt_of(&drawn));
            }
        }
        if let Some(hint) = &problem.hint {
            push_hint(&mut report, hint, if has_place { "  " } else { "" });
        }
        if has_place {
            report.push('\n');
        }
    }
    report.push_str(&summary(problems));
    if report.ends_with("\n\n") {
        report.pop();
    }
    report
}

/// `error: unknown key (stack::spec::unknown_key)`, as every other message begins.
fn heading(problem: &Problem, color: bool) -> String {
    let palette = Palette::new(color);
    let lead = match problem.severity {
        Severity::Error => palette.paint(Tone::Bad, "error:"),
        Severity::Warning => palette.paint(Tone::Warning, "warning:"),
    };
    let code = palette.paint(Tone::Quiet, &format!("({})", problem.code));
    format!("{lead} {} {code}\n", clean(&problem.message))
}

/// The drawing without the lines above it, which would repeat the heading.
fn excerpt_of(drawn: &str) -> &str {
    drawn.find('╭').map_or("", |corner| {
        let start = drawn[..corner].rfind('\n').map_or(0, |end| end + 1);
        &drawn[start..]
    })
}

/// `2 problems in stack.yaml; nothing was started`. Nothing where there is nothing to count: for
/// warnings, and for what is about no file's text.
fn summary(problems: &[Problem]) -> String {
    let errors = problems.iter().filter(|problem| problem.is_error()).count();
    let warnings = problems.len() - errors;
    if errors == 0 {
        return String::new();
    }
    let mut files: Vec<String> = Vec::new();
    for label in problems.iter().filter_map(|problem| problem.labels.first()) {
        let file = clean(&label.span.path().display().to_string());
        if !files.contains(&file) {
            files.push(file);
        }
    }
    if files.is_empty() {
        return String::new();
    }
    let mut line = count(errors, "problem");
    if warnings > 0 {
        let _ = write!(line, " and {}", count(warnings, "warning"));
    }
    let _ = write!(line, " in {}; nothing was started", list(files));
    if problems.len() > MAX_SHOWN {
        let _ = write!(line, " (the first {MAX_SHOWN} are shown)");
    }
    line.push('\n');
    line
}

/// A hint below the drawing; its further lines (a starter to copy) are indented alike.
fn push_hint(report: &mut String, hint: &str, indent: &str) {
    for (number, line) in hint.lines().enumerate() {
        let lead = match (number, line) {
            (0, _) => "hint: ",
            (_, "") => "",
            (_, _) => "  ",
        };
        if !line.is_empty() {
            report.push_str(indent);
        }
        report.push_str(lead);
        report.push_str(&clean(line));
        report.push('\n');
    }
}

/// The text without what a terminal would obey, and not longer than one reads.
fn clean(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(MAX_TEXT)
        .map(|c| {
            if excerpt::is_harmful(c) {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect();
    if text.len() > shown.len() && text.chars().nth(MAX_TEXT).is_some() {
        shown.push('…');
    }
    shown
}

/// The line indices of the texts that were met so far, by the texts' addresses.
#[derive(Default)]
struct Lines {
    known: HashMap<*const Source, Arc<LineIndex>>,
}

impl Lines {
    fn of(&mut self, source: &Arc<Source>) -> Arc<LineIndex> {
        let index = self
            .known
            .entry(Arc::as_ptr(source))
            .or_insert_with(|| Arc::new(LineIndex::new(&source.text)));
        Arc::clone(index)
    }
}

/// The labels of a problem that stand in one text, in the shape that `miette` draws.
#[derive(Debug)]
struct Drawing {
    severity: Severity,
    labels: Vec<LabeledSpan>,
    excerpts: Excerpts,
}

impl Drawing {
    /// A drawing for each text in which a label stands, that of the main place first.
    fn of(problem: &Problem, lines: &mut Lines) -> Vec<Self> {
        let mut sources: Vec<&Arc<Source>> = Vec::new();
        for label in &problem.labels {
            if !sources.iter().any(|it| Arc::ptr_eq(it, &label.span.source)) {
                sources.push(&label.span.source);
            }
        }
        let drawings = sources.into_iter();
        drawings
            .map(|source| Self::in_text(problem, source, lines))
            .collect()
    }

    fn in_text(problem: &Problem, source: &Arc<Source>, lines: &mut Lines) -> Self {
        let index = lines.of(source);
        let (mut labels, mut windows) = (Vec::new(), Vec::new());
        for label in &problem.labels {
            if !Arc::ptr_eq(source, &label.span.source) {
                continue;
            }
            let text = (!label.text.is_empty()).then(|| clean(&label.text));
            let range = index.first_line_of(&label.span);
            windows.push(Excerpt::around(&source.text, &index, range.clone()));
            labels.push(if labels.is_empty() {
                LabeledSpan::new_primary_with_span(text, range)
            } else {
                LabeledSpan::new_with_span(text, range)
            });
        }
        Self {
            severity: problem.severity,
            labels,
            excerpts: Excerpts {
                name: clean(&source.path.display().to_string()),
                windows: Excerpt::joined(windows, &source.text),
            },
        }
    }
}

impl fmt::Display for Drawing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The message stands in the heading.
        f.write_str("")
    }
}

impl std::error::Error for Drawing {}

impl Diagnostic for Drawing {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.excerpts)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }
}

/// The parts of a file that a drawing needs, under the offsets of the whole.
#[derive(Debug)]
struct Excerpts {
    name: String,
    windows: Vec<Excerpt>,
}

impl SourceCode for Excerpts {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let end = span.offset() + span.len();
        let window = self
            .windows
            .iter()
            .find(|window| window.holds(span.offset(), end))
            .ok_or(MietteError::OutOfBounds)?;
        let inner = SourceSpan::from((span.offset() - window.start, span.len()));
        let contents = window.text.read_span(&inner, lines_before, lines_after)?;
        let is_first_line = contents.line() == 0;
        let column = contents.column() + if is_first_line { window.column } else { 0 };
        let at = contents.span();
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            contents.data(),
            SourceSpan::from((at.offset() + window.start, at.len())),
            contents.line() + window.line,
            column,
            contents.line_count(),
        )))
    }
}
