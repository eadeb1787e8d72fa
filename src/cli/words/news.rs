//! What the supervisor has to say beside what snapshots show, in words.

use super::reason::{blocker, check_failure, hook_failure, processes, reason};
use super::time::past;
use super::{behind, change};
use crate::run::news::News;
use crate::support::text::list;

/// A lowercase fragment on one line, which fits behind the name of the unit that it is about.
pub(crate) fn news(news: &News) -> String {
    match news {
        News::LeftBehind(left) => format!(
            "it ended and left {} behind in the background; ending that (only what stays in the \
             foreground keeps running)",
            processes(left, usize::MAX),
        ),
        News::WithoutDependency { because } => {
            format!(
                "goes on without an optional dependency: {}",
                blocker(because)
            )
        }
        News::NotApplied { because } => format!(
            "runs on as it was, as its changes need another service: {}",
            blocker(because)
        ),
        News::TookOver => "applied the changed file".to_owned(),
        News::StillNeeded { by } => format!("keeps running, because {} needs it", by.label()),
        News::Changing { change } => change::fragment(change),
        News::HookFailed(failure) => hook_failure(failure),
        News::Removed => "is not part of the stack any more".to_owned(),
        News::StoppingAfterFailure { unit } => {
            format!("stopping everything, as {} failed", unit.label())
        }
        News::StoppingAfterEnd { unit, is_removed } => {
            let why = if *is_removed {
                "is no longer in the file"
            } else {
                "has ended"
            };
            let name = unit.label();
            format!("stopping everything, as {name} {why} (`--exit-code-from`)")
        }
        News::GuardianEnded => "the guardian has ended; stopping everything".to_owned(),
        News::FilesPutBack => {
            "the files of this stack were removed; they are there again".to_owned()
        }
        News::FilesNotPutBack { error } => {
            format!("the files of this stack cannot be put back: {error}")
        }
        News::DirectoryGone => "the project directory was removed; stopping everything".to_owned(),
        News::KillingEverything => "killing everything now".to_owned(),
        News::ClientGone => "the terminal has gone; stopping everything".to_owned(),
        News::State { state } => {
            let pid = behind(", pid ", state.pid);
            let why = behind(": ", state.reason.as_ref().map(reason));
            format!(
                "{}{pid}, attempt {}{why}",
                state.phase.word(),
                state.attempt
            )
        }
        News::RestartingUnhealthy { last } => {
            let why = behind(": ", last.as_ref().map(check_failure));
            format!("is unhealthy and is restarted for it{why}")
        }
        News::ReleasingHold { ports } => format!(
            "its server cannot bind port {} while the port is held for it (it does not set \
             SO_REUSEADDR); starting it again with the port released",
            list(ports),
        ),
        News::RunMissed { due: None } => {
            "skipped a run: the previous one is still running".to_owned()
        }
        News::RunMissed { due: Some(due) } => {
            format!("missed the run {}; it will not be repeated", past(*due))
        }
        News::InputClosed => {
            "it seems to watch something and has ended at once: its standard input is \
                              closed (/dev/null), which many watchers take for the end; \
                              `stdin_open: true` keeps it open"
                .to_owned()
        }
        News::LogNotWritten { lost_bytes, error } => {
            format!("{lost_bytes} bytes of output were not logged: {error}")
        }
        News::LogNotRead { error } => format!("its output cannot be read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_do_not_take_place_say_why() {
        let told = |due| news(&News::RunMissed { due });
        assert_eq!(
            told(None),
            "skipped a run: the previous one is still running"
        );
        let missed = told(Some(1_795_000_000_000));
        assert!(missed.starts_with("missed the run at "), "{missed}");
        assert!(missed.ends_with("; it will not be repeated"), "{missed}");
    }
}
