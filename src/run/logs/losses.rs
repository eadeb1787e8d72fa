//! What no file took, counted until it is said.

use std::io;

use crate::run::news::{News, Notice, NoticeLevel};
use crate::support::name::UnitId;

/// The least time between two notices about lost bytes, in nanoseconds.
const NOTICE_INTERVAL: u64 = 60 * 1_000_000_000;

/// What was lost since the last notice.
#[derive(Debug, Default)]
pub(super) struct Losses {
    bytes: u64,
    /// The unit, while it is only one.
    unit: Option<UnitId>,
    error: String,
    noticed_at: Option<u64>,
}

impl Losses {
    /// Counts bytes of a unit that were lost for this reason.
    pub(super) fn note(&mut self, unit: &UnitId, bytes: u64, error: &io::Error) {
        self.unit = match self.unit.take() {
            None if self.bytes == 0 => Some(unit.clone()),
            Some(same) if same == *unit => Some(same),
            None | Some(_) => None,
        };
        self.bytes += bytes;
        self.error = error.to_string();
    }

    /// The notice that is due, if one is.
    pub(super) fn due(&mut self, now: u64) -> Option<Notice> {
        let is_early = self
            .noticed_at
            // A clock that was set back looks like a long time.
            .is_some_and(|then| now.wrapping_sub(then) < NOTICE_INTERVAL);
        if self.bytes == 0 || is_early {
            return None;
        }
        self.noticed_at = Some(now);
        let bytes = std::mem::take(&mut self.bytes);
        Some(Notice::about(
            self.unit.take(),
            NoticeLevel::Warning,
            News::LogNotWritten {
                lost_bytes: bytes,
                error: self.error.clone(),
            },
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::logs::testing::unit;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_clock_that_is_set_back_does_not_silence_the_notices() {
        let mut losses = Losses::default();
        let full = io::ErrorKind::StorageFull.into();
        losses.note(&unit("api"), 5, &full);
        assert_eq!(
            losses.due(1_000 * SECOND).unwrap().unit(),
            Some(unit("api"))
        );
        losses.note(&unit("api"), 5, &full);
        losses.note(&unit("web"), 5, &full);
        losses.note(&unit("api"), 5, &full);
        let notice = losses.due(900 * SECOND).unwrap();
        assert_eq!(notice.service, None, "about several services");
        assert!(matches!(
            notice.news,
            News::LogNotWritten { lost_bytes: 15, .. }
        ));
    }
}
