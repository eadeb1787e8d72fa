//! What the supervisor tells whoever watches: snapshots that have changed, and what else there is to say.

use serde::{Deserialize, Serialize};

use super::proposal::UnitChange;
use super::reason::{Blocker, CheckFailure, HookFailure, LeftBehind, UnitRef};
use super::snapshot::ServiceSnapshot;
use crate::support::name::{ServiceName, UnitId};

/// Something that happened, for whoever watches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A service's snapshot changed.
    Service(Box<ServiceSnapshot>),
    /// A decision worth a line: a restart, a kill, a warning.
    Notice(Notice),
    /// Everything has ended and the supervisor goes.
    Ended {
        /// The names of the services that failed for good.
        failed: Vec<ServiceName>,
    },
}

/// A line from `stack` itself about a service, or about the stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// About whom; `None` for the whole stack.
    pub service: Option<ServiceName>,
    /// About which of its replicas; `None` for all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<u32>,
    /// How loud.
    pub level: NoticeLevel,
    /// What happened.
    pub news: News,
}

impl Notice {
    /// A notice about a unit, or with `None` about the whole stack.
    pub fn about(unit: Option<UnitId>, level: NoticeLevel, news: News) -> Self {
        let (service, replica) = match unit {
            Some(unit) => (Some(unit.service), Some(unit.replica)),
            None => (None, None),
        };
        Self {
            service,
            replica,
            level,
            news,
        }
    }

    /// The unit that it is about; `None` where it is about a whole service or the stack.
    pub fn unit(&self) -> Option<UnitId> {
        Some(UnitId {
            service: self.service.clone()?,
            replica: self.replica?,
        })
    }
}

/// How loud a notice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeLevel {
    /// Good to know.
    Info,
    /// Somebody should look.
    Warning,
    /// Something is broken.
    Error,
}

/// What the supervisor has to say beside what snapshots show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum News {
    /// A service ended and left processes behind, which are being ended.
    LeftBehind(LeftBehind),
    /// A service goes on without an optional dependency.
    WithoutDependency {
        /// Which, and why.
        because: Blocker,
    },
    /// A service runs as it did before its file changed, since this one cannot be what it waits for.
    NotApplied {
        /// Which, and why.
        because: Blocker,
    },
    /// The stack is as its files say now.
    TookOver,
    /// A service that is gone from the file stays, since one that runs as it did before needs it.
    StillNeeded {
        /// Which.
        by: UnitRef,
    },
    /// A changed file is being taken over.
    Changing {
        /// What becomes of the service.
        change: UnitChange,
    },
    /// A hook has failed that is not waited for.
    HookFailed(HookFailure),
    /// A service is not part of the stack any more.
    Removed,
    /// Everything is being stopped, since this one failed.
    StoppingAfterFailure {
        /// Which.
        unit: UnitRef,
    },
    /// Everything is being stopped, since the one of `--exit-code-from` has ended.
    StoppingAfterEnd {
        /// Which.
        unit: UnitRef,
        /// Whether it ended since it is gone from the files.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_removed: bool,
    },
    /// Everything is being stopped, since the guardian has ended.
    GuardianEnded,
    /// Everything is being killed.
    KillingEverything,
    /// Files of the stack were removed while it runs, and have been put back.
    FilesPutBack,
    /// They could not be put back.
    FilesNotPutBack {
        /// The system's word.
        error: String,
    },
    /// Everything is being stopped, since the project directory was removed.
    DirectoryGone,
    /// Everything is being stopped, since the client that has started it has gone.
    ClientGone,
    /// Somebody asked by a signal where everything is: one of these for each unit.
    State {
        /// How it looks.
        state: Box<ServiceSnapshot>,
    },
    /// A service is unhealthy, and restarted for it.
    RestartingUnhealthy {
        /// What its last check saw.
        last: Option<CheckFailure>,
    },
    /// A server does not bind beside the hold of its port; it is started again with the port released.
    ReleasingHold {
        /// The ports.
        ports: Vec<u16>,
    },
    /// A run that a service's schedule wanted does not take place, and is not made up for.
    RunMissed {
        /// When it was due, in milliseconds since the Unix epoch, if that was long ago; else the run
        /// before goes on.
        due: Option<u64>,
    },
    /// A service that seems to watch something has ended by itself, with a closed standard input.
    InputClosed,
    /// Output could not be written to its log file.
    LogNotWritten {
        /// How many bytes were lost since the last time that this was said; 0 for the first.
        lost_bytes: u64,
        /// The system's word; empty once writing goes on.
        error: String,
    },
    /// Output cannot be read any more.
    LogNotRead {
        /// The system's word.
        error: String,
    },
}
