//! Ending what a killed supervisor and guardian left behind: reap, never adopt.
//!
//! What belongs to the instance is known by four things: the leases, the sessions they lead, the mark
//! in every service's environment, and the control groups of its runs; and it is all that descends from
//! these. One reading of `/proc` answers for all of them. It is repeated until nothing is found, since a
//! dying process may start others. What has the mark, or the group, of a run whose supervisor or
//! guardian lives is never meant: a stack whose directory was renamed keeps its instance's id.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::libc::{SIGCONT, SIGKILL};
use nix::unistd::geteuid;

use super::instance::{Holder, all_holders};
use super::lease::{self, Manner};
use super::process::{
    FoundGroup, Group, ProcessId, ProcessTree, ancestors, is_in_our_pid_namespace, session_of,
    signal_process, unit_mark,
};
use super::registry::Registration;
use crate::support::name::UnitId;
use crate::support::proc::{Stat, for_each_pid, read_file};

/// After how long it is told that leftovers are waited for.
const TOLD_AFTER: Duration = Duration::from_secs(1);

/// How long what was killed may take to vanish.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// How often the processes are looked at. Nobody tells us of the end of a process that is not our
/// child, so this is the one place that polls; it lives for seconds at most.
pub const PAUSE: Duration = Duration::from_millis(20);

/// What was found and done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// How many processes were ended.
    pub ended: usize,
    /// The pids of those that did not end.
    pub remaining: Vec<i32>,
}

impl Leftovers {
    /// With what was found and done elsewhere.
    #[must_use]
    pub fn and(mut self, more: Self) -> Self {
        self.ended += more.ended;
        self.remaining.extend(more.remaining);
        self.remaining.sort_unstable();
        self.remaining.dedup();
        self
    }
}

/// The main processes that still run of an instance that has no supervisor any more, by unit; none
/// where its supervisor or its guardian has ended everything. Whoever asks has seen that nobody has
/// the lock.
pub fn running(lease_path: &Path) -> HashMap<UnitId, i32> {
    lease::read(lease_path)
        .into_iter()
        .filter(|lease| lease.process().is_some())
        .map(|lease| (lease.unit, lease.pid))
        .collect()
}

/// The processes that a supervisor could not end and has left leases of.
pub fn left(lease_path: &Path) -> Vec<i32> {
    let leases = lease::read(lease_path);
    let living = leases.iter().filter_map(lease::Lease::process);
    living.map(|process| process.pid).collect()
}

/// Leaves a lease as one does who is killed, for tests: that `pid` was started for `unit`.
#[cfg(test)]
pub(crate) fn leave(lease_path: &Path, unit: &UnitId, pid: i32) {
    let mut file = lease::LeaseFile::create(lease_path).unwrap();
    let slot = file.take(unit.clone()).unwrap();
    file.write(slot, ProcessId::of(pid).unwrap(), Manner::default());
}

/// Ends every process of an instance that has no supervisor any more: each as its service wants it, or
/// within a grace period that is said. Whoever has one holds the instance's lock, so that nothing is
/// started meanwhile.
pub struct Reaper {
    search: Search,
    grace: Option<Duration>,
    /// How long each that was asked to end may take, counted from the beginning.
    seen: HashMap<ProcessId, Duration>,
    /// How many still run.
    count: usize,
    begun: Instant,
    is_told: bool,
}

impl Reaper {
    /// `None` where there is nothing to be ended: a supervisor that ended in good order has removed its
    /// leases and its group. `/proc` is searched only where one did not, as that costs more than the
    /// whole rest of a start.
    pub fn new(instance: &str, lease_path: &Path, grace: Option<Duration>) -> Option<Self> {
        let groups = FoundGroup::of(instance);
        (lease_path.exists() || !groups.is_empty()).then(|| Self {
            search: Search::new(instance, lease_path, groups, &all_holders()),
            grace,
            seen: HashMap::new(),
            count: 0,
            begun: Instant::now(),
            is_told: false,
        })
    }

    /// For what is known by its marks alone. Where the leases are still in a directory above one of the
    /// processes, they tell how each is to be ended.
    pub fn of(orphans: &Orphans) -> Self {
        let beside = Path::new(".stack").join(&orphans.project).join("leases");
        let directories = orphans.pids.iter().filter_map(|pid| {
            let directory = std::fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
            let mut above = directory.ancestors().map(|above| above.join(&beside));
            above.find(|path| path.exists())
        });
        let leases = directories.into_iter().next().unwrap_or_default();
        let user = Some(geteuid().as_raw());
        Self::of_run((&orphans.instance, &orphans.run), &leases, user)
    }

    /// For what is left of a run that is known by its registration, each as its service wants it, or within
    /// a grace period that is said.
    pub fn of_registration(known: &Registration, grace: Option<Duration>) -> Self {
        let instance = &known.instance;
        let own = geteuid().as_raw();
        // What another user says names that user's processes only.
        let user = (known.owner != own).then_some(known.owner);
        let reaper = Self::of_run((&instance.id, &known.run), &instance.lease_path(), user);
        Self { grace, ..reaper }
    }

    fn of_run((instance, run): (&str, &str), leases: &Path, only_user: Option<u32>) -> Self {
        let mut groups = FoundGroup::of(instance);
        groups.retain(|group| group.run == run);
        let holders = all_holders();
        let is_running = holders.iter().any(|it| it.instance == instance);
        Self {
            search: Search {
                mark: format!("STACK_RUN={run}").into_bytes(),
                only_user,
                follows_leases: !is_running,
                ..Search::new(instance, leases, groups, &holders)
            },
            grace: None,
            seen: HashMap::new(),
            count: 0,
            begun: Instant::now(),
            is_told: false,
        }
    }

    /// Does what is to be done now; what came of it all, once nothing more can be done. Else to be called
    /// again after a [`PAUSE`].
    pub fn step(&mut self) -> Option<Leftovers> {
        let found = self.search.find(&self.seen);
        let waited = self.begun.elapsed();
        self.count = found.len();
        let is_over = found.is_empty() && self.search.groups.iter().all(FoundGroup::is_empty);
        if is_over || waited > self.longest() + KILL_LIMIT {
            self.search.groups.iter().for_each(FoundGroup::remove);
            return Some(Leftovers {
                ended: self.seen.len().saturating_sub(found.len()),
                remaining: found.iter().map(|process| process.pid).collect(),
            });
        }
        // Everybody who was asked has had its time; nobody was, where all of them are too quick to be
        // found.
        let is_due = !self.seen.is_empty() || waited > TOLD_AFTER;
        if is_due && waited > self.longest() {
            self.search.kill_groups();
        }
        for process in found {
            match self.seen.get(&process) {
                Some(&grace) if waited >= grace => {
                    signal_process(process.pid, SIGKILL);
                }
                Some(_) => {}
                None => {
                    let manner = self.search.manner(process);
                    self.seen
                        .insert(process, self.grace.unwrap_or(manner.grace));
                    signal_process(process.pid, manner.signal);
                    signal_process(process.pid, SIGCONT);
                }
            }
        }
        None
    }

    /// How long the last of them may take.
    fn longest(&self) -> Duration {
        self.seen.values().max().copied().unwrap_or_default()
    }

    /// Once, when it takes longer: how many processes are waited for, and how long at most.
    pub fn wait_to_tell(&mut self) -> Option<(usize, Duration)> {
        if self.begun.elapsed() < TOLD_AFTER || std::mem::replace(&mut self.is_told, true) {
            return None;
        }
        Some((self.count, self.longest()))
    }
}

/// How the processes of a dead instance are known.
struct Search {
    instance: String,
    leases: Vec<lease::Lease>,
    /// Whether what the leases name is meant. Else they are those of a run that goes on, and only tell how
    /// a process is to be ended.
    follows_leases: bool,
    /// What the environment of each has.
    mark: Vec<u8>,
    /// This process and those it descends from: none of them is ever ended.
    above: Vec<i32>,
    /// In which groups they were born.
    groups: Vec<FoundGroup>,
    /// The runs that go on.
    living: HashSet<Vec<u8>>,
    /// Whose processes may be ended, where that is not for the kernel to say: what a user's file
    /// names is not for root to kill unless it is that user's.
    only_user: Option<u32>,
    /// Holds the environment that is looked at.
    environment: Vec<u8>,
}

/// What is left of a stack that nobody supervises any more, known by the marks of its processes and by
/// its control group alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphans {
    /// The project's name.
    pub project: String,
    /// The instance's id.
    pub instance: String,
    /// The random id of the supervisor that has started them.
    pub run: String,
    /// Their pids; none where only the group is left.
    pub pids: Vec<i32>,
}

/// What nobody supervises any more, of any stack of this user.
pub fn orphans() -> Vec<Orphans> {
    let own = geteuid().as_raw();
    let mut by_run: BTreeMap<String, Orphans> = BTreeMap::new();
    let mut environment = vec![0; ENVIRONMENT];
    for_each_pid(|pid| {
        let owner = fs_err::metadata(format!("/proc/{pid}")).map(|process| process.uid());
        if !owner.is_ok_and(|owner| owner == own) || !is_in_our_pid_namespace(pid) {
            return;
        }
        let length = read_file(pid, "environ", &mut environment).unwrap_or(0);
        let value = |key: &str| {
            let mut entries = environment[..length].split(|&byte| byte == 0);
            let value = entries.find_map(|entry| entry.strip_prefix(key.as_bytes()))?;
            Some(String::from_utf8_lossy(value).into_owned())
        };
        let (Some(run), Some(instance), Some(project)) = (
            value("STACK_RUN="),
            value("STACK_INSTANCE="),
            value("STACK_PROJECT="),
        ) else {
            return;
        };
        if Stat::of(pid).is_some_and(|stat| !stat.has_ended()) {
            let orphans = by_run.entry(run.clone()).or_insert(Orphans {
                project,
                instance,
                run,
                pids: Vec::new(),
            });
            orphans.pids.push(pid);
        }
    });
    for group in FoundGroup::all() {
        let mut members = group.members();
        // It may have no process, or none with a mark.
        let orphans = by_run.entry(group.run.clone()).or_insert(Orphans {
            project: group.project,
            instance: group.instance,
            run: group.run,
            pids: Vec::new(),
        });
        members.retain(|pid| !orphans.pids.contains(pid));
        orphans.pids.extend(members);
    }
    // Looked at last: what was started meanwhile is somebody's.
    for holder in all_holders() {
        by_run.remove(&holder.run);
    }
    by_run.into_values().collect()
}

impl Orphans {
    /// Whether their control group is still there.
    pub fn is_group_left(&self) -> bool {
        Group::place(&self.instance, &self.run).is_some_and(|group| group.exists())
    }
}

/// How much of an environment is searched for the mark.
const ENVIRONMENT: usize = 256 * 1024;

impl Search {
    fn new(
        instance: &str,
        lease_path: &Path,
        mut groups: Vec<FoundGroup>,
        holders: &[Holder],
    ) -> Self {
        let living = holders.iter().map(|holder| holder.run.clone().into_bytes());
        let living: HashSet<Vec<u8>> = living.collect();
        groups.retain(|group| !living.contains(group.run.as_bytes()));
        let file_owner = fs_err::symlink_metadata(lease_path).map_or(0, |file| file.uid());
        let is_root = geteuid().is_root();
        Self {
            instance: instance.to_owned(),
            leases: lease::read(lease_path),
            follows_leases: true,
            mark: format!("STACK_INSTANCE={instance}").into_bytes(),
            above: ancestors(nix::unistd::getpid().as_raw()).collect(),
            groups,
            living,
            only_user: (is_root && file_owner != 0).then_some(file_owner),
            environment: vec![0; ENVIRONMENT],
        }
    }

    /// The living processes of the instance. Those that were `seen` once are followed to their end:
    /// without its parent, or with an environment of its own, one may not be found a second time.
    fn find(&mut self, seen: &HashMap<ProcessId, Duration>) -> Vec<ProcessId> {
        let tree = ProcessTree::read();
        let living = |pid| tree.get(pid).filter(|stat| !stat.has_ended());
        let leased: HashSet<i32> = self
            .leases
            .iter()
            .filter(|_| self.follows_leases)
            .filter(|lease| living(lease.pid).is_some_and(|stat| lease.names(stat.into())))
            .filter(|lease| self.may_be_ended(lease.pid))
            .map(|lease| lease.pid)
            .collect();
        let group: HashSet<i32> = self.groups.iter().flat_map(FoundGroup::members).collect();
        let mut roots = Vec::new();
        for stat in tree.all() {
            let is_known = leased.contains(&stat.pid)
                || group.contains(&stat.pid)
                || leased.contains(&stat.session)
                || seen.contains_key(&stat.into());
            if is_known || self.is_marked(stat.pid) {
                roots.push(stat.pid);
            }
        }
        roots.retain(|&pid| self.may_be_ended(pid));
        let found = tree.with_descendants(roots).into_iter();
        found
            .filter(|stat| !stat.has_ended() && self.may_be_ended(stat.pid))
            .map(|stat| ProcessId::from(&stat))
            .collect()
    }

    /// How a process of the instance is asked to end: as its unit is, which its lease, its session or the
    /// marks in its environment tell.
    fn manner(&self, process: ProcessId) -> Manner {
        let session = session_of(process.pid);
        let by_pid = |lease: &&lease::Lease| lease.pid == process.pid || session == Some(lease.pid);
        if let Some(lease) = self.leases.iter().find(by_pid) {
            return lease.manner;
        }
        let unit = unit_mark(process.pid, &self.instance).map(|(unit, _)| unit);
        let by_mark = |lease: &&lease::Lease| unit.as_ref() == Some(&lease.unit);
        let lease = self.leases.iter().find(by_mark);
        lease.map_or_else(Manner::default, |lease| lease.manner)
    }

    fn may_be_ended(&self, pid: i32) -> bool {
        let owner = || fs_err::metadata(format!("/proc/{pid}")).map(|process| process.uid());
        pid > 1
            && !self.above.contains(&pid)
            && is_in_our_pid_namespace(pid)
            && self
                .only_user
                .is_none_or(|user| owner().is_ok_and(|owner| owner == user))
    }

    fn is_marked(&mut self, pid: i32) -> bool {
        let length = read_file(pid, "environ", &mut self.environment).unwrap_or(0);
        let entries = || self.environment[..length].split(|&byte| byte == 0);
        let mut runs = entries().filter_map(|entry| entry.strip_prefix(b"STACK_RUN="));
        entries().any(|entry| entry == self.mark) && !runs.any(|run| self.living.contains(run))
    }

    /// Kills what is in the groups, unless this process was called by somebody in there.
    fn kill_groups(&self) {
        for group in &self.groups {
            let members = group.members();
            if members.iter().all(|pid| !self.above.contains(pid)) {
                group.kill();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::libc;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;
    use crate::support::name::ServiceName;

    #[test]
    fn thousands_of_leases_cost_one_look() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("leases");
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let started = ProcessId::of(pid).unwrap().start_time;
        let mut leases = lease::LeaseFile::create(&path).unwrap();
        for number in 1..=5000 {
            let service = ServiceName::new("it").unwrap();
            let unit = UnitId {
                service,
                replica: number,
            };
            let slot = leases.take(unit).unwrap();
            leases.write(
                slot,
                ProcessId {
                    pid,
                    start_time: started,
                },
                Manner::default(),
            );
        }
        let found = std::iter::repeat_with({
            let mut reaper = Reaper::new("nobody-0", &path, None).unwrap();
            move || {
                std::thread::sleep(PAUSE);
                reaper.step()
            }
        });
        let found = found.flatten().next().unwrap();
        assert_eq!((found.ended, found.remaining), (1, Vec::new()));
        // It was asked to end, since the first look was over before its grace period was.
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
    }
}
