//! What the ledger says, and the rules for what still counts.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use crate::ports::problem::Bad;
use crate::ports::request::{Owner, PortKey};
use crate::support::protocol::Protocol;

use super::place::Here;
use super::port_row::PortRow;
use super::row::{
    BadRow, Body, GrantRow, LiveHead, LiveRow, Numbers, Past, StackRow, StickyRow, Unreadable,
};
use super::stack_port::StackPort;

/// For how long a number that `ports free` printed is left to its caller, in milliseconds.
pub(crate) const GRANT_MILLIS: u64 = 120_000;

/// For how long a look at everybody is good enough for who looks quickly, in milliseconds.
const CHECKED_MILLIS: u64 = 100;

/// The whole file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Book {
    /// The boot to which the live rows and the grants belong.
    pub(crate) boot: String,
    /// When everybody was last looked up, in milliseconds since boot.
    pub(crate) checked: u64,
    /// Supervisors that hold ports now.
    pub(crate) live: Vec<LiveRow>,
    /// Numbers that were printed and are held by nobody yet.
    pub(crate) grants: Vec<GrantRow>,
    /// Every stack with sticky ports.
    pub(crate) stacks: Vec<StackRow>,
    /// What was wrong with the first body that could not be read.
    pub(crate) damage: RefCell<Option<String>>,
}

/// A port of a stack, without its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// TCP or UDP; a pair is two entries.
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
}

/// How hard processes are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Care {
    /// A number that belongs to somebody else by now, or to a zombie, counts as alive. Takes a
    /// fraction of a microsecond.
    Quick,
    /// The process is the very one that wrote the row.
    Thorough,
}

/// Whether a row can be judged: its process can be seen from another network namespace or not.
fn is_here(head: &LiveHead, here: &Here) -> bool {
    head.netns == here.netns
}

impl Book {
    /// Drops what no longer counts: rows of another boot, of dead supervisors, of directories that
    /// are gone, and what is past its time. Rows of other network namespaces are left alone, as
    /// their processes may be invisible from here.
    ///
    /// A [`Care::Quick`] one looks nobody up if somebody else did so just before: of many stacks
    /// that start at once one is enough.
    pub(crate) fn prune(&mut self, here: &Here, care: Care) {
        if self.boot != here.boot {
            self.boot.clone_from(&here.boot);
            self.checked = 0;
            self.live.clear();
            self.grants.clear();
            // The numbers of namespaces are given out anew.
            for row in &mut self.stacks {
                row.head.netns = 0;
                row.lines = None;
            }
        }
        self.grants.retain(|row| {
            // A deadline further away than any grant reaches was not written by this clock.
            let latest = here.boottime_millis.saturating_add(GRANT_MILLIS);
            (here.boottime_millis..=latest).contains(&row.until)
        });
        let damage = &self.damage;
        self.stacks.retain_mut(|row| {
            let mut says_something = true;
            if row.head.until < here.unix_millis {
                let outcome = row.change(|past| {
                    past.prune(here.unix_millis);
                    says_something = !past.is_empty();
                });
                note(damage, outcome);
            }
            says_something
        });
        let since = here.boottime_millis.checked_sub(self.checked);
        if care == Care::Quick && since.is_some_and(|since| since < CHECKED_MILLIS) {
            return;
        }
        self.checked = here.boottime_millis;
        let mut known: HashMap<PathBuf, bool> = HashMap::new();
        let mut exists = |owner: &Owner| {
            if let Some(&exists) = known.get(&owner.project_dir) {
                return exists;
            }
            let exists = here.exists(&owner.project_dir);
            known.insert(owner.project_dir.clone(), exists);
            exists
        };
        self.live.retain(|row| {
            let counts = !is_here(&row.head, here) || here.lives(row.head.supervisor, care);
            counts && exists(&row.head.owner)
        });
        self.stacks.retain(|row| exists(&row.head.owner));
    }

    /// Drops the rows with one of the `ports` whose supervisors are dead when they are looked at
    /// thoroughly. Says whether there were any.
    pub(crate) fn judge(&mut self, here: &Here, ports: impl Fn(u16) -> bool) -> bool {
        let before = self.live.len();
        self.live.retain(|row| {
            !is_here(&row.head, here)
                || !row.head.numbers.iter().any(|(_, port)| ports(port))
                || here.lives(row.head.supervisor, Care::Thorough)
        });
        self.live.len() < before
    }

    /// The ports that supervisors of this network namespace hold, those of `except` left out.
    pub(crate) fn live<'a>(
        &'a self,
        here: &'a Here,
        except: Option<&'a str>,
    ) -> impl Iterator<Item = Entry> + 'a {
        self.live_rows(here, except)
            .flat_map(|row| entries(&row.head.numbers))
    }

    fn live_rows<'a>(
        &'a self,
        here: &'a Here,
        except: Option<&'a str>,
    ) -> impl Iterator<Item = &'a LiveRow> {
        let rows = self.live.iter().filter(|row| is_here(&row.head, here));
        rows.filter(move |row| except != Some(row.head.owner.instance.as_str()))
    }

    /// The sticky ports of all stacks but `except`, as far as they count in this network namespace.
    pub(crate) fn sticky<'a>(
        &'a self,
        here: &'a Here,
        except: Option<&'a str>,
    ) -> impl Iterator<Item = Entry> + 'a {
        self.sticky_rows(here, except)
            .flat_map(|row| entries(&row.head.numbers))
    }

    fn sticky_rows<'a>(
        &'a self,
        here: &'a Here,
        except: Option<&'a str>,
    ) -> impl Iterator<Item = &'a StackRow> {
        let is_here = |row: &&StackRow| row.head.netns == 0 || row.head.netns == here.netns;
        let rows = self.stacks.iter().filter(is_here);
        rows.filter(move |row| except != Some(row.head.owner.instance.as_str()))
    }

    /// As [`live`](Self::live), with the names; only `port`, if one is given.
    pub(crate) fn live_ports(
        &self,
        here: &Here,
        except: Option<&str>,
        port: Option<u16>,
    ) -> Vec<StackPort> {
        let rows = self.live_rows(here, except);
        rows.filter(|row| has(&row.head.numbers, port))
            .flat_map(|row| {
                let ports = self.read(&row.ports);
                let wanted = ports
                    .into_iter()
                    .filter(move |row| port.is_none_or(|port| row.port == port));
                wanted.map(
                    |PortRow {
                         key,
                         protocol,
                         port,
                     }| StackPort {
                        owner: row.head.owner.clone(),
                        key,
                        protocol,
                        port,
                        supervisor: Some(row.head.supervisor.pid),
                    },
                )
            })
            .collect()
    }

    /// As [`sticky`](Self::sticky), with the names; only `port`, if one is given.
    pub(crate) fn sticky_ports(
        &self,
        here: &Here,
        except: Option<&str>,
        port: Option<u16>,
    ) -> Vec<StackPort> {
        let rows = self.sticky_rows(here, except);
        rows.filter(|row| has(&row.head.numbers, port))
            .flat_map(|row| {
                let sticky = self.read(&row.past).sticky;
                let wanted = sticky
                    .into_iter()
                    .flat_map(|row| row.ports)
                    .filter(move |row| port.is_none_or(|port| row.port == port));
                wanted.map(
                    |PortRow {
                         key,
                         protocol,
                         port,
                     }| StackPort {
                        owner: row.head.owner.clone(),
                        key,
                        protocol,
                        port,
                        supervisor: None,
                    },
                )
            })
            .collect()
    }

    /// The numbers that were granted in this network namespace.
    pub(crate) fn granted<'a>(&'a self, here: &'a Here) -> impl Iterator<Item = u16> + 'a {
        self.grants
            .iter()
            .filter(|row| row.netns == here.netns)
            .map(|row| row.port)
    }

    /// What `owner` had, and how it fared.
    pub(crate) fn past(&self, owner: &Owner) -> Past {
        let row = self.stack(owner);
        row.map_or_else(Past::default, |row| self.read(&row.past))
    }

    /// The sticky ports of `owner`, those that turned bad left out.
    pub(crate) fn own_sticky(&self, owner: &Owner) -> HashMap<PortKey, u16> {
        let past = self.past(owner);
        let bad: HashSet<u16> = bad_of(&past).collect();
        past.ports()
            .filter(|row| !bad.contains(&row.port))
            .map(|row| (row.key.clone(), row.port))
            .collect()
    }

    /// The last ports of `owner` that turned bad, and how.
    pub(crate) fn own_lost(&self, owner: &Owner) -> HashMap<PortKey, (u16, Bad)> {
        let past = self.past(owner);
        let bad: HashMap<u16, Bad> = past
            .bad
            .iter()
            .filter(|bad| bad.counts())
            .map(|bad| {
                let why = if bad.unusable {
                    Bad::Unusable
                } else {
                    Bad::Stolen(bad.stolen)
                };
                (bad.port, why)
            })
            .collect();
        past.ports()
            .filter_map(|row| Some((row.key.clone(), (row.port, *bad.get(&row.port)?))))
            .collect()
    }

    /// The ports that turned bad for `owner`.
    pub(crate) fn own_bad(&self, owner: &Owner) -> Vec<u16> {
        bad_of(&self.past(owner)).collect()
    }

    /// The row of `owner`, if there is one.
    fn stack(&self, owner: &Owner) -> Option<&StackRow> {
        let mut rows = self.stacks.iter();
        rows.find(|row| row.head.owner.instance == owner.instance)
    }

    /// Changes what is remembered of `owner`; past things are forgotten on the way.
    pub(crate) fn change(&mut self, owner: &Owner, here: &Here, change: impl FnOnce(&mut Past)) {
        let mut rows = self.stacks.iter();
        let known = rows.position(|row| row.head.owner.instance == owner.instance);
        let index = known.unwrap_or_else(|| {
            self.stacks.push(StackRow::new(owner));
            self.stacks.len() - 1
        });
        let outcome = self.stacks[index].change(|past| {
            past.prune(here.unix_millis);
            change(past);
        });
        note(&self.damage, outcome);
    }

    /// Notes that `port` was stolen from `owner` (`unusable` false), or that its service can never
    /// bind it.
    pub(crate) fn blame(&mut self, owner: &Owner, port: u16, unusable: bool, here: &Here) {
        let since = here.unix_millis;
        self.change(owner, here, |past| {
            let known = past.bad.iter().position(|bad| bad.port == port);
            let index = known.unwrap_or_else(|| {
                past.bad.push(BadRow {
                    port,
                    stolen: 0,
                    unusable: false,
                    since,
                });
                past.bad.len() - 1
            });
            let bad = &mut past.bad[index];
            bad.since = since;
            bad.unusable |= unusable;
            bad.stolen += u32::from(!unusable);
        });
    }

    /// Notes that this process holds `ports` for `owner`, in place of what it held before; they
    /// become its sticky ports. `fresh` forgets the earlier ones and the bad ones first.
    pub(crate) fn record(&mut self, owner: &Owner, ports: &[PortRow], fresh: bool, here: &Here) {
        self.release(owner, here);
        let numbers: HashSet<u16> = ports.iter().map(|port| port.port).collect();
        self.grants.retain(|row| !numbers.contains(&row.port));
        self.live.push(LiveRow {
            head: LiveHead {
                owner: owner.clone(),
                netns: here.netns,
                supervisor: here.process,
                numbers: Numbers::of(ports.iter().map(|port| (port.protocol, port.port))),
            },
            lines: None,
            ports: Body::Read(ports.to_vec()),
        });
        self.change(owner, here, |past| {
            if fresh {
                past.sticky.clear();
                past.bad.clear();
            }
            let keys: HashSet<&PortKey> = ports.iter().map(|port| &port.key).collect();
            for row in &mut past.sticky {
                row.ports.retain(|port| !keys.contains(&port.key));
            }
            past.sticky.retain(|row| !row.ports.is_empty());
            past.sticky.push(StickyRow {
                used: here.unix_millis,
                ports: ports.to_vec(),
            });
        });
        if let Some(row) = self
            .stacks
            .iter_mut()
            .find(|row| row.head.owner.instance == owner.instance)
        {
            row.head.owner = owner.clone();
            row.head.netns = here.netns;
        }
    }

    /// Notes that `owner` holds nothing any more.
    pub(crate) fn release(&mut self, owner: &Owner, here: &Here) {
        self.live.retain(|row| {
            row.head.owner.instance != owner.instance || row.head.netns != here.netns
        });
    }

    fn read<T>(&self, body: &Body<T>) -> T
    where
        T: Clone + Default + serde::Serialize + serde::de::DeserializeOwned,
    {
        body.to_read().unwrap_or_else(|unreadable| {
            note(&self.damage, Err(unreadable));
            T::default()
        })
    }
}

fn note(damage: &RefCell<Option<String>>, outcome: Result<(), Unreadable>) {
    if let Err(Unreadable(reason)) = outcome {
        damage.borrow_mut().get_or_insert(reason);
    }
}

fn entries(numbers: &Numbers) -> impl Iterator<Item = Entry> {
    let all = numbers.iter();
    all.map(|(protocol, port)| Entry { protocol, port })
}

fn has(numbers: &Numbers, port: Option<u16>) -> bool {
    port.is_none_or(|port| numbers.contains(port))
}

fn bad_of(past: &Past) -> impl Iterator<Item = u16> {
    let bad = past.bad.iter().filter(|bad| bad.counts());
    bad.map(|bad| bad.port)
}
