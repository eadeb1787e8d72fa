//! By which files the stack runs: whether whoever watches has to read other ones.

use crate::api::messages::Update;
use crate::plan::Contents;
use crate::run::control::StackSnapshot;
use crate::run::news::News;

/// By which files a stack runs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InForce {
    fingerprint: String,
    contents: Contents,
}

impl InForce {
    pub(super) fn of(stack: &StackSnapshot) -> Self {
        Self {
            fingerprint: stack.fingerprint.clone(),
            contents: stack.contents.clone(),
        }
    }

    /// Whether it runs by others, as far as is said. Whoever does not keep up with what happens does not
    /// hear of everything, but gets a snapshot then.
    pub(super) fn are_others_by(&self, update: &Update) -> bool {
        match update {
            Update::Notice(notice) => matches!(notice.news, News::TookOver),
            Update::Snapshot { stack } => *self != Self::of(stack),
            Update::Service(_) | Update::Ended { .. } | Update::Lagged { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_files_are_noticed_in_a_snapshot_where_the_notice_was_missed() {
        let event = include_bytes!("../../../../tests/fixtures/api/event-snapshot.json");
        let snapshot = || -> Update { serde_json::from_slice(event).unwrap() };
        let Update::Snapshot { mut stack } = snapshot() else {
            panic!("another event");
        };
        let known = InForce::of(&stack);
        assert!(!known.are_others_by(&snapshot()));
        stack.fingerprint.push('x');
        assert!(known.are_others_by(&Update::Snapshot { stack }));
        assert!(!known.are_others_by(&Update::Lagged { missed: 3 }));
    }
}
