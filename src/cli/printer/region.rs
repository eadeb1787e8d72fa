//! The live region on the screen: `indicatif` draws it, into a buffer of ours.
//!
//! `indicatif` knows which rows it drew and how to draw over them; the terminal that it is given
//! is [`Pen`], which only collects, so that each frame reaches the real one in a single write by
//! the printer's thread. What stands in the rows comes from [`super::frame`].

use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use super::frame::Size;
use crate::cli::style::width;

/// What is on the screen below the logs.
#[derive(Debug)]
pub(super) struct Region {
    bar: ProgressBar,
    pen: Arc<Pen>,
    /// The widths of the rows on the screen.
    drawn: Vec<usize>,
    lines: Vec<String>,
}

impl Region {
    pub(super) fn new() -> Self {
        let pen = Arc::new(Pen::default());
        let target = ProgressDrawTarget::term_like(Box::new(Handle(Arc::clone(&pen))));
        // One bar with as many lines as there are rows: they come and go together.
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        Self {
            bar,
            pen,
            drawn: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// Whether anything is on the screen.
    pub(super) fn is_visible(&self) -> bool {
        !self.drawn.is_empty()
    }

    /// Takes the region off the screen; the cursor stands where its first row was.
    pub(super) fn clear(&mut self, size: Size, out: &mut Vec<u8>) {
        self.draw(Vec::new(), size, out);
    }

    /// Replaces what is on the screen. Each line must be narrower than the screen.
    pub(super) fn draw(&mut self, lines: Vec<String>, size: Size, out: &mut Vec<u8>) {
        let before = self.pen.resize(size);
        if before.columns > size.columns && self.is_visible() {
            self.clear_reflowed(size, out);
        } else if lines == self.lines {
            return;
        }
        self.drawn = lines.iter().map(|line| width(line)).collect();
        self.bar.set_message(lines.join("\n"));
        self.lines = lines;
        self.pen.take(out);
    }

    /// Clears after the screen became narrower: terminals wrap what they show, and `indicatif` does
    /// not know how many rows that takes now.
    fn clear_reflowed(&mut self, size: Size, out: &mut Vec<u8>) {
        let columns = size.columns.max(1);
        let rows: usize = self
            .drawn
            .iter()
            .map(|cells| cells.div_ceil(columns).max(1))
            .sum();
        // Makes indicatif forget its rows, without letting it touch the screen.
        self.bar.set_message("");
        self.pen.discard();
        self.drawn.clear();
        self.lines.clear();
        out.push(b'\r');
        if rows > 1 {
            out.extend_from_slice(format!("\x1b[{}A", rows - 1).as_bytes());
        }
        out.extend_from_slice(b"\x1b[J");
    }
}

/// Collects what `indicatif` draws.
#[derive(Debug, Default)]
struct Pen(Mutex<Sheet>);

#[derive(Debug)]
struct Sheet {
    text: String,
    size: Size,
    /// Whether a row was written since the cursor was last moved.
    is_below_a_row: bool,
}

impl Default for Sheet {
    fn default() -> Self {
        let size = Size {
            columns: 80,
            rows: 24,
        };
        Self {
            text: String::new(),
            size,
            is_below_a_row: false,
        }
    }
}

impl Pen {
    fn with<R>(&self, work: impl FnOnce(&mut Sheet) -> R) -> R {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sets the size, and returns the one before.
    fn resize(&self, size: Size) -> Size {
        self.with(|sheet| std::mem::replace(&mut sheet.size, size))
    }

    fn take(&self, out: &mut Vec<u8>) {
        self.with(|sheet| {
            out.extend_from_slice(sheet.text.as_bytes());
            sheet.text.clear();
        });
    }

    fn discard(&self) {
        self.with(|sheet| sheet.text.clear());
    }
}

/// The pen as `indicatif` holds it.
#[derive(Debug)]
struct Handle(Arc<Pen>);

impl Handle {
    fn step(&self, count: usize, direction: char) -> io::Result<()> {
        self.0.with(|sheet| {
            sheet.is_below_a_row = false;
            if count > 0 {
                write!(sheet.text, "\x1b[{count}{direction}").map_err(io::Error::other)?;
            }
            Ok(())
        })
    }
}

impl TermLike for Handle {
    fn width(&self) -> u16 {
        let columns = self.0.with(|sheet| sheet.size.columns);
        u16::try_from(columns).unwrap_or(u16::MAX)
    }

    fn height(&self) -> u16 {
        let rows = self.0.with(|sheet| sheet.size.rows);
        u16::try_from(rows).unwrap_or(u16::MAX)
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
        self.0.with(|sheet| sheet.text.push_str("\r\n"));
        Ok(())
    }

    /// Writes a row. `indicatif` fills each row with blanks up to the edge, by which the terminal
    /// wraps to the next; what is copied from such a screen, or seen after a resize, is ugly. So
    /// the blanks are left out, and rows are told apart by line ends.
    fn write_str(&self, s: &str) -> io::Result<()> {
        self.0.with(|sheet| {
            if s.bytes().all(|byte| byte == b' ') {
                return;
            }
            if std::mem::replace(&mut sheet.is_below_a_row, true) {
                sheet.text.push_str("\r\n");
            }
            sheet.text.push_str(s);
        });
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.0.with(|sheet| sheet.text.push_str("\r\x1b[2K"));
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
