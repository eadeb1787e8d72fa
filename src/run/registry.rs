//! The registry: which runs of this user's stacks have begun and not ended in good order, wherever.
//!
//! What is left of a killed stack is found by its files, and by its control group. Where there is no
//! group, and the files were removed, the directory was made anew, or the stack has another name by now,
//! this still leads to it. In `runs`, in the user's state directory, each run has a symbolic link, as
//! that is made by one system call and never there in part. Its name says instance, run, pid namespace
//! and boot, it leads to `<project directory>/./<file>`, and nobody follows it.
//!
//! One of another namespace or boot is for somebody there: a container, or another machine that shares
//! the home directory. It goes once that somebody is known to be gone, or has not been heard of for a
//! year; a run that goes on is heard of every day.

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::geteuid;

use super::instance::{Holder, Instance, all_holders};
use super::process::{living_namespaces, pid_namespace, run_of};
use crate::support::clock::unix_millis;
use crate::support::fs::create_private_dir;
use crate::support::name::ProjectName;
use crate::support::proc::boot_id;

/// For how long one is kept of which nothing can be known.
const KEPT: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The registry of one state directory. Cheap to make; nothing is opened before it is used.
#[derive(Debug, Clone)]
pub struct Registry {
    state_dir: PathBuf,
}

/// A run that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The instance, as its directory was called at the start.
    pub instance: Instance,
    /// The random id of its supervisor.
    pub run: String,
    /// Whose word this is.
    pub(crate) owner: u32,
    /// The file that it was started from, below the project directory. None where another one would be
    /// another stack: it lies elsewhere, or the caller gave the stack its name.
    file: Option<PathBuf>,
    /// Where its processes are.
    scope: Scope,
    link: PathBuf,
}

/// Where a pid means one process.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Scope {
    /// The inode of the pid namespace.
    namespace: u64,
    /// The beginning of the boot's random id, which is enough to tell one from another.
    boot: String,
}

impl Scope {
    fn here() -> Self {
        Self {
            namespace: pid_namespace(),
            boot: boot_id().chars().take(8).collect(),
        }
    }
}

/// A run that is found by this alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stray {
    /// Guardian and supervisor have both gone, and have not said so.
    Killed(Registration),
    /// It goes on in a directory that was removed.
    Homeless(Holder),
}

impl Registry {
    /// The one in a user's state directory.
    pub fn at(state_dir: impl Into<PathBuf>) -> Self {
        let state_dir = state_dir.into();
        Self { state_dir }
    }

    fn directory(&self) -> PathBuf {
        self.state_dir.join("runs")
    }

    fn link(&self, holder: &Holder) -> PathBuf {
        let Holder { instance, run, .. } = holder;
        let Scope { namespace, boot } = Scope::here();
        let name = format!("{instance}-{run}.{namespace}.{boot}");
        self.directory().join(name)
    }

    /// Notes that a run begins in `project_dir`. Never worth a failure: without it the run has its files.
    pub(super) fn enter(&self, holder: &Holder, project_dir: &Path) {
        let target = match holder.file.strip_prefix(".") {
            Ok(file) if !holder.is_named => project_dir.join(".").join(file),
            _ => project_dir.to_path_buf(),
        };
        let link = self.link(holder);
        if let Err(error) = symlink(&target, &link)
            && error.kind() == io::ErrorKind::NotFound
            && create_private_dir(&self.directory()).is_ok()
        {
            drop(symlink(&target, &link));
        }
    }

    /// Notes that a run goes on.
    pub(super) fn renew(&self, holder: &Holder, project_dir: &Path) {
        let (now, flags) = (TimeSpec::UTIME_NOW, UtimensatFlags::NoFollowSymlink);
        if utimensat(AT_FDCWD, &self.link(holder), &now, &now, flags).is_err() {
            self.enter(holder, project_dir);
        }
    }

    /// Notes that nothing of a run is left.
    pub(super) fn leave(&self, holder: &Holder) {
        // One too many costs the next start a search and nothing else.
        drop(fs::remove_file(self.link(holder)));
    }

    /// Our own runs of other namespaces and boots.
    pub(super) fn elsewhere(&self) -> Vec<Registration> {
        let (here, own) = (Scope::here(), geteuid().as_raw());
        let mut all = self.all();
        all.retain(|known| known.scope != here && known.owner == own);
        all
    }

    /// Removes those of them of which nothing can be left.
    pub(super) fn sweep(&self) {
        self.sweep_with(living_namespaces, Duration::from_millis(unix_millis()));
    }

    fn sweep_with(&self, living: impl FnOnce() -> Option<HashSet<u64>>, now: Duration) {
        let here = Scope::here();
        // Whoever has made one of these is seen by the look that follows.
        let elsewhere = self.elsewhere();
        let living = living();
        for known in elsewhere {
            let is_gone = living.as_ref().is_some_and(|living| {
                known.scope.boot == here.boot && !living.contains(&known.scope.namespace)
            });
            let renewed = known.link.symlink_metadata().map(|link| link.mtime());
            let renewed = renewed.ok().and_then(|seconds| seconds.try_into().ok());
            let age = renewed.and_then(|seconds| now.checked_sub(Duration::from_secs(seconds)));
            if is_gone || age.is_some_and(|age| age > KEPT) {
                drop(fs::remove_file(&known.link));
            }
        }
    }

    /// All of them.
    pub fn all(&self) -> Vec<Registration> {
        self.read(|_| true)
    }

    /// Those of the stack that is meant by an instance, and by a `file` where the caller has not named it:
    /// such a stack is the same under another name.
    pub fn of(&self, instance: &Instance, file: Option<&Path>) -> Vec<Registration> {
        let (_, directory) = instance.id.rsplit_once('-').unwrap_or_default();
        let mut found = self.read(|known| known.ends_with(directory));
        found.retain(|it| {
            it.instance.project_dir == instance.project_dir
                && (it.instance.id == instance.id || file.is_some() && it.file.as_deref() == file)
        });
        found
    }

    fn read(&self, is_meant: impl Fn(&str) -> bool) -> Vec<Registration> {
        let entries = std::fs::read_dir(self.directory());
        let entries = entries.into_iter().flatten().flatten();
        let read = entries.filter_map(|entry| {
            let name = entry.file_name();
            let (name, scope) = name.to_str()?.split_once('.')?;
            let (project, instance, run) = run_of(name)?;
            is_meant(instance).then_some(())?;
            let (namespace, boot) = scope.split_once('.')?;
            let scope = Scope {
                namespace: namespace.parse().ok()?,
                boot: boot.to_owned(),
            };
            self.registration(project, run, scope, entry.path())
        });
        read.collect()
    }

    fn registration(
        &self,
        project: ProjectName,
        run: &str,
        scope: Scope,
        link: PathBuf,
    ) -> Option<Registration> {
        let target = std::fs::read_link(&link).ok()?;
        let target = target.to_str()?;
        let (project_dir, file) = match target.split_once("/./") {
            Some((project_dir, file)) => (project_dir, Some(Path::new(".").join(file))),
            None => (target, None),
        };
        Some(Registration {
            instance: Instance::new(project, project_dir.into(), &self.state_dir),
            run: run.to_owned(),
            owner: link.symlink_metadata().ok()?.uid(),
            file,
            scope,
            link,
        })
    }
}

impl Registration {
    /// Forgets it: nothing of the run is left. Nor shall its leases say that there is.
    pub fn forget(&self) {
        if !self.instance.is_locked() {
            drop(fs::remove_file(self.instance.lease_path()));
        }
        drop(fs::remove_file(&self.link));
    }
}

/// What has become of runs that have begun. One that goes on in its directory, wherever that is now, is
/// no stray, and one of another pid namespace or boot is for somebody there.
pub fn strays(registrations: Vec<Registration>) -> Vec<Stray> {
    if registrations.is_empty() {
        return Vec::new();
    }
    let (holders, here) = (all_holders(), Scope::here());
    let stray = |known: Registration| {
        if let Some(holder) = holders.iter().find(|it| it.run == known.run) {
            let homeless = holder.is_homeless().then(|| holder.clone());
            return homeless.map(Stray::Homeless);
        }
        // It may have ended in good order meanwhile.
        let is_killed = known.scope == here && known.link.is_symlink();
        is_killed.then_some(Stray::Killed(known))
    };
    registrations.into_iter().filter_map(stray).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::instance_id;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn holder(project: &str, place: &Path, (file, is_named): (&str, bool), run: &str) -> Holder {
        let project = ProjectName::new(project).unwrap();
        let instance = Instance::new(project, place.to_path_buf(), Path::new("/nonexistent"));
        let origin = (Path::new(file), is_named);
        instance.holder_of(origin, run, Path::new("control.sock"), (0, 0))
    }

    #[test]
    fn a_stack_is_the_same_by_its_name_or_by_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let state_dir = directory.path().join("state");
        let place = directory.path().join("a shop");
        let registry = Registry::at(&state_dir);
        let file = place.join("stack.yaml");
        let file = file.to_str().unwrap();
        let runs = [
            ("shop", (file, false), "0000000000000001"),
            ("old", (file, false), "0000000000000002"),
            ("given", (file, true), "0000000000000003"),
            (
                "other",
                ("/elsewhere/stack.yaml", false),
                "0000000000000004",
            ),
        ];
        for (project, origin, run) in runs {
            registry.enter(&holder(project, &place, origin, run), &place);
        }
        let elsewhere = directory.path().join("else");
        registry.enter(
            &holder("shop", &elsewhere, (file, false), "0000000000000005"),
            &elsewhere,
        );
        assert_eq!(registry.all().len(), 5);

        let project = ProjectName::new("shop").unwrap();
        let instance = Instance::new(project.clone(), place.clone(), &state_dir);
        let found = |file: Option<&str>| {
            let found = registry.of(&instance, file.map(Path::new));
            let mut runs: Vec<String> = found.into_iter().map(|it| it.run).collect();
            runs.sort_unstable();
            runs.concat().replace('0', "")
        };
        assert_eq!(found(None), "1");
        assert_eq!(found(Some("./stack.yaml")), "12");
        assert_eq!(found(Some("/elsewhere/stack.yaml")), "1");

        let known = registry.of(&instance, None).remove(0);
        assert_eq!(known.instance.id, instance_id(&project, &place));
        assert_eq!(strays(registry.all()).len(), 5);
        registry.leave(&holder("shop", &place, (file, false), "0000000000000001"));
        assert_eq!(found(None), "");
        for stray in strays(registry.all()) {
            assert!(matches!(stray, Stray::Killed(it) if { it.forget(); true }));
        }
        assert_eq!(registry.all(), []);
    }
    #[test]
    fn a_run_elsewhere_is_forgotten_once_nothing_of_it_can_be_left() {
        let directory = tempfile::tempdir().unwrap();
        let registry = Registry::at(directory.path());
        fs::create_dir(registry.directory()).unwrap();
        let Scope { namespace, boot } = Scope::here();
        let make = |number: u64, scope: &str| {
            let name = format!("shop-0123456789abcdef-{number:016x}.{scope}");
            symlink("/a/shop", registry.directory().join(name)).unwrap();
        };
        let (dead, alive) = (4711, 4712);
        make(1, &format!("{namespace}.{boot}"));
        make(2, &format!("{alive}.{boot}"));
        make(3, &format!("{dead}.{boot}"));
        make(4, &format!("{dead}.01234567"));
        make(5, &format!("{namespace}.01234567"));
        let kept = || {
            let all = registry.all().into_iter();
            let mut runs: Vec<String> = all.map(|it| it.run.replace('0', "")).collect();
            runs.sort_unstable();
            runs.concat()
        };
        let strays = strays(registry.all());
        assert_eq!(strays.len(), 1, "{strays:?}");
        let (now, unknown) = (Duration::from_millis(unix_millis()), || None);
        let seen = || Some(HashSet::from([namespace, alive]));
        registry.sweep_with(unknown, now);
        assert_eq!(kept(), "12345");
        registry.sweep_with(seen, now);
        assert_eq!(kept(), "1245");
        registry.sweep_with(seen, now + KEPT.saturating_sub(DAY));
        assert_eq!(kept(), "1245");
        // What may be looked for here is never too old.
        registry.sweep_with(seen, now + KEPT + DAY);
        assert_eq!(kept(), "1");
    }

    #[test]
    fn a_run_that_goes_on_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let registry = Registry::at(directory.path());
        let place = directory.path().join("shop");
        let holder = holder("shop", &place, ("stack.yaml", false), "0000000000000001");
        let modified = |link: &Path| link.symlink_metadata().unwrap().modified().unwrap();
        // Also after somebody has removed everything.
        registry.renew(&holder, &place);
        let link = registry.all().remove(0).link;
        let (then, flags) = (TimeSpec::new(1_000, 0), UtimensatFlags::NoFollowSymlink);
        utimensat(AT_FDCWD, &link, &then, &then, flags).unwrap();
        let old = modified(&link);
        registry.renew(&holder, &place);
        assert!(modified(&link) > old + KEPT);
        assert_eq!(registry.all().len(), 1);
    }

    #[test]
    fn the_namespaces_that_live_are_known_where_everybody_is_seen() {
        let living = living_namespaces();
        assert!(living.is_none_or(|living| living.contains(&pid_namespace())));
    }
}
