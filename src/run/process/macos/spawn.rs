//! A new process by fork, and its first steps.

use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::unistd::{ForkResult, Pid};

use crate::run::process::spawn::{Failure, SpawnStep};

/// `NSIG - 1`: signals have the numbers 1 to 31, and none is hidden.
const LAST_SIGNAL: i32 = 31;

/// The signals that are ignored or handled in this process.
#[expect(unsafe_code, reason = "sigaction(2) as a question; nix only sets")]
pub(crate) fn changed_signals() -> Vec<i32> {
    (1..=LAST_SIGNAL)
        .filter(|&signal| {
            let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
            // SAFETY: with a null new action the call only writes the present one, for which there
            // is room; zeroed bytes are a valid `sigaction` should it fail.
            let (asked, action) = unsafe {
                let asked = libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr());
                (asked, action.assume_init())
            };
            asked == 0 && action.sa_sigaction != libc::SIG_DFL
        })
        .collect()
}

/// Sets a signal back to its default.
///
/// # Safety
///
/// For the child between fork and exec: a system call and nothing else.
#[expect(unsafe_code, reason = "the child between fork and exec")]
pub(crate) unsafe fn reset_signal(signal: i32) {
    // SAFETY: numbers only.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
    }
}

/// Lets exec close every descriptor from `first` on, one by one: there is no `close_range`.
///
/// # Safety
///
/// For the child between fork and exec: system calls and nothing else.
#[expect(unsafe_code, reason = "the child between fork and exec")]
pub(crate) unsafe fn close_on_exec_from(first: usize) {
    // SAFETY: numbers only; a number that is not open is refused.
    unsafe {
        // The soft limit, or the kernel's own where that is lower.
        for descriptor in (0..libc::getdtablesize()).skip(first) {
            libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC);
        }
    }
}

/// Runs `steps` in a new process and waits until it has executed its program or failed: its pid,
/// and why it failed, after which it has ended.
///
/// A fork, and a pipe that exec closes: its end without a word means that the program runs. The
/// stack is for systems on which the child shares our memory. Of the numbers below `descriptors`
/// the steps make the program's own.
///
/// # Safety
///
/// `steps` must end in an exec or return its failure, and may only make system calls on what was
/// prepared before: other threads of ours do not exist in the child, and their locks stay locked.
#[expect(unsafe_code, reason = "fork(2)")]
pub(crate) unsafe fn run_in_child(
    _stack: &mut [u8],
    descriptors: usize,
    steps: &dyn Fn() -> Failure,
) -> nix::Result<(Pid, Option<Failure>)> {
    let (reader, writer) = super::pipe()?;
    // The descriptors that the program gets must not overwrite it.
    let writer = from_number(descriptors, &writer)?;
    // SAFETY: the child makes system calls only, as our caller promises for `steps`.
    let pid = match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            let (step, errno) = steps();
            let [a, b, c, d] = errno.to_ne_bytes();
            let word = [step_number(step), a, b, c, d];
            // SAFETY: the buffer is as long as is said; `_exit` runs nothing of ours.
            unsafe {
                libc::write(writer.as_raw_fd(), word.as_ptr().cast(), word.len());
                libc::_exit(127)
            }
        }
    };
    drop(writer);
    // So few bytes are written at once or not at all.
    let mut word = Vec::new();
    let mut reader = std::fs::File::from(reader);
    if reader.read_to_end(&mut word).is_err() {
        return Ok((pid, None));
    }
    let failure = match *word.as_slice() {
        [step, a, b, c, d] => Some((step_of(step), i32::from_ne_bytes([a, b, c, d]))),
        _ => None,
    };
    Ok((pid, failure))
}

/// A copy of a descriptor whose number is `first` or more, closed by exec.
#[expect(unsafe_code, reason = "a descriptor that was made just now")]
fn from_number(first: usize, descriptor: &OwnedFd) -> nix::Result<OwnedFd> {
    let first = i32::try_from(first).map_err(|_| Errno::EMFILE)?;
    let copy = fcntl(descriptor, FcntlArg::F_DUPFD_CLOEXEC(first))?;
    // SAFETY: it is open, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

fn step_number(step: SpawnStep) -> u8 {
    match step {
        SpawnStep::Clone => 0,
        SpawnStep::Prepare => 1,
        SpawnStep::Directory => 2,
        SpawnStep::Exec => 3,
    }
}

fn step_of(number: u8) -> SpawnStep {
    match number {
        0 => SpawnStep::Clone,
        1 => SpawnStep::Prepare,
        2 => SpawnStep::Directory,
        _ => SpawnStep::Exec,
    }
}
