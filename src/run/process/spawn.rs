//! The one path by which a process of a stack is started.
//!
//! Works like `posix_spawn` in glibc: `clone(CLONE_VM | CLONE_VFORK)` on a stack of its own, so
//! that no page table is copied and the parent goes on when the child has executed or failed. That
//! makes "started" mean "exec succeeded" without a pipe. `posix_spawn` itself cannot open a
//! session, change limits, or write the lease between fork and exec, all of which we need.
//!
//! Between `clone` and `exec` the child shares our memory; what it does there is in `child.rs`.

mod child;
mod rights;
mod slots;

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;

use super::group::Group;
use child::{ChildPlan, changed_signals, clone_and_exec};
pub(crate) use rights::{Identity, Rights, hard_limit};
use slots::Slots;

/// What is executed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    /// The file, found already.
    pub(crate) program: &'a Path,
    /// The words, the program's own name first.
    pub(crate) argv: &'a [String],
    /// The whole environment.
    pub(crate) environment: &'a [(&'a OsStr, &'a OsStr)],
    /// Where it starts.
    pub(crate) directory: &'a Path,
    /// Whose it is, and what it may take.
    pub(crate) rights: &'a Rights,
}

/// What the child's descriptors become.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stdio<'a> {
    /// Standard input; nothing is `/dev/null`.
    pub(crate) stdin: Option<BorrowedFd<'a>>,
    /// Whether that is a terminal, which becomes the controlling one of its session.
    pub(crate) has_terminal: bool,
    /// Standard output.
    pub(crate) stdout: BorrowedFd<'a>,
    /// Standard error.
    pub(crate) stderr: BorrowedFd<'a>,
    /// Sockets that it takes over, with their names: descriptors 3, 4 and so on, announced as
    /// `sd_listen_fds(3)` wants it.
    pub(crate) passed: &'a [(BorrowedFd<'a>, &'a str)],
}

impl<'a> Stdio<'a> {
    /// What only prints.
    pub(crate) fn output(stdout: BorrowedFd<'a>, stderr: BorrowedFd<'a>) -> Self {
        Self {
            stdin: None,
            has_terminal: false,
            stdout,
            stderr,
            passed: &[],
        }
    }
}

/// The step at which a child failed before its program ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpawnStep {
    /// `clone` itself.
    Clone,
    /// Its session or descriptors.
    Prepare,
    /// Its limits.
    Limits,
    /// Its nice value.
    Nice,
    /// Its `oom_score_adj`.
    OomScoreAdj,
    /// Its user and groups.
    User,
    /// Its working directory.
    Directory,
    /// `exec`.
    Exec,
}

/// Why no process came to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{errno}")]
pub(crate) struct SpawnError {
    /// Where it failed.
    pub(crate) step: SpawnStep,
    /// The kernel's word.
    pub(crate) errno: Errno,
}

impl SpawnError {
    /// Whether trying again may help: the machine is short of something, or the file is being
    /// written. A missing or unusable file stays so.
    pub(crate) fn is_temporary(&self) -> bool {
        matches!(
            self.errno,
            Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE | Errno::ETXTBSY
        )
    }
}

/// Starts processes; keeps what every start needs.
#[derive(Debug)]
pub(crate) struct Spawner {
    null: OwnedFd,
    slots: Slots,
    /// The stack on which the child runs until exec; reused, since the parent waits meanwhile.
    stack: Box<[u8]>,
    /// The soft and hard limit of open files as our caller had them.
    file_limit: (u64, u64),
    /// The signals whose disposition is not the default here.
    changed_signals: Vec<i32>,
    /// In which group processes are born, if not in ours.
    group: Option<Group>,
}

/// glibc's own `posix_spawn` uses 32 KiB and more for deep `PATH`s; the child below needs a
/// fraction of this.
const CHILD_STACK: usize = 16 * 1024;

/// A line of the lease file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeaseLine<'a> {
    /// The file, open for writing.
    pub(crate) file: BorrowedFd<'a>,
    /// Where the line begins.
    pub(crate) offset: i64,
    /// Its text; the child writes its pid, right-aligned, into the first [`PID_ROOM`] bytes.
    pub(crate) text: &'a [u8],
}

/// What `LISTEN_PID` begins with in an environment.
const LISTEN_PID: &[u8] = b"LISTEN_PID=";

/// Digits of the largest pid.
const PID_ROOM: usize = 10;

/// The longest line; the child copies it to its own stack.
const LEASE_MAX: usize = 256;

impl Spawner {
    /// Prepares for starting processes. `file_limit` is what children get back. Call
    /// [`Self::note_signals`] once the signal handlers stand.
    pub(crate) fn new(file_limit: (u64, u64), group: Option<Group>) -> std::io::Result<Self> {
        let null = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")?
            .into();
        Ok(Self {
            slots: Slots::new(&null)?,
            null,
            stack: vec![0; CHILD_STACK].into_boxed_slice(),
            file_limit,
            changed_signals: Vec::new(),
            group,
        })
    }

    /// In which group processes are born, if not in ours.
    pub(crate) fn group(&self) -> Option<&Group> {
        self.group.as_ref()
    }

    /// Notes which signals are ignored or handled here, and must be set back in a child.
    pub(crate) fn note_signals(&mut self) {
        self.changed_signals = changed_signals();
    }

    /// Starts a process in a session of its own, with nothing blocked, nothing ignored, and no
    /// descriptor but 0, 1, 2 and what is passed. Returns when it has executed its program.
    pub(crate) fn spawn(
        &mut self,
        target: &Target<'_>,
        stdio: Stdio<'_>,
        lease: Option<LeaseLine<'_>>,
    ) -> Result<i32, SpawnError> {
        let failed = |errno| SpawnError {
            step: SpawnStep::Exec,
            errno,
        };
        let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| failed(Errno::EINVAL));
        let program = text(target.program.as_os_str().as_bytes())?;
        let directory = text(target.directory.as_os_str().as_bytes())?;
        let argv: Vec<CString> = target
            .argv
            .iter()
            .map(|word| text(word.as_bytes()))
            .collect::<Result<_, _>>()?;
        let mut environment: Vec<CString> = target
            .environment
            .iter()
            // What is said of sockets is meant for one process: this one or none.
            .filter(|(key, _)| {
                !matches!(
                    key.as_bytes(),
                    b"LISTEN_FDS" | b"LISTEN_FDNAMES" | b"LISTEN_PID"
                )
            })
            .map(|(key, value)| text(&[key.as_bytes(), b"=", value.as_bytes()].concat()))
            .collect::<Result<_, _>>()?;
        let mut listen_pid = LISTEN_PID.to_vec();
        listen_pid.resize(LISTEN_PID.len() + PID_ROOM + 1, 0);
        let passes = !stdio.passed.is_empty();
        if passes {
            let names: Vec<&str> = stdio.passed.iter().map(|&(_, name)| name).collect();
            environment.push(text(format!("LISTEN_FDS={}", names.len()).as_bytes())?);
            environment.push(text(
                format!("LISTEN_FDNAMES={}", names.join(":")).as_bytes(),
            )?);
        }
        let pointers = |items: &[CString]| -> Vec<*const libc::c_char> {
            items
                .iter()
                .map(|item| item.as_ptr())
                .chain([std::ptr::null()])
                .collect()
        };
        let (argv_pointers, mut environment_pointers) = (pointers(&argv), pointers(&environment));
        // One pointer for both: what the child writes is what it executes with.
        let listen_pid = listen_pid.as_mut_ptr();
        if passes {
            environment_pointers.insert(0, listen_pid.cast_const().cast());
        }
        let stdin = stdio.stdin.unwrap_or(self.null.as_fd());
        let mut given = vec![stdin, stdio.stdout, stdio.stderr];
        given.extend(stdio.passed.iter().map(|(socket, _)| *socket));
        let (mut descriptors, shared_from) = match self.slots.fill(&given) {
            Some((numbers, above)) => (numbers, Some(above)),
            None => (given.iter().map(AsRawFd::as_raw_fd).collect(), None),
        };
        let plan = ChildPlan {
            program: &program,
            argv: &argv_pointers,
            environment: &environment_pointers,
            directory: &directory,
            descriptors: &raw mut descriptors[..],
            shared_from,
            has_terminal: stdio.has_terminal,
            listen_pid: passes.then(|| listen_pid.wrapping_add(LISTEN_PID.len())),
            file_limit: self.file_limit,
            changed_signals: &self.changed_signals,
            rights: target.rights,
            lease: lease.filter(|line| line.text.len() <= LEASE_MAX),
        };
        let group = self.group.as_ref().map(AsFd::as_fd);
        let cloned = match clone_and_exec(&plan, &mut self.stack, group) {
            // A filter of system calls may not know the call, the group may have been removed.
            Err(error)
                if error.step == SpawnStep::Clone
                    && !error.is_temporary()
                    && self.group.take().is_some() =>
            {
                tracing::warn!(%error, "no process can be started in the control group");
                clone_and_exec(&plan, &mut self.stack, None)
            }
            cloned => cloned,
        };
        self.slots.empty(&self.null);
        cloned
    }
}

#[cfg(test)]
mod tests;
