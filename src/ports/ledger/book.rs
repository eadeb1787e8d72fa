//! What the ledger says: plain data, and the rules for what still counts.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ports::request::{Owner, PortKey};
use crate::support::protocol::Protocol;

use super::place::{Here, Process};

/// The version of the file that this program reads and writes.
pub(crate) const VERSION: u32 = 1;

/// For how long a number that `ports free` printed is left to its caller, in milliseconds.
pub(crate) const GRANT_MILLIS: u64 = 120_000;

/// For how long an unused sticky port is remembered (90 days), in milliseconds.
const STICKY_MILLIS: u64 = 90 * 24 * 3_600_000;

/// For how long a port that turned bad is avoided (7 days), in milliseconds.
const BAD_MILLIS: u64 = 7 * 24 * 3_600_000;

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Book {
    pub(crate) version: u32,
    /// Supervisors that hold ports now.
    pub(crate) live: Vec<LiveRow>,
    /// Numbers that were printed and are held by nobody yet.
    pub(crate) grants: Vec<GrantRow>,
    /// Every stack with sticky ports.
    pub(crate) stacks: Vec<StackRow>,
}

/// The ports that one supervisor holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LiveRow {
    pub(crate) owner: Owner,
    pub(crate) boot: String,
    /// The inode of the network namespace: port numbers mean something within one only.
    pub(crate) netns: u64,
    pub(crate) supervisor: Process,
    pub(crate) ports: Vec<PortRow>,
}

/// A port under its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PortRow {
    pub(crate) key: PortKey,
    /// Absent for TCP.
    #[serde(default, skip_serializing_if = "Protocol::is_tcp")]
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
}

/// A number that `ports free` printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GrantRow {
    pub(crate) port: u16,
    pub(crate) boot: String,
    pub(crate) netns: u64,
    /// In milliseconds since boot, sleep included, so that setting the clock changes nothing.
    pub(crate) until: u64,
}

/// What a stack had last, for as long as its directory exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StackRow {
    pub(crate) owner: Owner,
    pub(crate) sticky: Vec<StickyRow>,
    pub(crate) bad: Vec<BadRow>,
    /// The ports whose servers need the hold to be released before they are executed.
    pub(crate) release: Vec<PortKey>,
}

/// The last port of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StickyRow {
    pub(crate) key: PortKey,
    /// Absent for TCP.
    #[serde(default, skip_serializing_if = "Protocol::is_tcp")]
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
    /// In milliseconds since the Unix epoch.
    pub(crate) used: u64,
}

/// A port that was of no use to its stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BadRow {
    pub(crate) port: u16,
    /// In milliseconds since the Unix epoch.
    pub(crate) since: u64,
}

/// A port as the ledger knows it: whose it is, and whether that stack runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackPort {
    /// The stack.
    pub owner: Owner,
    /// The service and the name of the port.
    pub key: PortKey,
    /// What travels over it.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
    /// The supervisor that holds it; `None` for the sticky port of a stack that does not run.
    pub supervisor: Option<i32>,
}

impl fmt::Display for StackPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Owner {
            project,
            project_dir,
            ..
        } = &self.owner;
        write!(
            f,
            "{} of service `{}` in stack `{project}` ({})",
            self.key.name,
            self.key.service,
            project_dir.display()
        )?;
        match self.supervisor {
            Some(_) => Ok(()),
            None => f.write_str(", which is not running"),
        }
    }
}

/// A [`StackPort`] within the book: most of them are only looked at for their number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    owner: &'a Owner,
    key: &'a PortKey,
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
    supervisor: Option<i32>,
}

impl From<Entry<'_>> for StackPort {
    fn from(entry: Entry<'_>) -> Self {
        Self {
            owner: entry.owner.clone(),
            key: entry.key.clone(),
            protocol: entry.protocol,
            port: entry.port,
            supervisor: entry.supervisor,
        }
    }
}

impl Book {
    /// Drops what no longer counts: rows of another boot, of dead supervisors, of directories that
    /// are gone, and what is past its time. Rows of other network namespaces are left alone, as
    /// their processes may be invisible from here.
    pub(crate) fn prune(&mut self, here: &Here) {
        let exists = |owner: &Owner| here.exists(&owner.project_dir);
        self.live.retain(|row| {
            let counts = row.netns != here.netns || here.lives(row.supervisor);
            row.boot == here.boot && counts && exists(&row.owner)
        });
        self.grants.retain(|row| {
            // A deadline further away than any grant reaches was not written by this clock.
            let latest = here.boottime_millis.saturating_add(GRANT_MILLIS);
            row.boot == here.boot && (here.boottime_millis..=latest).contains(&row.until)
        });
        for row in &mut self.stacks {
            row.sticky
                .retain(|sticky| young(sticky.used, STICKY_MILLIS, here));
            row.bad.retain(|bad| young(bad.since, BAD_MILLIS, here));
        }
        self.stacks.retain(|row| {
            let says_something =
                !(row.sticky.is_empty() && row.bad.is_empty() && row.release.is_empty());
            says_something && exists(&row.owner)
        });
    }

    /// The ports that living supervisors of this network namespace hold, those of `except` left
    /// out.
    pub(crate) fn live<'a>(
        &'a self,
        here: &'a Here,
        except: Option<&'a str>,
    ) -> impl Iterator<Item = Entry<'a>> {
        self.live
            .iter()
            .filter(move |row| row.netns == here.netns && row.boot == here.boot)
            .filter(move |row| except != Some(row.owner.instance.as_str()))
            .flat_map(|row| {
                row.ports.iter().map(|port| Entry {
                    owner: &row.owner,
                    key: &port.key,
                    protocol: port.protocol,
                    port: port.port,
                    supervisor: Some(row.supervisor.pid),
                })
            })
    }

    /// The sticky ports of all stacks but `except`.
    pub(crate) fn sticky<'a>(&'a self, except: Option<&'a str>) -> impl Iterator<Item = Entry<'a>> {
        self.stacks
            .iter()
            .filter(move |row| except != Some(row.owner.instance.as_str()))
            .flat_map(|row| {
                row.sticky.iter().map(|sticky| Entry {
                    owner: &row.owner,
                    key: &sticky.key,
                    protocol: sticky.protocol,
                    port: sticky.port,
                    supervisor: None,
                })
            })
    }

    /// The numbers that were granted in this network namespace.
    pub(crate) fn granted<'a>(&'a self, here: &'a Here) -> impl Iterator<Item = u16> + 'a {
        self.grants
            .iter()
            .filter(|row| row.netns == here.netns)
            .map(|row| row.port)
    }

    /// The sticky ports of `owner`, those that turned bad left out.
    pub(crate) fn own_sticky(&self, owner: &Owner) -> HashMap<PortKey, u16> {
        let Some(row) = self.stack(owner) else {
            return HashMap::new();
        };
        row.sticky
            .iter()
            .filter(|sticky| row.bad.iter().all(|bad| bad.port != sticky.port))
            .map(|sticky| (sticky.key.clone(), sticky.port))
            .collect()
    }

    /// The ports that turned bad for `owner`.
    pub(crate) fn own_bad(&self, owner: &Owner) -> impl Iterator<Item = u16> {
        self.stack(owner)
            .into_iter()
            .flat_map(|row| row.bad.iter().map(|bad| bad.port))
    }

    /// The row of `owner`, if there is one.
    pub(crate) fn stack(&self, owner: &Owner) -> Option<&StackRow> {
        self.stacks
            .iter()
            .find(|row| row.owner.instance == owner.instance)
    }

    /// The row of `owner`, made if there is none.
    pub(crate) fn stack_mut(&mut self, owner: &Owner) -> &mut StackRow {
        let known = self
            .stacks
            .iter()
            .position(|row| row.owner.instance == owner.instance);
        let index = known.unwrap_or_else(|| {
            self.stacks.push(StackRow {
                owner: owner.clone(),
                sticky: Vec::new(),
                bad: Vec::new(),
                release: Vec::new(),
            });
            self.stacks.len() - 1
        });
        &mut self.stacks[index]
    }

    /// Notes that this process holds `ports` for `owner`, in place of what it held before; they
    /// become its sticky ports. `fresh` forgets the earlier ones and the bad ones first.
    pub(crate) fn record(&mut self, owner: &Owner, ports: &[PortRow], fresh: bool, here: &Here) {
        self.release(owner, here);
        let numbers: HashSet<u16> = ports.iter().map(|port| port.port).collect();
        self.grants.retain(|row| !numbers.contains(&row.port));
        self.live.push(LiveRow {
            owner: owner.clone(),
            boot: here.boot.clone(),
            netns: here.netns,
            supervisor: here.process,
            ports: ports.to_vec(),
        });
        let row = self.stack_mut(owner);
        row.owner = owner.clone();
        if fresh {
            row.sticky.clear();
            row.bad.clear();
        }
        let keys: HashSet<&PortKey> = ports.iter().map(|port| &port.key).collect();
        row.sticky.retain(|sticky| !keys.contains(&sticky.key));
        row.sticky.extend(ports.iter().map(|port| StickyRow {
            key: port.key.clone(),
            protocol: port.protocol,
            port: port.port,
            used: here.unix_millis,
        }));
    }

    /// Notes that `owner` holds nothing any more.
    pub(crate) fn release(&mut self, owner: &Owner, here: &Here) {
        self.live
            .retain(|row| row.owner.instance != owner.instance || row.netns != here.netns);
    }
}

/// Whether a time stamp is not older than `limit`. One from the future was written under a clock
/// that was wrong, then or now; it is kept, since it says nothing about age.
fn young(stamp: u64, limit: u64, here: &Here) -> bool {
    here.unix_millis.saturating_sub(stamp) <= limit
}
