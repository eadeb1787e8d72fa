//! Stopping everything below this process, after the supervisor was killed.
//!
//! Every service is asked by its own stop signal and killed when its own grace period is over, with
//! everything that descends from it or carries its marks. A look reads all processes once, however
//! many services there are, and is made when somebody's time has come. Nothing here can end the
//! guardian, and nothing allocates unless the machine has more processes than there is room for.

use std::time::{Duration, Instant};

use nix::libc::{SIGCONT, SIGINT, SIGKILL, SIGTERM};
use nix::sys::signal::SigSet;

use crate::run::process::{
    Group, Marks, ProcessTree, Row, SharedTable, UnitKey, has_children, push, reap_all,
    signal_group, signal_process, wait_for_signal,
};
use crate::support::proc::{Stat, read_file};

/// How long what was killed may take to vanish.
pub(super) const KILL_LIMIT: Duration = Duration::from_secs(2);

/// The same where a supervisor that ended in good order has killed it before.
pub(super) const SHORT_LIMIT: Duration = Duration::from_millis(200);

/// How long everything may take where there is no service.
const GRACE_OF_NOBODY: Duration = Duration::from_secs(2);

/// How soon what was killed is looked for again, at first and at most: it may have started others.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How many services there is room for before anything is allocated.
const ROOM: usize = 4096;

/// How much of an environment is searched for marks.
const ENVIRONMENT: usize = 256 * 1024;

/// What stops a tree of processes. Its buffers are reserved before anything has gone wrong; memory
/// that is not touched costs nothing.
#[derive(Debug)]
pub(super) struct Stopper {
    tree: ProcessTree,
    services: Services,
    /// Everything below this process, each with its service.
    below: Vec<(Stat, Option<Owner>)>,
    /// How long what belongs to no service may take: as long as the service that may take longest.
    grace_of_rest: Duration,
    /// How often all processes were read.
    #[cfg(test)]
    looks: u32,
}

/// A service, by its place among the services.
type Owner = usize;

/// The services that were running.
#[derive(Debug)]
struct Services {
    /// In the order of their pids; whether each was asked to stop.
    rows: Vec<(Row, bool)>,
    by_unit: Vec<(UnitKey, Owner)>,
    /// Holds the environment that is looked at.
    environment: Vec<u8>,
}

impl Stopper {
    pub(super) fn new() -> Self {
        Self {
            tree: ProcessTree::new(),
            services: Services {
                rows: Vec::with_capacity(ROOM),
                by_unit: Vec::with_capacity(ROOM),
                environment: vec![0; ENVIRONMENT],
            },
            below: Vec::with_capacity(ROOM),
            grace_of_rest: GRACE_OF_NOBODY,
            #[cfg(test)]
            looks: 0,
        }
    }

    /// Stops everything below this process: what belongs to a service within that service's grace
    /// period, the rest within the longest of these, and nothing later than `limit`. What was killed may
    /// take `kill_limit` to vanish. A SIGINT or
    /// SIGTERM meanwhile means: do not wait. Returns whether anything is left.
    pub(super) fn stop(
        &mut self,
        signals: &SigSet,
        (table, group): (&SharedTable, Option<&Group>),
        mut limit: Duration,
        kill_limit: Duration,
    ) -> bool {
        let begun = Instant::now();
        self.services.note(table);
        let mut is_asked = false;
        let mut next_look = Duration::ZERO;
        let mut pause = FIRST_PAUSE;
        let mut all_due_since = None;
        loop {
            reap_all().for_each(drop);
            if !has_children() {
                return false;
            }
            let now = begun.elapsed();
            if all_due_since.is_some_and(|since| now > since + kill_limit) {
                return true;
            }
            if now >= next_look {
                self.look();
                if !is_asked {
                    self.ask();
                    is_asked = true;
                }
                let (next_due, has_killed) = self.kill_due(now, limit);
                let again = now + pause;
                next_look = match next_due {
                    Some(due) if has_killed => due.min(again),
                    Some(due) => due.max(again),
                    None => {
                        // Who starts others faster than they are looked at is caught by this.
                        group.inspect(|group| group.kill());
                        all_due_since.get_or_insert(now);
                        again
                    }
                };
                if has_killed {
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
            let received = wait_for_signal(signals, Some(next_look.saturating_sub(now)));
            if received.is_some_and(|signal| matches!(signal, SIGINT | SIGTERM)) {
                limit = Duration::ZERO;
                next_look = Duration::ZERO;
            }
        }
    }

    /// Finds everything below this process, and whose each is.
    fn look(&mut self) {
        let own = nix::unistd::getpid().as_raw();
        self.tree.read_again();
        #[cfg(test)]
        {
            self.looks += 1;
        }
        self.below.clear();
        if let Some(&stat) = self.tree.get(own) {
            push(&mut self.below, (stat, None));
        }
        let services = &mut self.services;
        self.tree.extend(&mut self.below, |child, above| {
            (child.pid != own).then(|| services.owner_of(child, above))
        });
        self.below.retain(|(stat, _)| stat.pid != own);
    }

    /// Asks everything to end, everybody once: a service's group by the service's own stop signal,
    /// what has left its group (and every check that was running) by SIGTERM.
    fn ask(&mut self) {
        let rows = &mut self.services.rows;
        for (stat, _) in &self.below {
            // A leader that has ended may have given its number to another process: only a group
            // with somebody in it who hangs below us is the one that was meant.
            let leader = rows.binary_search_by_key(&stat.group, |(row, _)| row.pid);
            if let Ok(place) = leader {
                let (row, is_asked) = &mut rows[place];
                if !std::mem::replace(is_asked, true) {
                    signal_group(row.pid, row.stop_signal);
                    signal_group(row.pid, SIGCONT);
                }
            } else {
                signal_process(stat.pid, SIGTERM);
                signal_process(stat.pid, SIGCONT);
            }
        }
        let graces = self
            .below
            .iter()
            .filter_map(|(_, owner)| Some(rows[(*owner)?].0.grace));
        self.grace_of_rest = graces.max().unwrap_or(GRACE_OF_NOBODY);
    }

    /// Kills what has had its time; when the next one has, and whether anything was killed.
    fn kill_due(&self, now: Duration, limit: Duration) -> (Option<Duration>, bool) {
        let mut next: Option<Duration> = None;
        let mut has_killed = false;
        for (stat, owner) in &self.below {
            let grace = owner.map_or(self.grace_of_rest, |owner| {
                self.services.rows[owner].0.grace
            });
            let due = grace.min(limit);
            if now < due {
                next = Some(next.map_or(due, |next| next.min(due)));
                continue;
            }
            has_killed = true;
            // Of a group also what was born since it was looked at.
            if stat.pid == stat.group {
                signal_group(stat.group, SIGKILL);
            } else {
                signal_process(stat.pid, SIGKILL);
            }
        }
        (next, has_killed)
    }
}

impl Services {
    /// Notes who was running.
    fn note(&mut self, table: &SharedTable) {
        for row in table.rows() {
            push(&mut self.rows, (row, false));
        }
        self.rows.sort_unstable_by_key(|(row, _)| row.pid);
        for (place, (row, _)) in self.rows.iter().enumerate() {
            push(&mut self.by_unit, (row.unit, place));
        }
        self.by_unit.sort_unstable();
    }

    /// Whose a process is: its own main process's, its parent's owner's, its session's, or the one
    /// that the marks in its environment name.
    fn owner_of(&mut self, stat: &Stat, above: Option<Owner>) -> Option<Owner> {
        self.with_pid(stat.pid)
            .or(above)
            .or_else(|| self.with_pid(stat.session))
            .or_else(|| self.marked(stat.pid))
    }

    fn with_pid(&self, pid: i32) -> Option<Owner> {
        let place = self.rows.binary_search_by_key(&pid, |(row, _)| row.pid);
        place.ok()
    }

    fn marked(&mut self, pid: i32) -> Option<Owner> {
        let length = read_file(pid, "environ", &mut self.environment)?;
        let key = UnitKey::from(Marks::in_environment(&self.environment[..length])?);
        let place = self.by_unit.binary_search_by_key(&key, |&(unit, _)| unit);
        Some(self.by_unit[place.ok()?].1)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::run::guardian::SIGNALS;
    use crate::run::process::{Slot, block_for_waiting};
    use crate::support::name::{ServiceName, UnitId};
    use crate::support::testing::alone;

    /// Starts a process that does not end when it is asked to.
    fn deaf() -> Child {
        let script = "trap '' TERM; exec sleep 60";
        Command::new("sh").args(["-c", script]).spawn().unwrap()
    }

    #[test]
    fn a_hundred_services_are_stopped_in_a_few_looks_and_nothing_is_allocated() {
        alone(|| {
            let signals = block_for_waiting(&SIGNALS).unwrap();
            let table = SharedTable::new().unwrap();
            for number in 0..100 {
                let unit = UnitId {
                    service: ServiceName::new("it").unwrap(),
                    replica: u32::try_from(number).unwrap(),
                };
                let row = Row {
                    pid: i32::try_from(deaf().id()).unwrap(),
                    stop_signal: SIGTERM,
                    grace: Duration::from_millis(300),
                    unit: UnitKey::of("shop-1", &unit),
                };
                table.set(Slot::at(number).unwrap(), row);
            }
            let mut stopper = Stopper::new();
            let room = |it: &Stopper| (it.below.capacity(), it.services.rows.capacity());
            let before = room(&stopper);
            assert!(!stopper.stop(&signals, (&table, None), Duration::MAX, KILL_LIMIT));
            assert!(stopper.looks <= 10, "{} looks", stopper.looks);
            assert_eq!(room(&stopper), before);
        });
    }

    #[test]
    fn whose_a_process_is_comes_from_its_parent_its_session_or_its_marks() {
        alone(|| {
            let unit = UnitId::first(ServiceName::new("web").unwrap());
            let row = |pid, unit| Row {
                pid,
                stop_signal: SIGTERM,
                grace: Duration::from_secs(1),
                unit,
            };
            let mut services = Stopper::new().services;
            let table = SharedTable::new().unwrap();
            let other = UnitId::first(ServiceName::new("db").unwrap());
            table.set(Slot::at(0).unwrap(), row(70, UnitKey::of("shop-1", &unit)));
            table.set(Slot::at(1).unwrap(), row(40, UnitKey::of("shop-1", &other)));
            services.note(&table);
            let (db, web) = (services.with_pid(40), services.with_pid(70));
            let stat = |pid, session| Stat {
                pid,
                state: b'S',
                parent: 1,
                group: pid,
                session,
                started: 0,
            };
            assert_eq!(services.owner_of(&stat(70, 70), None), web);
            assert_eq!(services.owner_of(&stat(71, 71), web), web);
            assert_eq!(services.owner_of(&stat(72, 40), None), db);
            assert_eq!(services.owner_of(&stat(40, 40), web), db);
            let marked = |instance: &str| {
                let mut child = Command::new("cat");
                child.env("STACK_INSTANCE", instance);
                child.env("STACK_SERVICE", "web").env("STACK_REPLICA", "1");
                child.stdin(Stdio::piped()).stdout(Stdio::piped());
                let mut child = child.spawn().unwrap();
                // Its environment can be read only once its exec is over, and that an answer shows.
                child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
                child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
                child
            };
            for (instance, expected) in [("shop-1", web), ("shop-2", None)] {
                let mut child = marked(instance);
                let pid = i32::try_from(child.id()).unwrap();
                assert_eq!(services.owner_of(&stat(pid, pid), None), expected);
                child.kill().unwrap();
                child.wait().unwrap();
            }
        });
    }
}
