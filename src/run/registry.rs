//! The registry: which runs of this user's stacks have begun and not ended in good order, wherever.
//!
//! What is left of a killed stack is found by its files, and by its control group. Where there is no
//! group, and the files were removed, the directory was made anew, or the stack has another name by now,
//! this still leads to it. In `runs`, in the user's state directory, each run has a symbolic link, as
//! that is made by one system call and never there in part. Its name says instance, run and pid
//! namespace, it leads to `<project directory>/./<file>`, and nobody follows it.

use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::instance::{Holder, Instance, all_holders};
use super::process::{pid_namespace, run_of};
use crate::support::fs::create_private_dir;
use crate::support::name::ProjectName;

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
    /// In which pid namespace its processes are.
    namespace: u64,
    link: PathBuf,
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
        let name = format!("{instance}-{run}.{}", pid_namespace());
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

    /// Notes that nothing of a run is left.
    pub(super) fn leave(&self, holder: &Holder) {
        // One too many costs the next start a search and nothing else.
        drop(fs::remove_file(self.link(holder)));
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
            let (name, namespace) = name.to_str()?.split_once('.')?;
            let (project, instance, run) = run_of(name)?;
            is_meant(instance).then_some(())?;
            self.registration(project, run, namespace.parse().ok()?, entry.path())
        });
        read.collect()
    }

    fn registration(
        &self,
        project: ProjectName,
        run: &str,
        namespace: u64,
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
            namespace,
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
/// no stray, and one of another pid namespace is for somebody there.
pub fn strays(registrations: Vec<Registration>) -> Vec<Stray> {
    if registrations.is_empty() {
        return Vec::new();
    }
    let (holders, here) = (all_holders(), pid_namespace());
    let stray = |known: Registration| {
        if let Some(holder) = holders.iter().find(|it| it.run == known.run) {
            let homeless = holder.is_homeless().then(|| holder.clone());
            return homeless.map(Stray::Homeless);
        }
        // It may have ended in good order meanwhile.
        let is_killed = known.namespace == here && known.link.is_symlink();
        is_killed.then_some(Stray::Killed(known))
    };
    registrations.into_iter().filter_map(stray).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::instance_id;

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
}
