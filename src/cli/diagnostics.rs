//! Problems as people read them: the line, what is wrong in it, and the way out.
//!
//! The one place that draws with `miette`. Pure: problems in, text out; the printer prints it. What
//! reaches `miette` are the lines around the labels (see `excerpt`), never the whole file.

mod excerpt;

#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::sync::Arc;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan};

use self::excerpt::{Text, is_harmful};
use crate::cli::style::{Palette, Tone};
use crate::spec::{Problem, Severity};
use crate::support::text::{count, list};

/// More problems than anybody reads at once.
const MAX_SHOWN: usize = 50;

/// How many characters of a message, label or line of a hint are shown: they may quote a value.
const MAX_TEXT: usize = 500;

/// Draws every problem, and below those of a file a last line that counts them.
///
/// It is wrapped at `width` columns; no colour carries a meaning alone. The text ends in a newline and,
/// without colour, holds no control character but newlines, whatever the user's file holds.
pub fn render(problems: &[Problem], palette: Palette, width: usize) -> String {
    let theme = if palette == Palette::COLORED {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::unicode_nocolor()
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(width.max(40))
        .with_links(false)
        .tab_width(4);
    let mut texts = Vec::new();
    let mut report = String::new();
    for problem in problems.iter().take(MAX_SHOWN) {
        let has_place = !problem.labels.is_empty();
        report.push_str(&heading(problem, palette));
        for drawing in drawings(problem, &mut texts) {
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
fn heading(problem: &Problem, palette: Palette) -> String {
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
        .map(|c| if is_harmful(c) { '\u{fffd}' } else { c })
        .collect();
    if text.len() > shown.len() && text.chars().nth(MAX_TEXT).is_some() {
        shown.push('…');
    }
    shown
}

/// The labels of a problem that stand in one text, in the shape that `miette` draws.
#[derive(Debug, thiserror::Error, Diagnostic)]
// The message stands in the heading.
#[error("")]
struct Drawing {
    #[source_code]
    text: Arc<Text>,
    #[label(collection)]
    labels: Vec<LabeledSpan>,
}

/// A drawing for each text in which a label of the problem stands, that of the main place first.
/// `texts` are those that were met so far.
fn drawings(problem: &Problem, texts: &mut Vec<Arc<Text>>) -> Vec<Drawing> {
    let mut drawings: Vec<Drawing> = Vec::new();
    for label in &problem.labels {
        let source = &label.span.source;
        let is_of_it = |text: &Arc<Text>| Arc::ptr_eq(&text.source, source);
        let text = texts.iter().find(|text| is_of_it(text)).cloned();
        let text = text.unwrap_or_else(|| {
            let name = clean(&source.path.display().to_string());
            texts.push(Arc::new(Text::new(source, name)));
            Arc::clone(&texts[texts.len() - 1])
        });
        let words = (!label.text.is_empty()).then(|| clean(&label.text));
        let place = text.first_line_of(&label.span);
        if let Some(drawing) = drawings.iter_mut().find(|it| is_of_it(&it.text)) {
            let label = LabeledSpan::new_with_span(words, place);
            drawing.labels.push(label);
        } else {
            let labels = vec![LabeledSpan::new_primary_with_span(words, place)];
            drawings.push(Drawing { text, labels });
        }
    }
    drawings
}
