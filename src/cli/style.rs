//! How text looks: tones, the colours of services, and widths in terminal cells.
//!
//! A tone only underlines what a word already says, so that nothing is lost without colour. Used
//! by [`super::printer`] and [`super::table`]; knows no stream and no terminal.

use console::{Alignment, measure_text_width, pad_str, truncate_str};

use crate::run::snapshot::{Phase, ServiceSnapshot};

/// What a piece of text means for the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Like everything else.
    Plain,
    /// A heading.
    Strong,
    /// As it should be.
    Good,
    /// On its way.
    Busy,
    /// Somebody should look.
    Warning,
    /// Broken.
    Bad,
    /// Of little interest.
    Quiet,
    /// The name of the service at this place of the file.
    Service(usize),
}

impl Tone {
    /// The parameters of the SGR sequence that switches it on.
    fn sgr(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Strong => Some("1"),
            Self::Good => Some("32"),
            Self::Busy => Some("36"),
            Self::Warning => Some("33"),
            Self::Bad => Some("1;31"),
            Self::Quiet => Some("2"),
            Self::Service(place) => Some(SERVICE_COLORS[place % SERVICE_COLORS.len()]),
        }
    }
}

/// Whether text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Palette {
    is_on: bool,
}

/// The colours of service names, in the order of the file: those that can be read on a dark and on
/// a light background, without the red that means an error.
const SERVICE_COLORS: [&str; 10] = ["36", "33", "32", "35", "34", "96", "93", "92", "95", "94"];

impl Palette {
    /// Text with colour.
    pub const COLORED: Self = Self { is_on: true };
    /// Text without.
    pub const MONOCHROME: Self = Self { is_on: false };

    /// Text with colour if `is_on`.
    pub fn new(is_on: bool) -> Self {
        Self { is_on }
    }

    /// `text` in a tone.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        match tone.sgr() {
            Some(sgr) if self.is_on && !text.is_empty() => format!("\x1b[{sgr}m{text}\x1b[0m"),
            Some(_) | None => text.to_owned(),
        }
    }
}

/// The tone of a phase's word.
pub fn phase_tone(phase: Phase) -> Tone {
    match phase {
        Phase::Pending | Phase::Waiting | Phase::Stopped => Tone::Quiet,
        Phase::Starting => Tone::Busy,
        Phase::Running | Phase::Healthy | Phase::Scheduled | Phase::Completed => Tone::Good,
        Phase::Stopping | Phase::Backoff => Tone::Warning,
        Phase::Unhealthy | Phase::Failed => Tone::Bad,
    }
}

/// The word for a service's state: its phase, or `crash-looping` where the next attempt follows
/// many failures.
pub fn state_word(snapshot: &ServiceSnapshot) -> &'static str {
    if snapshot.is_crash_looping() {
        "crash-looping"
    } else {
        snapshot.phase.word()
    }
}

/// How many cells `text` takes on a terminal; escape sequences take none.
pub fn width(text: &str) -> usize {
    measure_text_width(text)
}

/// `text` with spaces behind it until it takes `cells`.
pub fn pad(text: &str, cells: usize) -> String {
    pad_str(text, cells, Alignment::Left, None).into_owned()
}

/// `text` cut to `cells`, an ellipsis at the end where something is missing. Its colours stay.
pub fn cut(text: &str, cells: usize) -> String {
    let tail = if cells == 0 { "" } else { "…" };
    truncate_str(&text.replace('\t', " "), cells, tail).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_never_takes_more_cells_than_it_may() {
        for text in [
            "",
            "abc",
            "日本語のテキスト",
            "a\u{301}b\tc\x1b[1m2J",
            "ab日",
        ] {
            for cells in 0..12 {
                let cut = cut(text, cells);
                assert!(width(&cut) <= cells, "{text:?} in {cells}: {cut:?}");
            }
        }
        assert_eq!(cut("hello", 5), "hello");
        assert_eq!(cut("hello!", 5), "hell…");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("\x1b[32mhello!\x1b[0m", 5), "\x1b[32mhell…\x1b[0m");
    }

    #[test]
    fn nothing_is_painted_without_colour() {
        assert_eq!(Palette::MONOCHROME.paint(Tone::Bad, "failed"), "failed");
        assert_eq!(Palette::COLORED.paint(Tone::Plain, "x"), "x");
        assert_eq!(Palette::COLORED.paint(Tone::Good, "x"), "\x1b[32mx\x1b[0m");
    }
}
