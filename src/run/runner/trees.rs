//! The processes of each unit: its main process, its session, and what has left both.
//!
//! The supervisor is a child subreaper, so whoever leaves the tree of its service becomes a child of
//! ours. Whose it is is told by the mark in its environment, else by its session, else it is of the
//! unit whose end made it an orphan.

use std::collections::{HashMap, HashSet};

use super::CommandId;
use crate::run::process::{
    ProcessId, await_exec, descendants, group_of, own_children, session_of, signal_group,
    signal_process, unit_mark,
};
use crate::support::name::UnitId;

/// What is known of one unit's processes.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// The main process, until it was reaped.
    pub(super) main: Option<i32>,
    /// The session and group that the last main process led.
    pub(super) session: Option<i32>,
    /// When the last attempt was about to be executed, in clock ticks since boot.
    executed_ticks: u64,
    /// Processes that left the tree and now hang below the supervisor.
    strays: Vec<i32>,
    /// Whether the group of the present attempt was sent the stop signal.
    is_group_asked: bool,
    /// Who else was asked to end; nobody is asked twice.
    asked: HashSet<i32>,
}

/// All units' processes.
#[derive(Debug)]
pub(super) struct Trees {
    instance: String,
    units: HashMap<UnitId, Tree>,
    /// Whose session it is, by its leader.
    sessions: HashMap<i32, UnitId>,
    /// Whose stray it is.
    strays: HashMap<i32, UnitId>,
}

impl Trees {
    pub(super) fn new(instance: String) -> Self {
        Self {
            instance,
            units: HashMap::new(),
            sessions: HashMap::new(),
            strays: HashMap::new(),
        }
    }

    /// The id of the instance, by which its processes are marked.
    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    pub(super) fn get(&self, unit: &UnitId) -> Option<&Tree> {
        self.units.get(unit)
    }

    /// A unit was executed: `pid` leads its new session.
    pub(super) fn executed(&mut self, unit: &UnitId, pid: i32, executed_ticks: u64) {
        let tree = self.units.entry(unit.clone()).or_default();
        if let Some(old) = tree.session.replace(pid) {
            self.sessions.remove(&old);
        }
        self.sessions.insert(pid, unit.clone());
        tree.main = Some(pid);
        tree.executed_ticks = executed_ticks;
        tree.is_group_asked = false;
        tree.asked.clear();
    }

    /// A unit of which nothing is left is gone.
    pub(super) fn forget(&mut self, unit: &UnitId) {
        if let Some(session) = self.units.remove(unit).and_then(|tree| tree.session) {
            self.sessions.remove(&session);
        }
    }

    /// The main process of a unit was reaped.
    pub(super) fn main_ended(&mut self, unit: &UnitId) {
        if let Some(tree) = self.units.get_mut(unit) {
            tree.main = None;
        }
    }

    /// A process that is nobody's main process was reaped: whose it was, if that is known.
    pub(super) fn stray_ended(&mut self, pid: i32) -> Option<UnitId> {
        let unit = self.strays.remove(&pid)?;
        if let Some(tree) = self.units.get_mut(&unit) {
            tree.strays.retain(|&stray| stray != pid);
        }
        Some(unit)
    }

    /// Finds the processes that hang below us without being known to anybody, and whose they are.
    /// `is_known` says who is a main process or a command. One that has neither mark nor session (some
    /// servers write their title over their environment) is taken to be of `ended`, unless it is
    /// older than that: then it is of another unit, whose end will find it.
    ///
    /// What a command has left behind is killed once that is not running (`is_running`) any more: a
    /// check that leaves something leaves it again and again.
    pub(super) fn find_strays(
        &mut self,
        ended: Option<&UnitId>,
        is_known: impl Fn(i32) -> bool,
        is_running: impl Fn(&CommandId) -> bool,
    ) {
        let unknown: Vec<i32> = own_children()
            .into_iter()
            .filter(|pid| !is_known(*pid) && !self.strays.contains_key(pid))
            .collect();
        for pid in unknown {
            let mut mark = unit_mark(pid, &self.instance);
            if mark.is_none() {
                if !await_exec(pid) {
                    // The next look, or its end, finds it.
                    continue;
                }
                mark = unit_mark(pid, &self.instance);
            }
            if let Some((unit, Some(number))) = mark {
                if !is_running(&CommandId { unit, number }) {
                    for pid in descendants(pid) {
                        signal_process(pid, nix::libc::SIGKILL);
                    }
                }
                continue;
            }
            let marked = mark
                .map(|(unit, _)| unit)
                .filter(|unit| self.units.contains_key(unit));
            let by_end = || {
                let since = self.units.get(ended?)?.executed_ticks;
                let is_younger = ProcessId::of(pid).is_none_or(|it| it.start_time + 1 >= since);
                ended.filter(|_| is_younger).cloned()
            };
            let Some(unit) = marked.or_else(|| self.unit_of(pid)).or_else(by_end) else {
                continue;
            };
            if let Some(tree) = self.units.get_mut(&unit) {
                tree.strays.push(pid);
                self.strays.insert(pid, unit);
            }
        }
    }

    /// The unit to which a process belongs, as far as that is known.
    pub(super) fn unit_of(&self, pid: i32) -> Option<UnitId> {
        let by_session = || self.sessions.get(&session_of(pid)?);
        self.strays.get(&pid).or_else(by_session).cloned()
    }

    /// Everything of a unit: its main process and its strays, with all that descends from them.
    pub(super) fn processes(&self, unit: &UnitId) -> Vec<i32> {
        let Some(tree) = self.units.get(unit) else {
            return Vec::new();
        };
        let roots = tree.main.iter().chain(&tree.strays);
        roots.flat_map(|&root| descendants(root)).collect()
    }

    pub(super) fn is_empty(&self, unit: &UnitId) -> bool {
        self.units
            .get(unit)
            .is_none_or(|tree| tree.main.is_none() && tree.strays.is_empty())
    }

    /// Sends a signal to the main process's group, and continues it.
    pub(super) fn signal(&mut self, unit: &UnitId, signal: i32) {
        // One that was reaped while its last output is written has no group to be named by: what it
        // left is asked one by one as soon as that is done.
        let Some(tree) = self.units.get_mut(unit) else {
            return;
        };
        let Some(main) = tree.main else { return };
        tree.is_group_asked = true;
        signal_group(main, signal);
        signal_group(main, nix::libc::SIGCONT);
    }

    /// Asks what is left of a unit to end.
    pub(super) fn ask(&mut self, unit: &UnitId, is_group_spared: bool) {
        let mut rest = self.processes(unit);
        let Some(tree) = self.units.get_mut(unit) else {
            return;
        };
        let spared = tree
            .session
            .filter(|_| is_group_spared && tree.is_group_asked);
        rest.retain(|&pid| spared.is_none() || group_of(pid) != spared);
        for pid in rest {
            if tree.asked.insert(pid) {
                signal_process(pid, nix::libc::SIGTERM);
                signal_process(pid, nix::libc::SIGCONT);
            }
        }
    }

    /// Kills everything of a unit.
    pub(super) fn kill(&self, unit: &UnitId) {
        if let Some(main) = self.units.get(unit).and_then(|tree| tree.main) {
            signal_group(main, nix::libc::SIGKILL);
        }
        for pid in self.processes(unit) {
            signal_process(pid, nix::libc::SIGKILL);
        }
    }

    /// The groups of everything that runs.
    pub(super) fn groups(&self) -> impl Iterator<Item = i32> {
        self.units.values().filter_map(|tree| tree.main)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use nix::libc::SIGKILL;

    use super::*;
    use crate::run::process::become_subreaper;
    use crate::support::name::ServiceName;
    use crate::support::testing::alone;

    fn unit(service: &str) -> UnitId {
        UnitId {
            service: ServiceName::new(service).unwrap(),
            replica: 1,
        }
    }

    /// Starts a process of `web` that is no child of its shell any more. So many arguments make its
    /// exec take long enough to be seen in the middle.
    const ORPHAN: &str = "{ words=$(seq 100000); exec sleep $words; } >/dev/null & echo $!";

    #[test]
    fn whose_a_process_in_the_middle_of_exec_is_is_said_after_it() {
        alone(|| {
            become_subreaper().unwrap();
            let is_seen = || {
                let mut shell = Command::new("sh");
                shell.args(["-c", ORPHAN]).env("STACK_INSTANCE", "shop-1");
                shell.env("STACK_SERVICE", "web").env("STACK_REPLICA", "1");
                let output = shell.stderr(Stdio::null()).output().unwrap();
                let pid = String::from_utf8(output.stdout).unwrap();
                let pid: i32 = pid.trim().parse().unwrap();
                let read = |file| fs_err::read(format!("/proc/{pid}/{file}")).unwrap();
                while !read("environ").is_empty() {
                    if read("comm") == b"sleep\n" {
                        // It was too quick for us.
                        signal_process(pid, SIGKILL);
                        return false;
                    }
                }
                let mut trees = Trees::new("shop-1".to_owned());
                trees.executed(&unit("web"), i32::MAX, 0);
                trees.executed(&unit("other"), i32::MAX - 1, 0);
                trees.find_strays(Some(&unit("other")), |_| false, |_| false);
                let whose = trees.unit_of(pid);
                signal_process(pid, SIGKILL);
                assert_eq!(whose, Some(unit("web")));
                true
            };
            while !is_seen() {}
        });
    }
}
