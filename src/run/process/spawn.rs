//! The one path by which a process of a stack is started.
//!
//! Works like `posix_spawn` in glibc: `clone(CLONE_VM | CLONE_VFORK)` on a stack of its own, so
//! that no page table is copied and the parent goes on when the child has executed or failed. That
//! makes "started" mean "exec succeeded" without a pipe. `posix_spawn` itself cannot open a
//! session, change limits, or write the lease between fork and exec, all of which we need.
//!
//! Between `clone` and `exec` the child shares our memory: it makes system calls on what was
//! prepared before, and allocates, locks and unwinds nothing.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};

use super::system::spawn::{changed_signals, close_on_exec_from, reset_signal, run_in_child};

/// What is executed.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    /// The file, found already.
    pub(crate) program: &'a Path,
    /// The words, the program's own name first.
    pub(crate) argv: &'a [String],
    /// The whole environment.
    pub(crate) environment: &'a [(&'a OsStr, &'a OsStr)],
    /// Where it starts.
    pub(crate) directory: &'a Path,
}

/// What the child's descriptors become; 0 is `/dev/null`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stdio<'a> {
    /// Standard output.
    pub(crate) stdout: BorrowedFd<'a>,
    /// Standard error.
    pub(crate) stderr: BorrowedFd<'a>,
    /// Sockets that it takes over, with their names: descriptors 3, 4 and so on, announced as
    /// `sd_listen_fds(3)` wants it.
    pub(crate) passed: &'a [(BorrowedFd<'a>, &'a str)],
}

/// The step at which a child failed before its program ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpawnStep {
    /// `clone` itself.
    Clone,
    /// Its session, descriptors or limits.
    Prepare,
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
    /// The stack on which the child runs until exec; reused, since the parent waits meanwhile.
    stack: Box<[u8]>,
    /// The soft and hard limit of open files as our caller had them.
    file_limit: (u64, u64),
    /// The signals whose disposition is not the default here.
    changed_signals: Vec<i32>,
}

/// glibc's own `posix_spawn` uses 32 KiB and more for deep `PATH`s; the child below needs a
/// fraction of this.
const CHILD_STACK: usize = 64 * 1024;

/// What the child reads; all of it prepared before `clone`.
struct ChildPlan<'a> {
    program: &'a CStr,
    argv: &'a [*const libc::c_char],
    environment: &'a [*const libc::c_char],
    directory: &'a CStr,
    /// What becomes 0, 1, 2 and so on. The child's own to change: the parent does not use it again.
    descriptors: *mut [i32],
    /// Where the child writes its own pid, in decimal: room for [`PID_ROOM`] bytes.
    listen_pid: Option<*mut u8>,
    file_limit: (u64, u64),
    changed_signals: &'a [i32],
    lease: Option<Lease<'a>>,
}

/// Where the child notes its pid: a slot in the lease file.
#[derive(Debug, Clone, Copy)]
struct Lease<'a> {
    file: i32,
    offset: i64,
    /// The slot's text with blanks where the pid goes, right-aligned in its first ten bytes.
    text: &'a [u8],
}

/// The slot of a service in the lease file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeaseSlot<'a> {
    /// The file, open for writing.
    pub(crate) file: BorrowedFd<'a>,
    /// Where the slot begins.
    pub(crate) offset: i64,
    /// Its text; the child writes its pid, right-aligned, into the first ten bytes.
    pub(crate) text: &'a [u8],
}

/// What `LISTEN_PID` begins with in an environment.
const LISTEN_PID: &[u8] = b"LISTEN_PID=";

/// Digits of the largest pid, and the end of a text.
const PID_ROOM: usize = 11;

/// The longest slot text; the child copies it to its own stack.
const LEASE_MAX: usize = 256;

impl Spawner {
    /// Prepares for starting processes. `file_limit` is what children get back. Call
    /// [`Self::note_signals`] once the signal handlers stand.
    pub(crate) fn new(file_limit: (u64, u64)) -> std::io::Result<Self> {
        let null = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")?;
        Ok(Self {
            null: null.into(),
            stack: vec![0; CHILD_STACK].into_boxed_slice(),
            file_limit,
            changed_signals: Vec::new(),
        })
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
        lease: Option<LeaseSlot<'_>>,
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
        listen_pid.resize(LISTEN_PID.len() + PID_ROOM, 0);
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
        let mut descriptors = vec![
            self.null.as_raw_fd(),
            stdio.stdout.as_raw_fd(),
            stdio.stderr.as_raw_fd(),
        ];
        descriptors.extend(stdio.passed.iter().map(|(socket, _)| socket.as_raw_fd()));
        let plan = ChildPlan {
            program: &program,
            argv: &argv_pointers,
            environment: &environment_pointers,
            directory: &directory,
            descriptors: &raw mut descriptors[..],
            listen_pid: passes.then(|| listen_pid.wrapping_add(LISTEN_PID.len())),
            file_limit: self.file_limit,
            changed_signals: &self.changed_signals,
            lease: lease
                .filter(|slot| slot.text.len() <= LEASE_MAX)
                .map(|slot| Lease {
                    file: slot.file.as_raw_fd(),
                    offset: slot.offset,
                    text: slot.text,
                }),
        };
        clone_and_exec(&plan, &mut self.stack)
    }
}

#[expect(unsafe_code, reason = "a child that runs in our memory until exec")]
fn clone_and_exec(plan: &ChildPlan<'_>, stack: &mut [u8]) -> Result<i32, SpawnError> {
    // A handler of ours must never run in the child, which shares our memory: nothing gets
    // through until the child has set every disposition back.
    let mut old_mask = SigSet::empty();
    let clone_failed = |errno| SpawnError {
        step: SpawnStep::Clone,
        errno,
    };
    sigprocmask(
        SigmaskHow::SIG_SETMASK,
        Some(&SigSet::all()),
        Some(&mut old_mask),
    )
    .map_err(clone_failed)?;
    // SAFETY: `run_child` only makes system calls, on what `plan` has prepared, and every signal is
    // blocked.
    let started = unsafe { run_in_child(stack, plan.descriptors.len(), &|| run_child(plan)) };
    // Failing to set the mask back cannot happen with a valid set; there is nothing to do if it did.
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&old_mask), None);
    let (pid, failure) = started.map_err(clone_failed)?;
    let Some((step, errno)) = failure else {
        return Ok(pid.as_raw());
    };
    // The child has ended already; its status is ours to take, so that the reaper never sees it.
    let _ = nix::sys::wait::waitpid(pid, None);
    Err(SpawnError {
        step,
        errno: Errno::from_raw(errno),
    })
}

/// The step at which a child failed, and the error number, which is not 0.
pub(super) type Failure = (SpawnStep, i32);

/// The child's part. Returns only on failure: the step and the error number.
///
/// # Safety
///
/// Shares the parent's memory: system calls only.
#[expect(unsafe_code, reason = "the child between clone and exec")]
unsafe fn run_child(plan: &ChildPlan<'_>) -> Failure {
    // SAFETY: every call takes numbers, or pointers into `plan`, which is valid for its lifetime.
    unsafe {
        if libc::setsid() < 0 {
            return (SpawnStep::Prepare, Errno::last_raw());
        }
        for &signal in plan.changed_signals {
            reset_signal(signal);
        }
        // Before descriptors are placed: the file's own number may be one of those that are given
        // away.
        if let Some(lease) = plan.lease {
            write_lease(lease);
        }
        let descriptors = &mut *plan.descriptors;
        if let Err(errno) = place_descriptors(descriptors) {
            return (SpawnStep::Prepare, errno);
        }
        if let Some(place) = plan.listen_pid {
            write_pid(place);
        }
        // Whatever else is open, ours or our caller's, ends at exec.
        close_on_exec_from(descriptors.len());
        let limit = libc::rlimit {
            rlim_cur: plan.file_limit.0,
            rlim_max: plan.file_limit.1,
        };
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        if libc::chdir(plan.directory.as_ptr()) < 0 {
            return (SpawnStep::Directory, Errno::last_raw());
        }
        let mut nothing = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(nothing.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, nothing.as_ptr(), std::ptr::null_mut());
        libc::execve(
            plan.program.as_ptr(),
            plan.argv.as_ptr(),
            plan.environment.as_ptr(),
        );
        (SpawnStep::Exec, Errno::last_raw())
    }
}

/// Makes the descriptors 0, 1, 2 and so on.
///
/// # Safety
///
/// Shares the parent's memory: system calls only.
#[expect(unsafe_code, reason = "the child between clone and exec")]
unsafe fn place_descriptors(descriptors: &mut [i32]) -> Result<(), i32> {
    let Ok(count) = i32::try_from(descriptors.len()) else {
        return Err(libc::EMFILE);
    };
    // SAFETY: numbers only.
    unsafe {
        // One that is itself among the numbers to come would be overwritten before it is used:
        // move it away.
        for descriptor in &mut *descriptors {
            if *descriptor < count {
                *descriptor = libc::fcntl(*descriptor, libc::F_DUPFD_CLOEXEC, count);
                if *descriptor < 0 {
                    return Err(Errno::last_raw());
                }
            }
        }
        for (number, &mut descriptor) in (0..).zip(descriptors) {
            if libc::dup2(descriptor, number) < 0 {
                return Err(Errno::last_raw());
            }
        }
    }
    Ok(())
}

/// Writes the child's own pid as a text.
///
/// # Safety
///
/// `place` has room for [`PID_ROOM`] bytes. Shares the parent's memory: system calls only.
#[expect(unsafe_code, reason = "the child between clone and exec")]
unsafe fn write_pid(place: *mut u8) {
    // SAFETY: numbers only.
    let mut rest = unsafe { libc::getpid() };
    let mut digits = [0_u8; PID_ROOM];
    let mut start = PID_ROOM - 1;
    while rest > 0 && start > 0 {
        start -= 1;
        digits[start] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
    // SAFETY: no more than `PID_ROOM` bytes, the last of them 0.
    unsafe {
        std::ptr::copy_nonoverlapping(digits[start..].as_ptr(), place, PID_ROOM - start);
    }
}

/// Notes the child's own pid in its slot. A full disk must not keep a service from starting, so
/// the outcome is not looked at.
///
/// # Safety
///
/// Shares the parent's memory: system calls only.
#[expect(unsafe_code, reason = "the child between clone and exec")]
unsafe fn write_lease(lease: Lease<'_>) {
    let mut text = [0_u8; LEASE_MAX];
    text[..lease.text.len()].copy_from_slice(lease.text);
    // SAFETY: numbers only.
    let mut rest = unsafe { libc::getpid() };
    for place in text[..10].iter_mut().rev() {
        let digit = u8::try_from(rest % 10).unwrap_or(0);
        *place = if rest > 0 { b'0' + digit } else { b' ' };
        rest /= 10;
    }
    // SAFETY: the buffer is on the child's own stack and as long as is said.
    unsafe {
        libc::pwrite(
            lease.file,
            text.as_ptr().cast(),
            lease.text.len(),
            lease.offset,
        );
    }
}

#[cfg(test)]
mod tests;
