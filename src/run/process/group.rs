//! The control group of a stack (cgroups(7), version 2), where this user may make one.
//!
//! Whoever is born in it stays in it, whatever becomes of its parents, its session and its
//! environment. So it names what two killed processes have left, and it kills all at once what starts
//! others faster than they can be looked at. There is one for each stack and not one for each service,
//! as a group costs as much to make and remove as a tenth of a process. It lies below the group of
//! whoever has called, so that no limit of that is escaped.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// What the name of a stack's group begins with; the instance's id follows.
const NAME: &str = "stack-";

/// A group that this user may use.
#[derive(Debug)]
pub struct Group {
    path: PathBuf,
    directory: File,
    kill: File,
}

impl Group {
    /// Where the group of an instance is, if it has one; made or not. `None` where this process's own
    /// is not known.
    pub(crate) fn place(instance: &str) -> Option<PathBuf> {
        static OWN: OnceLock<Option<PathBuf>> = OnceLock::new();
        let own = OWN.get_or_init(own).as_ref()?;
        Some(own.join(format!("{NAME}{instance}")))
    }

    /// The instances that have a group below that of this process, and who is in it; but for those whose
    /// processes are out of sight, in another pid namespace.
    pub(crate) fn all() -> Vec<(String, Vec<i32>)> {
        let groups = own().map(|own| below(&own)).unwrap_or_default();
        let groups = groups.into_iter().filter_map(|group| {
            let instance = group.file_name()?.to_str()?.strip_prefix(NAME)?.to_owned();
            let members = members(&group);
            let is_seen = !members.is_empty() || is_empty(&group);
            is_seen.then_some((instance, members))
        });
        groups.collect()
    }

    /// Makes the group of an instance, or takes the one that is there. `None` where this user may not,
    /// or the kernel cannot kill all of a group (Linux 5.14).
    pub fn make(instance: &str) -> Option<Self> {
        let path = Self::place(instance)?;
        match std::fs::create_dir(&path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return None,
            Ok(()) | Err(_) => {}
        }
        let open = || {
            let directory = File::open(&path)?;
            let kill = File::options().write(true).open(path.join("cgroup.kill"))?;
            io::Result::Ok((directory, kill))
        };
        let Ok((directory, kill)) = open() else {
            remove(&path);
            return None;
        };
        Some(Self {
            path,
            directory,
            kill,
        })
    }

    /// Kills everything in it. Allocates nothing.
    pub(crate) fn kill(&self) {
        // It is there as long as we have it, and only a kernel without memory refuses.
        let _ = (&self.kill).write_all(b"1");
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

/// The group of this process.
fn own() -> Option<PathBuf> {
    let text = fs_err::read_to_string("/proc/self/cgroup").ok()?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    // Alone, or beside the first version.
    let mut roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .map(Path::new)
        .into_iter();
    let root = roots.find(|root| root.join("cgroup.procs").exists())?;
    // One outside of what this process may see begins with `..`.
    (!own.starts_with("..")).then(|| root.join(own))
}

/// The processes in a group and those below it, which a service may have made.
pub(crate) fn members(group: &Path) -> Vec<i32> {
    let text = fs_err::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    // 0 is one in another pid namespace.
    let own = text
        .lines()
        .filter_map(|pid| pid.parse().ok())
        .filter(|&pid| pid > 0);
    own.chain(below(group).iter().flat_map(|group| members(group)))
        .collect()
}

/// Whether nothing is left in a group and those below it.
fn is_empty(group: &Path) -> bool {
    let events = fs_err::read_to_string(group.join("cgroup.events"));
    events.is_ok_and(|events| events.lines().any(|event| event == "populated 0"))
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
