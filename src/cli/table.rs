//! Aligned tables, and the table of services that `ps` and bare `stack` show.
//!
//! Pure: rows in, text out. Who prints it says whether there is a terminal whose width cuts it.

use crate::cli::style::{Palette, Tone, cut, pad, width};

mod services;

pub use services::{services, state_of_stack};

/// Two spaces between columns are enough to tell them apart and leave room for what is in them.
const GAP: &str = "  ";

/// The side on which a column's cells begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// One field of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A field in a tone.
    pub fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            tone,
        }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(Tone::Plain, text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(Tone::Plain, text)
    }
}

/// Rows under headings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows.
    pub fn new(columns: impl IntoIterator<Item = (&'static str, Align)>) -> Self {
        Self {
            columns: columns.into_iter().collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; missing fields at its end are empty.
    pub fn push(&mut self, row: impl IntoIterator<Item = Cell>) {
        self.rows.push(row.into_iter().collect());
    }

    /// Leaves out the columns in which no row has anything.
    #[must_use]
    pub fn without_empty_columns(self) -> Self {
        let is_kept: Vec<bool> = (0..self.columns.len())
            .map(|column| {
                self.rows
                    .iter()
                    .any(|row| row.get(column).is_some_and(|cell| !cell.text.is_empty()))
            })
            .collect();
        Self {
            columns: keep(self.columns, &is_kept),
            rows: self
                .rows
                .into_iter()
                .map(|row| keep(row, &is_kept))
                .collect(),
        }
    }

    /// The table as lines, each with its end. `cells` is the terminal's width: only what goes to a
    /// terminal is cut, a pipe gets everything.
    pub fn render(&self, palette: Palette, cells: Option<usize>) -> String {
        let mut widths: Vec<usize> = self.columns.iter().map(|(name, _)| width(name)).collect();
        for row in &self.rows {
            for (widest, cell) in widths.iter_mut().zip(row) {
                *widest = (*widest).max(width(&cell.text));
            }
        }
        let headings: Vec<Cell> = self
            .columns
            .iter()
            .map(|(name, _)| Cell::new(Tone::Quiet, *name))
            .collect();
        let mut text = String::new();
        for row in std::iter::once(&headings).chain(&self.rows) {
            self.render_row(row, &widths, palette, cells, &mut text);
        }
        text
    }

    fn render_row(
        &self,
        row: &[Cell],
        widths: &[usize],
        palette: Palette,
        cells: Option<usize>,
        text: &mut String,
    ) {
        // Spaces are owed until something stands behind them, so that no line ends in one.
        let mut owed = 0;
        let mut used = 0;
        for ((cell, &widest), &(_, align)) in row.iter().zip(widths).zip(&self.columns) {
            let taken = width(&cell.text);
            let before = match align {
                Align::Left => 0,
                Align::Right => widest - taken,
            };
            owed += before;
            if taken > 0 {
                let left = cells.map_or(usize::MAX, |cells| cells.saturating_sub(used + owed));
                if left == 0 {
                    break;
                }
                text.push_str(&pad("", owed));
                let shown = if taken > left {
                    cut(&cell.text, left)
                } else {
                    cell.text.clone()
                };
                text.push_str(&palette.paint(cell.tone, &shown));
                used += owed + width(&shown);
                owed = 0;
            }
            owed += widest - taken - before + GAP.len();
        }
        text.push('\n');
    }
}

/// The items whose flag is set.
fn keep<T>(items: Vec<T>, is_kept: &[bool]) -> Vec<T> {
    let flags = is_kept.iter().copied();
    items
        .into_iter()
        .zip(flags)
        .filter_map(|(item, is_kept)| is_kept.then_some(item))
        .collect()
}
#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new([
            ("NAME", Align::Left),
            ("PID", Align::Right),
            ("NOTE", Align::Left),
            ("EMPTY", Align::Left),
        ]);
        table.push(["日本".into(), "7".into(), "short".into()]);
        table.push(["api".into(), "".into(), "".into()]);
        table.push(["b".into(), "12345".into(), "a rather long note".into()]);
        table.without_empty_columns()
    }

    #[test]
    fn columns_line_up_and_no_line_ends_in_a_space() {
        insta::assert_snapshot!(sample().render(Palette::MONOCHROME, None), @r"
        NAME    PID  NOTE
        日本      7  short
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
        assert!(text.starts_with("\x1b[2mNAME\x1b[0m    \x1b[2mPID\x1b[0m"));
    }
}
