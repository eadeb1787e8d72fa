//! One line of text a change: what goes to stderr where there is no live region, and above it.
//!
//! Pure. [`super::json`] says the same for programs.

use super::queue::{Dropped, Policy};
use super::roster::Roster;
use super::words::{self, Rank, Said};
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

    /// The lines about what was not shown.
    pub(super) fn dropped(&self, dropped: &[String]) -> String {
        dropped
            .iter()
            .map(|text| self.palette.paint(Tone::Warning, &format!("… {text}")) + "\n")
            .collect()
    }
}

/// `1,234 lines of api not shown: the terminal was too slow (they are in .stack/shop/logs)`, a
/// text for each unit.
pub(super) fn dropped_texts(
    dropped: &Dropped,
    policy: Policy,
    log_dir: Option<&str>,
    roster: &Roster,
) -> Vec<(Option<UnitId>, String)> {
    let who = match policy {
        Policy::Drop => "the terminal was too slow",
        Policy::Wait => "the reader of the output was too slow",
    };
    let place = log_dir
        .map(|path| format!(" (they are in {path})"))
        .unwrap_or_default();
    let lines = dropped.lines.iter().map(|(unit, count)| {
        let lines = if *count == 1 { "line" } else { "lines" };
        let text = format!(
            "{} {lines} of {} not shown: {who}{place}",
            words::grouped(*count),
            roster.label(unit)
        );
        (Some(unit.clone()), text)
    });
    let events = (dropped.events > 0).then(|| {
        let events = usize::try_from(dropped.events).unwrap_or(usize::MAX);
        let text = format!("{} not shown: {who}", text::count(events, "change"));
        (None, text)
    });
    lines.chain(events).collect()
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
    use crate::cli::printer::samples::{name, replica, unit};
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

    #[test]
    fn what_was_dropped_is_counted_and_can_be_found() {
        let dropped = Dropped {
            lines: vec![
                (unit("api"), 1_234),
                (unit("web"), 1),
                (replica("web", 2), 2),
            ],
            events: 2,
        };
        let roster = Roster::new(&[unit("web"), replica("web", 2)]);
        let place = Some(".stack/shop/logs");
        let texts: Vec<String> = dropped_texts(&dropped, Policy::Drop, place, &roster)
            .into_iter()
            .map(|(_, text)| text)
            .collect();
        insta::assert_snapshot!(STYLE.dropped(&texts), @r"
        … 1,234 lines of api not shown: the terminal was too slow (they are in .stack/shop/logs)
        … 1 line of web-1 not shown: the terminal was too slow (they are in .stack/shop/logs)
        … 2 lines of web-2 not shown: the terminal was too slow (they are in .stack/shop/logs)
        … 2 changes not shown: the terminal was too slow
        ");
    }
}
