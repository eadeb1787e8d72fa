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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A field in a tone.
    pub fn new(tone: Tone, text: impl AsRef<str>) -> Self {
        let text = plain_line(text.as_ref());
        Self { text, tone }
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(Tone::Plain, text.to_string())
    }
}

/// Rows under headings.
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
        let has_text = |column: &usize| self.rows.iter().any(|row| !row[*column].text.is_empty());
        let kept: Vec<usize> = (0..self.columns.len()).filter(has_text).collect();
        let line = |field: &dyn Fn(usize) -> String| {
            let fields: Vec<String> = kept.iter().map(|&column| field(column)).collect();
            fields.join("\t") + "\n"
        };
        let mut text = line(&|column| palette.paint(Tone::Quiet, self.columns[column]));
        for row in &self.rows {
            text += &line(&|column| palette.paint(row[column].tone, &row[column].text));
        }
        let mut writer = TabWriter::new(Vec::new()).minwidth(0).ansi(true);
        // A vector takes everything.
        drop(writer.write_all(text.as_bytes()));
        let aligned = writer.into_inner().unwrap_or_default();
        String::from_utf8_lossy(&aligned)
            .lines()
            .map(|line| cells.map_or_else(|| line.to_owned(), |cells| cut(line, cells)))
            .map(|line| line.trim_end().to_owned() + "\n")
            .collect()
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
