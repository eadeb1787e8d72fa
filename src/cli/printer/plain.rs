//! One line of text a change: what goes to stderr where there is no live region, and above it.
//!
//! Pure. [`super::json`] says the same for programs.

use super::roster::Roster;
use super::words::{Rank, Said};
use crate::cli::style::{Palette, Tone, pad};
use crate::run::news::{Notice, NoticeLevel};
use crate::support::name::{ServiceName, UnitId};
use crate::support::text;

fn line(palette: Palette, roster: &Roster, unit: &UnitId, name: &str, text: &str) -> String {
    let name = pad(name, roster.cells());
    let position = roster.position(unit);
    format!(
        "{}  {text}\n",
        palette.paint(Tone::Service(position), &name)
    )
}

/// `api  healthy after 0.3 s at http://localhost:8001/`.
pub(super) fn change(palette: Palette, roster: &Roster, unit: &UnitId, said: &Said) -> String {
    let tone = match said.rank {
        Rank::Step => Tone::Quiet,
        Rank::Outcome => Tone::Plain,
        Rank::Trouble => Tone::Warning,
        Rank::Failure => Tone::Bad,
    };
    let text = palette.paint(tone, &said.text);
    line(palette, roster, unit, &roster.label(unit), &text)
}

/// `api  warning: …`, or `warning: …` about the whole stack.
pub(crate) fn notice(palette: Palette, roster: &Roster, notice: &Notice) -> String {
    let lead = match notice.level {
        NoticeLevel::Info => String::new(),
        NoticeLevel::Warning => palette.paint(Tone::Warning, "warning:") + " ",
        NoticeLevel::Error => palette.paint(Tone::Bad, "error:") + " ",
    };
    let text = format!("{lead}{}", crate::cli::words::news(&notice.news));
    match (notice.unit(), &notice.service) {
        (Some(unit), _) => line(palette, roster, &unit, &roster.label(&unit), &text),
        (None, Some(service)) => {
            let first = UnitId::first(service.clone());
            line(palette, roster, &first, service.as_str(), &text)
        }
        (None, None) => text + "\n",
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
    use crate::run::news::News;

    #[test]
    fn lines_name_the_service_first() {
        let roster = Roster::new(&[unit("api"), replica("api", 2), unit("worker")]);
        let said = Said {
            rank: Rank::Step,
            text: "waiting for db to be healthy".to_owned(),
        };
        assert_eq!(
            change(Palette::MONOCHROME, &roster, &unit("worker"), &said),
            "worker  waiting for db to be healthy\n"
        );
        let told = |notice| super::notice(Palette::MONOCHROME, &roster, &notice);
        let warning = |service: Option<&str>, replica| Notice {
            service: service.map(name),
            replica,
            level: NoticeLevel::Warning,
            news: News::GuardianEnded,
        };
        let text = "warning: the guardian has ended; stopping everything\n";
        assert_eq!(told(warning(None, None)), text);
        assert_eq!(told(warning(Some("api"), None)), format!("api     {text}"));
        assert_eq!(
            told(warning(Some("api"), Some(2))),
            format!("api-2   {text}")
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
