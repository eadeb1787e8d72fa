//! The live region on the screen: `indicatif` draws it, into a buffer of ours.
//!
//! `indicatif` knows which rows it drew and how to draw over them; the terminal that it is given
//! is [`Pen`], which only collects, so that each frame reaches the real one in one piece, in order with
//! what was said. What stands in the rows comes from [`super::frame`].

use std::fmt::Write as _;
use std::io;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use super::frame::Size;
use crate::cli::style::width;

/// What is on the screen below the logs.
#[derive(Debug)]
pub(super) struct Region {
    bar: ProgressBar,
    pen: Pen,
    lines: Vec<String>,
}

impl Region {
    pub(super) fn new() -> Self {
        let pen = Pen(Arc::new(Mutex::new(Sheet {
            text: String::new(),
            size: Size::CLASSIC,
            is_below_a_row: false,
        })));
        let target = ProgressDrawTarget::term_like(Box::new(pen.clone()));
        // One bar with as many lines as there are rows: they come and go together.
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        let lines = Vec::new();
        Self { bar, pen, lines }
    }

    /// Whether anything is on the screen.
    pub(super) fn is_visible(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Replaces what is on the screen; without lines the cursor stands where the first row was. Each
    /// line must be narrower than the screen.
    pub(super) fn draw(&mut self, lines: Vec<String>, size: Size, out: &mut Vec<u8>) {
        let before = mem::replace(&mut self.pen.sheet().size, size);
        if before.columns > size.columns && self.is_visible() {
            self.clear_reflowed(size, out);
        } else if lines == self.lines {
            return;
        }
        self.bar.set_message(lines.join("\n"));
        self.lines = lines;
        out.append(&mut mem::take(&mut self.pen.sheet().text).into_bytes());
    }

    /// Clears after the screen became narrower: terminals wrap what they show, and `indicatif` does
    /// not know how many rows that takes now.
    fn clear_reflowed(&mut self, size: Size, out: &mut Vec<u8>) {
        let columns = size.columns.max(1);
        let drawn = mem::take(&mut self.lines);
        let rows = drawn
            .iter()
            .map(|line| width(line).div_ceil(columns).max(1));
        // Makes indicatif forget its rows, without letting it touch the screen.
        self.bar.set_message("");
        self.pen.sheet().text.clear();
        let above = match rows.sum() {
            0 | 1 => String::new(),
            rows => format!("\x1b[{}A", rows - 1),
        };
        out.extend_from_slice(format!("\r{above}\x1b[J").as_bytes());
    }
}

/// Collects what `indicatif` draws.
#[derive(Debug, Clone)]
struct Pen(Arc<Mutex<Sheet>>);

#[derive(Debug)]
struct Sheet {
    text: String,
    size: Size,
    /// Whether a row was written since the cursor was last moved.
    is_below_a_row: bool,
}

impl Pen {
    fn sheet(&self) -> MutexGuard<'_, Sheet> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self, count: usize, direction: char) -> io::Result<()> {
        let mut sheet = self.sheet();
        sheet.is_below_a_row = false;
        if count > 0 {
            write!(sheet.text, "\x1b[{count}{direction}").map_err(io::Error::other)?;
        }
        Ok(())
    }
}

impl TermLike for Pen {
    fn width(&self) -> u16 {
        u16::try_from(self.sheet().size.columns).unwrap_or(u16::MAX)
    }

    fn height(&self) -> u16 {
        u16::try_from(self.sheet().size.rows).unwrap_or(u16::MAX)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.step(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.step(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.step(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.step(n, 'D')
    }

    fn write_line(&self, s: &str) -> io::Result<()> {
        self.write_str(s)?;
        self.sheet().text.push_str("\r\n");
        Ok(())
    }

    /// Writes a row. `indicatif` fills each row with blanks up to the edge, by which the terminal
    /// wraps to the next; what is copied from such a screen, or seen after a resize, is ugly. So
    /// the blanks are left out, and rows are told apart by line ends.
    fn write_str(&self, s: &str) -> io::Result<()> {
        let mut sheet = self.sheet();
        if s.bytes().any(|byte| byte != b' ') {
            if mem::replace(&mut sheet.is_below_a_row, true) {
                sheet.text.push_str("\r\n");
            }
            sheet.text.push_str(s);
        }
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.sheet().text.push_str("\r\x1b[2K");
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
