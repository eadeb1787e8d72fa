//! The control group of a run (cgroups(7), version 2), where this user may make one.
//!
//! Whoever is born in it stays in it, whatever becomes of its parents, its session and its
//! environment. So it names what two killed processes have left, and what is in it can be killed all at
//! once. It is named by the instance and the run, so that no two supervisors ever share one. There is
//! one for a whole run and not one for each service, as a group costs as much to make and remove as a
//! tenth of a process. It lies below the group of whoever has called, so that no limit of that is
//! escaped.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::unistd::geteuid;

use super::facts::is_in_our_pid_namespace;
use crate::run::snapshot::Usage;
use crate::support::name::ProjectName;

/// What the name of a group begins with; the instance's id and the run's follow.
const NAME: &str = "stack-";

/// A group that this user may use, open.
#[derive(Debug)]
pub(crate) struct Group {
    path: PathBuf,
    directory: File,
    kill: File,
}

impl Group {
    /// Where the group of a run is, if it has one; made or not. `None` where this process's own is not
    /// known.
    pub(crate) fn place(instance: &str, run: &str) -> Option<PathBuf> {
        Some(base(instance)?.join(format!("{NAME}{instance}-{run}")))
    }

    /// Makes the group of a run. `None` where this user may not, where the kernel cannot kill all of a
    /// group (Linux 5.14), and on processors for which nobody has written how a process is born in one.
    pub(crate) fn make(instance: &str, run: &str) -> Option<Self> {
        let path = Self::place(instance, run)?;
        let is_ours = cfg!(target_arch = "x86_64") && path.parent().is_some_and(has_us);
        (is_ours && std::fs::create_dir(&path).is_ok()).then_some(())?;
        let group = Self::open(&path);
        if group.is_none() {
            remove(&path);
        }
        group
    }

    /// The one at a path, if there is one.
    pub(crate) fn open(path: &Path) -> Option<Self> {
        let kill = File::options().write(true).open(path.join("cgroup.kill"));
        Some(Self {
            path: path.to_path_buf(),
            directory: File::open(path).ok()?,
            kill: kill.ok()?,
        })
    }

    /// Kills everything in it. Allocates nothing.
    pub(crate) fn kill(&self) {
        // It is there as long as we have it, and only a kernel without memory refuses.
        let _ = (&self.kill).write_all(b"1");
    }

    /// What those in it have used.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let read = |file: &str| fs_err::read_to_string(self.path.join(file)).ok();
        let stat = read("cpu.stat")?;
        let micros = stat.lines().find_map(|it| it.strip_prefix("usage_usec "))?;
        let memory = read("memory.current").and_then(|text| text.trim().parse().ok());
        Some(Usage {
            cpu_micros: micros.parse().ok()?,
            memory_bytes: memory,
        })
    }

    /// Removes it, if nothing is left in it.
    pub(crate) fn remove(&self) {
        remove(&self.path);
    }
}

impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// A group that was found by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundGroup {
    /// The project's name.
    pub(crate) project: String,
    /// The instance's id.
    pub(crate) instance: String,
    /// The random id of the run.
    pub(crate) run: String,
    path: PathBuf,
}

impl FoundGroup {
    /// The groups of runs below that of this process, of this user and in this pid namespace.
    pub(crate) fn all() -> Vec<Self> {
        let groups = own().map(below).unwrap_or_default().into_iter();
        let groups = groups.filter_map(|path| Self::at(&path));
        groups.filter(Self::is_seen).collect()
    }

    /// Those of one instance.
    pub(crate) fn of(instance: &str) -> Vec<Self> {
        let groups = base(instance).map(|base| below(&base)).unwrap_or_default();
        let own = groups.iter().filter_map(Self::at);
        own.filter(|group| group.instance == instance && group.is_seen())
            .collect()
    }

    fn at(path: &PathBuf) -> Option<Self> {
        let name = path.file_name()?.to_str()?.strip_prefix(NAME)?;
        let (project, instance, run) = run_of(name)?;
        let owner = fs_err::symlink_metadata(path).ok()?.uid();
        (owner == geteuid().as_raw()).then(|| Self {
            project: project.to_string(),
            instance: instance.to_owned(),
            run: run.to_owned(),
            path: path.clone(),
        })
    }

    /// Whether anybody who is in it is one of this pid namespace, or nobody is.
    fn is_seen(&self) -> bool {
        self.is_empty() || !self.members().is_empty()
    }

    /// Who is in it, or in one below it that a service has made.
    pub(crate) fn members(&self) -> Vec<i32> {
        members(&self.path)
    }

    /// Whether nobody is.
    pub(crate) fn is_empty(&self) -> bool {
        let events = fs_err::read_to_string(self.path.join("cgroup.events"));
        events.map_or(true, |events| events.lines().any(|it| it == "populated 0"))
    }

    /// Kills everything in it.
    pub(crate) fn kill(&self) {
        Group::open(&self.path).inspect(Group::kill);
    }

    /// Removes it, if nothing is left in it.
    pub(crate) fn remove(&self) {
        remove(&self.path);
    }
}

/// The project, the instance and the run that `<instance>-<run>` names.
pub(crate) fn run_of(name: &str) -> Option<(ProjectName, &str, &str)> {
    let (instance, run) = name.rsplit_once('-')?;
    let (project, hash) = instance.rsplit_once('-')?;
    let is_number = |text: &str| text.len() == 16 && u64::from_str_radix(text, 16).is_ok();
    let project = ProjectName::new(project).ok()?;
    (is_number(run) && is_number(hash)).then_some((project, instance, run))
}

/// The group of this process.
fn own() -> Option<&'static Path> {
    static OWN: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find = || {
        let text = fs_err::read_to_string("/proc/self/cgroup").ok()?;
        let own = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
        // Alone, or beside the first version.
        let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
        let mut roots = roots.into_iter();
        let root = roots.find(|root| root.join("cgroup.procs").exists())?;
        // One outside of what this process may see begins with `..`.
        (!own.starts_with("..")).then(|| root.join(own))
    };
    OWN.get_or_init(find).as_deref()
}

/// Where the groups of an instance are: below the group of this process, or of whoever has called,
/// where this process is one of that instance itself.
fn base(instance: &str) -> Option<PathBuf> {
    let own = own()?;
    let prefix = format!("{NAME}{instance}-");
    let is_group = |path: &&Path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(&prefix))
    };
    let base = own.ancestors().filter(is_group).last();
    Some(base.and_then(Path::parent).unwrap_or(own).to_path_buf())
}

/// Whether this process is in a group. A mount of another namespace has others by the same names.
fn has_us(group: &Path) -> bool {
    let text = fs_err::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let own = std::process::id().to_string();
    text.lines().any(|pid| pid == own)
}

fn members(group: &Path) -> Vec<i32> {
    let text = fs_err::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let own = text.lines().filter_map(|pid| pid.parse().ok());
    // 0 is one whose pid namespace cannot be seen from here.
    let own = own.filter(|&pid| pid > 0 && is_in_our_pid_namespace(pid));
    own.chain(below(group).iter().flat_map(|group| members(group)))
        .collect()
}

/// Removes a group with those below it, if nothing is left in them.
pub(crate) fn remove(group: &Path) {
    for group in below(group) {
        remove(&group);
    }
    // Where something is left in it somebody else will.
    let _ = std::fs::remove_dir(group);
}

fn below(group: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(group).into_iter().flatten().flatten();
    let groups = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    groups.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_group_has_used_is_told_as_far_as_it_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            fs_err::write(directory.path().join(file), text).unwrap();
        };
        write("cgroup.kill", "");
        let group = Group::open(directory.path()).unwrap();
        assert_eq!(group.usage(), None);
        write("cpu.stat", "usage_usec 1234\nuser_usec 1000\n");
        let used = |memory_bytes| Usage {
            cpu_micros: 1234,
            memory_bytes,
        };
        assert_eq!(group.usage(), Some(used(None)));
        write("memory.current", "4096\n");
        assert_eq!(group.usage(), Some(used(Some(4096))));
    }

    #[test]
    fn only_a_whole_name_is_that_of_a_group() {
        let directory = tempfile::tempdir().unwrap();
        let found = |name: &str| {
            let path = directory.path().join(name);
            std::fs::create_dir(&path).unwrap();
            let group = FoundGroup::at(&path)?;
            Some((group.project, group.instance, group.run))
        };
        let (hash, run) = ("0123456789abcdef", "fedcba9876543210");
        let instance = format!("my-shop-{hash}");
        assert_eq!(
            found(&format!("stack-{instance}-{run}")),
            Some(("my-shop".to_owned(), instance.clone(), run.to_owned()))
        );
        for name in [
            format!("stack-{instance}"),
            format!("stack-{instance}-{}", &run[1..]),
            format!("stack-shop-{}g-{run}", &hash[1..]),
            format!("stack-{hash}-{run}"),
            format!("stack-Shop-{hash}-{run}"),
            format!("other-{instance}-{run}"),
        ] {
            assert_eq!(found(&name), None, "{name}");
        }
    }
}
