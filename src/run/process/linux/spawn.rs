//! A new process as fast as Linux makes one, and its first steps.

use nix::libc;
use nix::sched::CloneFlags;
use nix::unistd::Pid;

use crate::run::process::spawn::{Failure, SpawnStep};

/// The kernel's own `struct sigaction`: handler, flags, restorer, mask. All zeroes is the default
/// disposition. glibc's wrapper hides signals 32 and 33, which a caller may have ignored all the
/// same, so this goes past it.
type KernelAction = [u64; 4];

/// The size of the kernel's signal set, as `rt_sigaction(2)` wants it.
const KERNEL_SET_SIZE: usize = 8;

/// The signals that are ignored or handled in this process.
#[expect(unsafe_code, reason = "rt_sigaction(2) as a question; nix only sets")]
pub(crate) fn changed_signals() -> Vec<i32> {
    (1..=64)
        .filter(|&signal| {
            let mut action: KernelAction = [0; 4];
            // SAFETY: with a null new action the call only writes the present one to `action`,
            // which has the kernel's size on every 64-bit Linux.
            let asked = unsafe {
                libc::syscall(
                    libc::SYS_rt_sigaction,
                    signal,
                    std::ptr::null::<KernelAction>(),
                    &raw mut action,
                    KERNEL_SET_SIZE,
                )
            };
            asked == 0 && action[0] != libc::SIG_DFL as u64
        })
        .collect()
}

/// Sets a signal back to its default.
///
/// # Safety
///
/// For the child between clone and exec: a system call and nothing else.
#[expect(unsafe_code, reason = "the child between clone and exec")]
pub(crate) unsafe fn reset_signal(signal: i32) {
    let default: KernelAction = [0; 4];
    // SAFETY: the action has the kernel's size and outlives the call.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            &raw const default,
            std::ptr::null_mut::<KernelAction>(),
            KERNEL_SET_SIZE,
        );
    }
}

/// Lets exec close every descriptor from `first` on (`close_range(2)`, Linux 5.11).
///
/// # Safety
///
/// For the child between clone and exec: a system call and nothing else.
#[expect(unsafe_code, reason = "the child between clone and exec")]
pub(crate) unsafe fn close_on_exec_from(first: usize) {
    // SAFETY: numbers only.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        );
    }
}

/// Runs `steps` in a new process and waits until it has executed its program or failed: its pid,
/// and why it failed, after which it has ended.
///
/// `clone(CLONE_VM | CLONE_VFORK)` on `stack`: the child shares our memory, and we are suspended
/// until it executes or exits. What the descriptors below a number become is for systems on which
/// a pipe is needed.
///
/// # Safety
///
/// `steps` must end in an exec or return its failure, and may only make system calls on what was
/// prepared before. No signal may be let through meanwhile.
#[expect(unsafe_code, reason = "clone(2) with CLONE_VM")]
pub(crate) unsafe fn run_in_child(
    stack: &mut [u8],
    _descriptors: usize,
    steps: &dyn Fn() -> Failure,
) -> nix::Result<(Pid, Option<Failure>)> {
    let mut failure: Failure = (SpawnStep::Clone, 0);
    let failure_pointer = &raw mut failure;
    let child = Box::new(move || {
        // SAFETY: `steps` and `failure` outlive the child's time in our memory, since CLONE_VFORK
        // suspends us until it executes or exits.
        unsafe {
            *failure_pointer = steps();
            libc::_exit(127)
        }
    });
    // SAFETY: the child runs on `stack`, which nobody else uses meanwhile, and upholds the rules
    // above. Without CLONE_SIGHAND and CLONE_FILES its dispositions and descriptors are its own.
    let pid = unsafe {
        nix::sched::clone(
            child,
            stack,
            CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK,
            Some(libc::SIGCHLD),
        )
    }?;
    Ok((pid, (failure.1 != 0).then_some(failure)))
}
