//! What the printer is told at its start: what the user asked for and what the streams are.

use std::io::IsTerminal;
use std::path::PathBuf;

use crate::cli::style::Palette;
use crate::support::name::UnitId;

/// How progress is shown, as `--progress` says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Progress {
    /// A live region on a terminal, lines elsewhere.
    #[default]
    Auto,
    /// A live region.
    Tty,
    /// One line a change.
    Plain,
    /// One JSON object a line.
    Json,
    /// Errors only.
    Quiet,
}

/// Whether to use colour, as `--color` says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Everywhere.
    Always,
    /// Nowhere.
    Never,
}

/// What is known of the standard streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "four independent facts, named"
)]
pub struct Terminals {
    /// Whether stdout is a terminal.
    pub stdout: bool,
    /// Whether stderr is a terminal.
    pub stderr: bool,
    /// Whether the terminal cannot move its cursor (`TERM` is unset or `dumb`).
    pub is_dumb: bool,
    /// Whether the user wants no colour (`NO_COLOR` is set to something).
    pub no_color: bool,
}

impl Terminals {
    /// Looks once. `variable` looks up the caller's environment.
    pub fn detect(variable: impl Fn(&str) -> Option<String>) -> Self {
        Self {
            stdout: std::io::stdout().is_terminal(),
            stderr: std::io::stderr().is_terminal(),
            is_dumb: variable("TERM").is_none_or(|term| term.is_empty() || term == "dumb"),
            no_color: variable("NO_COLOR").is_some_and(|value| !value.is_empty()),
        }
    }
}

/// What the printer is to print, and how.
#[derive(Debug, Clone, Default)]
pub struct PrinterOptions {
    /// How progress is shown.
    pub progress: Progress,
    /// Whether to use colour.
    pub color: Color,
    /// Whether log lines begin with their unit's name.
    pub log_prefix: bool,
    /// Whether log lines carry the time at which they were read.
    pub timestamps: bool,
    /// Every unit that is known, in the order of the file: it gives the names, the colours and the
    /// rows' order.
    pub units: Vec<UnitId>,
    /// The standard streams.
    pub terminals: Terminals,
    /// Where the log files are, to name the one of a service that failed.
    pub log_dir: Option<PathBuf>,
    /// The caller's working directory: paths below it are shown relative to it.
    pub working_dir: Option<PathBuf>,
    /// Whether Ctrl-C here stops the stack, and a second one kills it.
    pub has_the_stack: bool,
}

/// How progress is shown, decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Live,
    Plain,
    Json,
    Quiet,
}

impl PrinterOptions {
    pub(super) fn mode(&self) -> Mode {
        match self.progress {
            Progress::Auto if self.terminals.stderr && !self.terminals.is_dumb => Mode::Live,
            Progress::Tty => Mode::Live,
            Progress::Auto | Progress::Plain => Mode::Plain,
            Progress::Json => Mode::Json,
            Progress::Quiet => Mode::Quiet,
        }
    }

    fn palette(&self, is_terminal: bool) -> Palette {
        Palette::new(match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => is_terminal && !self.terminals.is_dumb && !self.terminals.no_color,
        })
    }

    /// The colours of what goes to stdout.
    pub fn stdout_palette(&self) -> Palette {
        self.palette(self.terminals.stdout)
    }

    /// The colours of what goes to stderr.
    pub fn stderr_palette(&self) -> Palette {
        self.palette(self.terminals.stderr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(stderr: bool, is_dumb: bool, no_color: bool) -> PrinterOptions {
        PrinterOptions {
            terminals: Terminals {
                stdout: false,
                stderr,
                is_dumb,
                no_color,
            },
            ..PrinterOptions::default()
        }
    }

    #[test]
    fn a_live_region_needs_a_terminal_that_can_move_its_cursor() {
        assert_eq!(options(true, false, false).mode(), Mode::Live);
        assert_eq!(options(true, true, false).mode(), Mode::Plain);
        assert_eq!(options(false, false, false).mode(), Mode::Plain);
    }

    #[test]
    fn each_stream_is_coloured_for_itself() {
        assert_eq!(
            options(true, false, false).stderr_palette(),
            Palette::COLORED
        );
        assert_eq!(
            options(true, false, false).stdout_palette(),
            Palette::MONOCHROME
        );
        assert_eq!(
            options(true, false, true).stderr_palette(),
            Palette::MONOCHROME
        );
        let always = PrinterOptions {
            color: Color::Always,
            ..options(false, true, true)
        };
        assert_eq!(always.stdout_palette(), Palette::COLORED);
    }

    #[test]
    fn an_empty_no_color_says_nothing() {
        let looked_up = |value: &'static str| {
            Terminals::detect(move |name| (name == "NO_COLOR").then(|| value.to_owned())).no_color
        };
        assert!(looked_up("1"));
        assert!(!looked_up(""));
    }
}
