//! What an `up` would change of a running stack: asked for, told as data, then carried out.
//!
//! A client sends what a plan is made of ([`Asking`]); the supervisor plans, holds the ports that are
//! new and says what would change ([`Proposal`]). Nothing is different until the client sends
//! [`Command::Apply`](super::control::Command::Apply). `docs/design/reconcile.md` has the rules.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::plan::Sources;
use crate::ports::request::PortKey;
use crate::support::name::{ServiceName, UnitId};

/// What a client asks the supervisor to plan, and the body of `POST /v1/proposals`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asking {
    /// What the plan is made of.
    pub sources: Arc<Sources>,
    /// How far the differences are to be carried out.
    #[serde(default)]
    pub extent: Extent,
    /// Whether a wish for a port that is taken is an error.
    #[serde(default)]
    pub strict_ports: bool,
    /// Whether the ports of earlier runs are forgotten.
    #[serde(default)]
    pub fresh_ports: bool,
    /// Whether nothing will be applied, so that nothing is kept for it.
    #[serde(default)]
    pub dry_run: bool,
}

/// How far differences are carried out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Extent {
    /// Of which services; of all where none is named.
    pub services: Vec<ServiceName>,
    /// Whether what these depend on is left alone.
    pub no_deps: bool,
    /// Who is started anew.
    pub recreate: Recreate,
    /// Whether what does not run stays down.
    pub no_start: bool,
    /// Overrides every grace period of what stops for it.
    #[serde(rename = "grace_ms", with = "super::control::milliseconds")]
    pub grace: Option<Duration>,
    /// Whether what only the file has with which the stack was started may be stopped.
    pub remove_orphans: bool,
    /// Services that could not become what they were to: they are left as they are.
    #[serde(skip)]
    pub spared: Vec<ServiceName>,
}

/// Who is started anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recreate {
    /// Who has changed.
    #[default]
    Changed,
    /// Everybody.
    All,
    /// Nobody.
    Nobody,
    /// Who has changed, and who is named all the same: these are restarted, with who follows them.
    Named,
}

/// What would change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Names it to [`Command::Apply`](super::control::Command::Apply).
    pub id: u64,
    /// Everything that would be another than it is, in the order of the file.
    pub changes: Vec<UnitChange>,
    /// Every port, those that stay included: with these the client makes the same plan.
    pub ports: Vec<(PortKey, u16)>,
    /// What the user should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Advice>,
}

/// What would become of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitChange {
    /// Its service.
    pub service: ServiceName,
    /// The number of the replica, from 1.
    pub replica: u32,
    /// What.
    pub what: What,
}

/// What would become of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum What {
    /// It is new.
    Starts,
    /// It is new, and was not asked for.
    Appears,
    /// It is gone from the files.
    Stops,
    /// It is started anew.
    Restarts {
        /// What has changed; nothing where that was asked for.
        fields: Vec<ChangedField>,
    },
    /// It is started anew with one that is.
    Follows {
        /// That one.
        service: ServiceName,
    },
    /// It has changed, and is stopped for that.
    GoesDown {
        /// What has changed; nothing where it was to be started anew.
        fields: Vec<ChangedField>,
    },
    /// It takes changes over as it runs.
    TakesOver {
        /// What has changed.
        fields: Vec<ChangedField>,
    },
    /// It is gone from the files, but one that is left as it is needs it.
    Kept {
        /// That one.
        service: ServiceName,
    },
    /// It has changed, and is left as it is.
    Stays {
        /// What has changed; nothing where it is gone from the files.
        fields: Vec<ChangedField>,
    },
}

/// A key of the file whose value is another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedField {
    /// The key.
    pub field: String,
    /// Of the environment the variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variable: Option<String>,
}

/// A warning of a room that has words of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advice {
    /// What is wrong.
    pub message: String,
    /// The way out; may be empty.
    #[serde(default)]
    pub hint: String,
}

impl What {
    /// Whether it is not, or not yet, as the files say.
    pub(crate) fn is_left(&self) -> bool {
        match self {
            Self::Stays { .. } | Self::Kept { .. } => true,
            Self::Starts
            | Self::Appears
            | Self::Stops
            | Self::Restarts { .. }
            | Self::Follows { .. }
            | Self::GoesDown { .. }
            | Self::TakesOver { .. } => false,
        }
    }
}

impl What {
    /// Whether it runs on though the files do not have it any more.
    pub(crate) fn is_left_though_gone(&self) -> bool {
        match self {
            Self::Kept { .. } => true,
            Self::Stays { fields } => fields.is_empty(),
            Self::Starts
            | Self::Appears
            | Self::Stops
            | Self::Restarts { .. }
            | Self::Follows { .. }
            | Self::GoesDown { .. }
            | Self::TakesOver { .. } => false,
        }
    }
}

impl UnitChange {
    /// Which unit it is.
    pub fn unit(&self) -> UnitId {
        UnitId {
            service: self.service.clone(),
            replica: self.replica,
        }
    }
}
