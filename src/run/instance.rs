//! One running copy: where its files are, and the lock that keeps it the only one.
//!
//! An instance is a canonical project directory and a project name. A running stack is found from
//! these two, and by the directory itself where its files or its name are others by now
//! (`docs/design/supervision.md`); nothing depends on the caller's environment.

mod holder;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::libc;

pub use holder::{Holder, all_holders, holders_in};
use holder::{open_to_read, read_holder, start_of};

use super::belongings;
use super::lease::LeaseFile;
use super::presence;
use crate::plan::instance_id;
use crate::support::fs::{below, create_private_dir, name_file, open_private};
use crate::support::name::ProjectName;
use crate::support::proc::boot_id;

/// One running copy, or where one would run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The project's name.
    pub project: ProjectName,
    /// The canonical project directory.
    pub project_dir: PathBuf,
    /// The id, also `STACK_INSTANCE`.
    pub id: String,
    /// Where its files are: `.stack/<name>/`, or below the state directory when the project
    /// directory cannot be written.
    pub dir: PathBuf,
}

/// The lock of an instance, held as long as the file is open in any process.
#[derive(Debug)]
pub struct InstanceLock {
    file: File,
    path: PathBuf,
    /// Says so to those who look at the directory, should the file be removed.
    presence: Option<File>,
    /// Who runs other stacks in the same directory.
    pub others: Vec<Holder>,
}

/// The outcome of trying to lock.
#[derive(Debug)]
pub enum LockAttempt {
    /// Nobody else runs this instance.
    Acquired(InstanceLock),
    /// Somebody does; what the file says of it, if it can be read yet.
    Busy(Option<Holder>),
    /// Somebody does, whose files were removed or moved away.
    Hidden(Holder),
}

impl Instance {
    /// The instance of a project. `state_dir` is where its files go if the project directory
    /// cannot be written.
    pub fn new(project: ProjectName, project_dir: PathBuf, state_dir: &Path) -> Self {
        let id = instance_id(&project, &project_dir);
        let local = project_dir.join(".stack");
        let is_writable =
            |path: &Path| nix::unistd::access(path, nix::unistd::AccessFlags::W_OK).is_ok();
        let usable = if local.is_dir() {
            is_writable(&local)
        } else {
            is_writable(&project_dir)
        };
        let dir = if usable {
            local.join(project.as_str())
        } else {
            state_dir.join("instances").join(&id)
        };
        Self {
            project,
            project_dir,
            id,
            dir,
        }
    }

    /// The instance that somebody runs, wherever its directory is now. `None` if that cannot be told, as
    /// its processes have ended.
    pub fn of(holder: &Holder) -> Option<Self> {
        let project_dir = holder.project_dir()?;
        Some(Self {
            project: holder.project.clone(),
            dir: project_dir.join(&holder.dir),
            id: holder.instance.clone(),
            project_dir,
        })
    }

    /// What the lock file is to say while the guardian and supervisor with these pids run what is in
    /// `file`.
    pub fn holder_of(
        &self,
        (file, is_named): (&Path, bool),
        run: &str,
        socket: &Path,
        (guardian, supervisor): (i32, i32),
    ) -> Holder {
        Holder {
            project: self.project.clone(),
            file: below(file, &self.project_dir),
            is_named,
            dir: below(&self.dir, &self.project_dir),
            socket: socket.to_path_buf(),
            instance: self.id.clone(),
            run: run.to_owned(),
            guardian_pid: guardian,
            guardian_start: start_of(guardian),
            supervisor_pid: supervisor,
            supervisor_start: start_of(supervisor),
            boot_id: boot_id().to_owned(),
        }
    }

    /// The same instance for a process whose working directory is the project directory: what is
    /// below it goes on to be found when somebody renames it.
    #[must_use]
    pub fn from_within(&self) -> Self {
        Self {
            project_dir: PathBuf::from("."),
            dir: below(&self.dir, &self.project_dir),
            ..self.clone()
        }
    }

    /// Who runs this very stack although the lock at its path is free: its files were removed or
    /// moved away.
    pub fn hidden_holder(&self) -> Option<Holder> {
        let mut holders = holders_in(&self.project_dir).into_iter();
        holders.find(|holder| holder.project == self.project)
    }

    /// Who runs stacks of other names in the same directory.
    pub fn others(&self) -> Vec<Holder> {
        let mut holders = holders_in(&self.project_dir);
        holders.retain(|holder| holder.project != self.project);
        holders
    }

    /// Where the stack runs although its files were removed, has its supervisor put them back.
    /// Blocks for a moment. Returns who runs it if they do not come back.
    pub fn call_home(&self) -> Option<Holder> {
        if self.is_locked() {
            return None;
        }
        let holder = self.hidden_holder()?;
        let supervisor = holder.supervisor()?;
        let deadline = Instant::now() + HOME_LIMIT;
        holder.send(supervisor, libc::SIGURG);
        while !self.is_locked() {
            if Instant::now() >= deadline || !supervisor.is_alive() {
                return Some(holder);
            }
            std::thread::sleep(HOME_PAUSE);
        }
        None
    }

    /// Whether anybody, of whatever user, runs a stack in the directory.
    pub fn is_announced(&self) -> bool {
        presence::is_announced(&self.project_dir)
    }

    /// The user whose files are where this instance's would be, if that is another one: nobody but
    /// that user and root can tell what runs here. Root is never kept out.
    pub fn foreign_owner(&self) -> Option<u32> {
        let own = nix::unistd::geteuid();
        let local = self.project_dir.join(".stack");
        let there = [local.join(self.project.as_str()), local];
        let owner = there.iter().find_map(|path| path.symlink_metadata().ok())?;
        (!own.is_root() && owner.uid() != own.as_raw()).then(|| owner.uid())
    }

    /// Makes the directories, with a `.gitignore` of everything.
    pub fn create(&self) -> io::Result<()> {
        self.refuse_links()?;
        let local = self.project_dir.join(".stack");
        if self.dir.starts_with(&local) {
            create_private_dir(&local)?;
            let ignore = local.join(".gitignore");
            // One that is there stays as it is, a link too. An empty one is what a full disk has left.
            let there = ignore.symlink_metadata();
            if there.is_ok_and(|there| there.is_file() && there.len() == 0) {
                fs_err::remove_file(&ignore)?;
            }
            match fs_err::File::create_new(&ignore) {
                Ok(mut ignore) => ignore.write_all(b"*\n")?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        create_private_dir(&self.dir)?;
        create_private_dir(&self.log_dir())
    }

    /// Fails where one of the directories is a symbolic link: a repository that was cloned may
    /// bring one, and what is written here would go to a place that its author has chosen.
    fn refuse_links(&self) -> io::Result<()> {
        for path in [&self.project_dir.join(".stack"), &self.dir, &self.log_dir()] {
            if path.is_symlink() && path.starts_with(&self.project_dir) {
                return Err(io::Error::other(format!(
                    "`{}` is a symbolic link; remove it",
                    path.display()
                )));
            }
        }
        Ok(())
    }

    /// Removes what was made for services that have ended: configs, secrets, sockets. Only for the holder
    /// of the lock.
    pub fn clear_out(&self) {
        belongings::clear_out(&self.dir);
    }

    /// The log files.
    pub fn log_dir(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// The lock file.
    pub fn lock_path(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// Begins the lease file, so that what keeps it from being written is known before anything is
    /// started.
    pub fn begin_leases(&self) -> io::Result<LeaseFile> {
        LeaseFile::create(&self.lease_path())
    }

    /// The leases of what was started.
    pub fn lease_path(&self) -> PathBuf {
        self.dir.join("leases")
    }

    /// What the last supervisor left: its final snapshot.
    pub fn last_path(&self) -> PathBuf {
        self.dir.join("last.json")
    }

    /// What a supervisor in the background says of itself.
    pub fn supervisor_log_path(&self) -> PathBuf {
        self.dir.join("supervisor.log")
    }

    /// Tries to become the one that runs this instance.
    pub fn lock(&self) -> io::Result<LockAttempt> {
        self.refuse_links()?;
        let path = self.lock_path();
        let mut options = OpenOptions::new();
        let file = open_private(&path, options.read(true).write(true).create(true))?;
        match file.try_lock() {
            Ok(()) => {
                let mut lock = InstanceLock {
                    file,
                    path,
                    presence: None,
                    others: Vec::new(),
                };
                // What the last holder wrote must not be taken for a word of this one. The room is
                // taken now: a disk that is full later must not keep anybody from being found.
                lock.write(&[])?;
                lock.others = holders_in(&self.project_dir);
                let mut others = lock.others.iter();
                if let Some(holder) = others.find(|holder| holder.project == self.project) {
                    return Ok(LockAttempt::Hidden(holder.clone()));
                }
                lock.presence = presence::announce(&self.project_dir);
                Ok(LockAttempt::Acquired(lock))
            }
            Err(TryLockError::WouldBlock) => Ok(LockAttempt::Busy(read_holder(&path))),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Who runs this instance now. Only reads: no file is made.
    pub fn holder(&self) -> Option<Holder> {
        let file = open_to_read(&self.lock_path()).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => read_holder(&self.lock_path()),
            Ok(()) | Err(TryLockError::Error(_)) => None,
        }
    }

    /// Whether the lock is held by anybody, even if nothing can be read of it.
    pub fn is_locked(&self) -> bool {
        open_to_read(&self.lock_path())
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }
}

impl InstanceLock {
    /// Writes who holds the lock, over what was there.
    pub fn describe(&mut self, holder: &Holder) -> io::Result<()> {
        self.write(&serde_json::to_vec_pretty(holder)?)
    }

    /// Takes the lock of `instance` anew where the file was removed, for the same `holder`. The error
    /// is that somebody else has just made one and looks at it.
    pub(super) fn put_back(&mut self, instance: &Instance, holder: &Holder) -> io::Result<()> {
        if self.is_at(&instance.lock_path()) {
            return Ok(());
        }
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true);
        let file = open_private(&instance.lock_path(), options)?;
        file.try_lock()?;
        // The one that was removed stays the guardian's.
        self.file = file;
        self.path = instance.lock_path();
        self.describe(holder)
    }

    /// Whether the file that is locked is still the one of this name.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        let (there, own) = (path.symlink_metadata(), self.file.metadata());
        there.is_ok_and(|there| own.is_ok_and(|own| presence::is_same(&there, &own)))
    }

    /// Writes a text in place, with blanks behind it.
    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        let mut text = text.to_vec();
        text.resize(text.len().max(HOLDER_ROOM - 1), b' ');
        text.push(b'\n');
        self.file
            .write_all_at(&text, 0)
            .and_then(|()| self.file.set_len(text.len() as u64))
            .map_err(|error| name_file(&error, &self.path))
    }
}

/// How long the text of a holder is at least: more than it needs, as a rule.
const HOLDER_ROOM: usize = 2048;

/// How long a supervisor may take to put its files back.
const HOME_LIMIT: Duration = Duration::from_secs(2);

/// How often it is looked whether they are there.
const HOME_PAUSE: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;
    use crate::support::testing::alone;

    fn instance(directory: &Path) -> Instance {
        let project = ProjectName::new("shop").unwrap();
        Instance::new(project, directory.to_path_buf(), Path::new("/nonexistent"))
    }

    #[test]
    fn the_second_to_lock_learns_who_was_first() {
        alone(|| {
            let directory = tempfile::tempdir().unwrap();
            let instance = instance(directory.path());
            instance.create().unwrap();
            assert!(instance.holder().is_none());
            let LockAttempt::Acquired(mut lock) = instance.lock().unwrap() else {
                panic!("busy")
            };
            let file = directory.path().join("stack.yaml");
            let socket = instance.dir.join("control.sock");
            let origin = (file.as_path(), false);
            let holder = instance.holder_of(origin, "0011", &socket, (1, 2));
            assert_eq!(holder.file, Path::new("./stack.yaml"));
            lock.describe(&holder).unwrap();
            let LockAttempt::Busy(seen) = instance.lock().unwrap() else {
                panic!("two locks")
            };
            assert_eq!(seen, Some(holder));
            drop(lock);
            assert!(!instance.is_locked());
        });
    }

    #[test]
    fn no_signal_goes_to_a_process_that_does_not_hold_the_lock() {
        alone(|| {
            let directory = tempfile::tempdir().unwrap();
            let instance = instance(directory.path());
            instance.create().unwrap();
            let LockAttempt::Acquired(mut lock) = instance.lock().unwrap() else {
                panic!("busy")
            };
            let mut other = std::process::Command::new("sleep")
                .arg("60")
                .spawn()
                .unwrap();
            let pid = i32::try_from(other.id()).unwrap();
            let file = directory.path().join("stack.yaml");
            let socket = instance.dir.join("control.sock");
            let named = instance.holder_of((&file, false), "0011", &socket, (pid, pid));
            lock.describe(&named).unwrap();
            named.ask_to_stop();
            // The signal that comes first is the one that ends it.
            other.kill().unwrap();
            assert_eq!(other.wait().unwrap().signal(), Some(libc::SIGKILL));
        });
    }
}
