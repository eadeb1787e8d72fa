//! One line of text a change: what goes to stderr where there is no live region, and above it.
//!
//! Pure. [`super::json`] says the same for programs.

use super::roster::Roster;
use super::words::{Rank, Said};
use crate::cli::style::{Palette, Tone, pad};
use crate::run::snapshot::{Notice, NoticeLevel};
use crate::support::name::{ServiceName, UnitId};
use crate::support::text;

/// How lines look.
#[derive(Debug, Clone)]
pub(super) struct PlainStyle {
    pub(super) palette: Palette,
    /// The cells of the widest name.
    pub(super) name_cells: usize,
}

impl PlainStyle {
    fn line(&self, position: usize, name: &str, text: &str) -> String {
        let name = pad(name, self.name_cells);
        format!("{}  {text}\n", self.palette.paint_service(position, &name))
    }

    /// `api  healthy after 0.3 s at http://localhost:8001/`.
    pub(super) fn change(&self, position: usize, name: &str, said: &Said) -> String {
        let tone = match said.rank {
            Rank::Step => Tone::Quiet,
            Rank::Outcome => Tone::Plain,
            Rank::Trouble => Tone::Warning,
            Rank::Failure => Tone::Bad,
        };
        self.line(position, name, &self.palette.paint(tone, &said.text))
    }

    /// `api  warning: …`, or `warning: …` about the whole stack.
    pub(super) fn notice(&self, roster: &Roster, notice: &Notice) -> String {
        let lead = match notice.level {
            NoticeLevel::Info => String::new(),
            NoticeLevel::Warning => self.palette.paint(Tone::Warning, "warning:") + " ",
            NoticeLevel::Error => self.palette.paint(Tone::Bad, "error:") + " ",
        };
        let text = format!("{lead}{}", crate::cli::words::news(&notice.news));
        match (notice.unit(), &notice.service) {
            (Some(unit), _) => self.line(roster.position(&unit), &roster.label(&unit), &text),
            (None, Some(service)) => {
                let first = UnitId::first(service.clone());
                self.line(roster.position(&first), service.as_str(), &text)
            }
            (None, None) => text + "\n",
        }
    }
}

/// `all services have ended`, or `are stopped` where somebody had a hand in it, and which failed.
pub(super) fn ended(failed: &[ServiceName], is_any_stopped: bool) -> String {
    let lead = if is_any_stopped {
        "all services are stopped"
    } else {
        "all services have ended"
    };
    if failed.is_empty() {
        lead.to_owned()
    } else {
        format!("{lead}; failed: {}", text::list(failed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::printer::testing::{name, replica, unit};
    use crate::run::reason::News;

    const STYLE: PlainStyle = PlainStyle {
        palette: Palette::MONOCHROME,
        name_cells: 6,
    };

    #[test]
    fn lines_name_the_service_first() {
        let said = Said {
            rank: Rank::Step,
            text: "waiting for db to be healthy".to_owned(),
        };
        assert_eq!(
            STYLE.change(0, "api", &said),
            "api     waiting for db to be healthy\n"
        );
        let roster = Roster::new(&[unit("api"), replica("api", 2)]);
        let notice = Notice {
            service: None,
            replica: None,
            level: NoticeLevel::Warning,
            news: News::GuardianEnded,
        };
        assert_eq!(
            STYLE.notice(&roster, &notice),
            "warning: the guardian has ended; stopping everything\n"
        );
        let notice = Notice {
            service: Some(name("api")),
            ..notice
        };
        assert_eq!(
            STYLE.notice(&roster, &notice),
            "api     warning: the guardian has ended; stopping everything\n"
        );
        let notice = Notice {
            replica: Some(2),
            ..notice
        };
        assert_eq!(
            STYLE.notice(&roster, &notice),
            "api-2   warning: the guardian has ended; stopping everything\n"
        );
    }

    #[test]
    fn the_end_says_whether_somebody_stopped_it() {
        assert_eq!(ended(&[], false), "all services have ended");
        assert_eq!(ended(&[], true), "all services are stopped");
        assert_eq!(
            ended(&[name("api")], false),
            "all services have ended; failed: api"
        );
    }
}
