//! Aligned tables, and the table of services that `ps` and bare `stack` show.
//!
//! Pure: rows in, text out. Who prints it says whether there is a terminal whose width cuts it.

use std::io::Write as _;

use tabwriter::TabWriter;

use crate::cli::style::{Palette, Tone, cut};
use crate::support::escape::plain_line;

mod services;

pub use services::{services, state_of_stack};

/// One field of a table. Its text may be anybody's: what would steer a terminal is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cell {
    parts: Vec<(Tone, String)>,
}

impl Cell {
    /// A field in a tone.
    pub fn new(tone: Tone, text: impl AsRef<str>) -> Self {
        Self::default().and(tone, text)
    }

    /// The same with more text, two spaces behind what it has.
    #[must_use]
    pub fn and(mut self, tone: Tone, text: impl AsRef<str>) -> Self {
        let text = plain_line(text.as_ref());
        self.parts
            .extend((!text.is_empty()).then_some((tone, text)));
        self
    }

    /// A plain field, empty where there is nothing.
    pub fn maybe(value: Option<impl ToString>) -> Self {
        value.map_or_else(Self::default, Self::from)
    }

    fn paint(&self, palette: Palette) -> String {
        let parts = self
            .parts
            .iter()
            .map(|(tone, text)| palette.paint(*tone, text));
        parts.collect::<Vec<_>>().join(GAP)
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(Tone::Plain, text.to_string())
    }
}

/// What stands between two fields.
const GAP: &str = "  ";

/// Rows under headings, or without, where all of these are empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    columns: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows.
    pub fn new(columns: impl IntoIterator<Item = &'static str>) -> Self {
        Self {
            columns: columns.into_iter().collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row with a field for each column.
    pub fn push(&mut self, row: impl IntoIterator<Item = Cell>) {
        self.rows.push(row.into_iter().collect());
    }

    /// The table as lines, each with its end, without the columns in which no row has anything.
    /// `cells` is the terminal's width: only what goes to a terminal is cut, a pipe gets everything.
    pub fn render(&self, palette: Palette, cells: Option<usize>) -> String {
        let heading = self
            .columns
            .iter()
            .map(|column| Cell::new(Tone::Quiet, column));
        let heading = self.has_heading().then(|| heading.collect::<Vec<_>>());
        let has_text = |column: &usize| self.rows.iter().any(|row| !row[*column].parts.is_empty());
        let kept: Vec<usize> = (0..self.columns.len()).filter(has_text).collect();
        let mut writer = TabWriter::new(Vec::new()).minwidth(0).ansi(true);
        for row in heading.iter().chain(&self.rows) {
            let fields: Vec<String> = kept
                .iter()
                .map(|&column| row[column].paint(palette))
                .collect();
            // A vector takes everything.
            drop(writeln!(writer, "{}", fields.join("\t")));
        }
        let aligned = writer.into_inner().unwrap_or_default();
        String::from_utf8_lossy(&aligned)
            .lines()
            .map(|line| cells.map_or_else(|| line.to_owned(), |cells| cut(line.trim_end(), cells)))
            .map(|line| line.trim_end().to_owned() + "\n")
            .collect()
    }

    fn has_heading(&self) -> bool {
        self.columns.iter().any(|column| !column.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::style::width;

    fn sample() -> Table {
        let mut table = Table::new(["NAME", "PID", "NOTE", "EMPTY"]);
        table.push(["日本".into(), 7.into(), "short".into(), "".into()]);
        table.push(["api".into(), "".into(), "".into(), "".into()]);
        let note = "a rather \x1b[2Jlong\nnote";
        table.push(["b".into(), 12345.into(), note.into(), "".into()]);
        table
    }

    #[test]
    fn columns_line_up_and_no_line_ends_in_a_space() {
        insta::assert_snapshot!(sample().render(Palette::MONOCHROME, None), @r"
        NAME  PID    NOTE
        日本  7      short
        api
        b     12345  a rather long note
        ");
    }

    #[test]
    fn a_terminal_cuts_and_a_pipe_does_not() {
        let text = sample().render(Palette::MONOCHROME, Some(20));
        assert!(text.lines().all(|line| width(line) <= 20));
        assert!(text.ends_with("a rath…\n"), "{text}");
    }

    #[test]
    fn colour_changes_no_column() {
        let text = sample().render(Palette::COLORED, None);
        assert!(text.starts_with("\x1b[2mNAME\x1b[0m  \x1b[2mPID\x1b[0m"));
        let plain = crate::support::escape::plain(&text);
        assert_eq!(plain, sample().render(Palette::MONOCHROME, None));
    }
}
