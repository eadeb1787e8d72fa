//! What a new process does between `clone` and `exec`, in the memory of its parent.
//!
//! It makes system calls on what was prepared before, and allocates, locks and unwinds nothing.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sched::CloneFlags;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::Pid;

use super::rights::{Rights, take};
use super::{LEASE_MAX, LeaseLine, PID_ROOM, SpawnError, SpawnStep};

/// What the child reads; all of it prepared before `clone`.
pub(super) struct ChildPlan<'a> {
    pub(super) program: &'a CStr,
    pub(super) argv: &'a [*const libc::c_char],
    pub(super) environment: &'a [*const libc::c_char],
    pub(super) directory: &'a CStr,
    /// What becomes 0, 1, 2 and so on. The child's own to change: the parent does not use it again.
    pub(super) descriptors: *mut [i32],
    /// From which number on the child needs none of our descriptors, so that it may begin with ours
    /// instead of a copy of them all.
    pub(super) shared_from: Option<u32>,
    /// Whether descriptor 0 becomes its controlling terminal.
    pub(super) has_terminal: bool,
    /// Where the child writes its own pid, in decimal: room for [`PID_ROOM`] bytes.
    pub(super) listen_pid: Option<*mut u8>,
    pub(super) file_limit: (u64, u64),
    pub(super) changed_signals: &'a [i32],
    pub(super) rights: &'a Rights,
    pub(super) lease: Option<LeaseLine<'a>>,
}

/// Runs the child in a new process, and waits until it has executed its program or failed.
///
/// `clone(CLONE_VM | CLONE_VFORK)` on `stack`: the child shares our memory, and we are suspended
/// until it executes or exits. With a `group`, that is the control group in which it is born.
#[expect(unsafe_code, reason = "clone(2) with CLONE_VM")]
pub(super) fn clone_and_exec(
    plan: &ChildPlan<'_>,
    stack: &mut [u8],
    group: Option<BorrowedFd<'_>>,
) -> Result<i32, SpawnError> {
    let cannot_clone = |errno| SpawnError {
        step: SpawnStep::Clone,
        errno,
    };
    // A handler of ours must never run in the child, which shares our memory: nothing gets
    // through until the child has set every disposition back.
    let mut old_mask = SigSet::empty();
    sigprocmask(
        SigmaskHow::SIG_SETMASK,
        Some(&SigSet::all()),
        Some(&mut old_mask),
    )
    .map_err(cannot_clone)?;
    let mut failure: Option<SpawnError> = None;
    let place = &raw mut failure;
    let mut child = move || {
        // SAFETY: `plan` and `failure` outlive the child's time in our memory, since CLONE_VFORK
        // suspends us until it executes or exits; the child makes nothing but system calls.
        unsafe {
            *place = Some(run_child(plan));
            libc::_exit(127)
        }
    };
    let mut flags = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK;
    flags.set(CloneFlags::CLONE_FILES, plan.shared_from.is_some());
    // SAFETY: the child runs on `stack`, which nobody else uses meanwhile, and every signal is
    // blocked. Without CLONE_SIGHAND its dispositions are its own; descriptors that it shares with us
    // it leaves alone until they are its own.
    let cloned = unsafe {
        match group {
            Some(group) => clone_into(group, stack, flags, &mut child),
            None => nix::sched::clone(Box::new(child), stack, flags, Some(libc::SIGCHLD)),
        }
    };
    // Failing to set the mask back cannot happen with a valid set; there is nothing to do if it did.
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&old_mask), None);
    if plan.rights.identity.is_some() {
        // A change of user makes the memory that it happens in undumpable, which is ours; that of the
        // child is its own by now (prctl(2)).
        let _ = nix::sys::prctl::set_dumpable(true);
    }
    let pid = cloned.map_err(cannot_clone)?;
    let Some(failure) = failure else {
        return Ok(pid.as_raw());
    };
    // The child has ended already; its status is ours to take, so that the reaper never sees it.
    let _ = nix::sys::wait::waitpid(pid, None);
    Err(failure)
}

/// clone(2) into a control group, which takes clone3(2): glibc has no function for a child of that
/// which has a stack of its own.
///
/// # Safety
///
/// As for `nix::sched::clone`; `child` must not return.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "clone3(2) with a stack for the child")]
unsafe fn clone_into<F: FnMut() -> isize>(
    group: BorrowedFd<'_>,
    stack: &mut [u8],
    flags: CloneFlags,
    child: &mut F,
) -> nix::Result<Pid> {
    /// What the child calls on its new stack.
    unsafe extern "C" fn enter<F: FnMut() -> isize>(child: *mut F) -> ! {
        // SAFETY: the pointer is the one that `clone_into` was given.
        unsafe {
            (*child)();
            libc::_exit(127)
        }
    }
    /// `CLONE_INTO_CGROUP` (Linux 5.7).
    const INTO_GROUP: u64 = 1 << 33;
    /// `struct clone_args` up to the field for the group.
    #[repr(C, align(8))]
    #[derive(Default)]
    struct Arguments {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        stack: u64,
        stack_size: u64,
        tls: u64,
        set_tid: u64,
        set_tid_size: u64,
        cgroup: u64,
    }
    let bottom = stack.as_mut_ptr().expose_provenance() as u64;
    // What calls finds it aligned to 16 bytes, as the psABI wants it.
    let top = (bottom + stack.len() as u64) & !15;
    let arguments = Arguments {
        flags: u64::from(flags.bits().cast_unsigned()) | INTO_GROUP,
        exit_signal: u64::from(libc::SIGCHLD.cast_unsigned()),
        stack: bottom,
        stack_size: top - bottom,
        cgroup: u64::from(group.as_raw_fd().cast_unsigned()),
        ..Arguments::default()
    };
    let result: i64;
    // SAFETY: the parent comes back with its own registers and stack, but for those that the call
    // changes. The child, with 0 and the other stack, calls `enter` and does not come back.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r9",
            "call r8",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") &raw const arguments,
            in("rsi") size_of::<Arguments>(),
            in("r8") enter::<F> as unsafe extern "C" fn(*mut F) -> !,
            in("r9") std::ptr::from_mut(child),
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    match i32::try_from(result) {
        Ok(pid) if pid > 0 => Ok(Pid::from_raw(pid)),
        Ok(errno) => Err(Errno::from_raw(-errno)),
        Err(_) => Err(Errno::EINVAL),
    }
}

/// The same where nobody has written it: there is no such call.
#[cfg(not(target_arch = "x86_64"))]
#[expect(unsafe_code, reason = "the same as where there is one")]
unsafe fn clone_into<F: FnMut() -> isize>(
    _group: BorrowedFd<'_>,
    _stack: &mut [u8],
    _flags: CloneFlags,
    _child: &mut F,
) -> nix::Result<Pid> {
    Err(Errno::ENOSYS)
}

/// The child's part. Returns only on failure.
///
/// # Safety
///
/// Shares the parent's memory: system calls only.
#[expect(unsafe_code, reason = "the child between clone and exec")]
unsafe fn run_child(plan: &ChildPlan<'_>) -> SpawnError {
    let failed = |step| SpawnError {
        step,
        errno: Errno::last(),
    };
    // SAFETY: every call takes numbers, or pointers into `plan`, which is valid for its lifetime.
    unsafe {
        if libc::setsid() < 0 {
            return failed(SpawnStep::Prepare);
        }
        for &signal in plan.changed_signals {
            reset_signal(signal);
        }
        // Before descriptors are placed: the file's own number may be one of those that are given
        // away.
        if let Some(lease) = plan.lease {
            write_lease(lease);
        }
        if plan.shared_from.is_some_and(|above| !unshare(above)) {
            return failed(SpawnStep::Prepare);
        }
        let descriptors = &mut *plan.descriptors;
        if !place_descriptors(descriptors) {
            return failed(SpawnStep::Prepare);
        }
        // The leader of a new session, which has none yet, may take it (ioctl_tty(2)).
        if plan.has_terminal && libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
            return failed(SpawnStep::Prepare);
        }
        if let Some(place) = plan.listen_pid {
            write_pid(place);
        }
        // Whatever else is open, ours or our caller's, ends at exec (close_range(2), Linux 5.11).
        libc::syscall(
            libc::SYS_close_range,
            descriptors.len(),
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        );
        let limit = libc::rlimit {
            rlim_cur: plan.file_limit.0,
            rlim_max: plan.file_limit.1,
        };
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        if let Err(step) = take(plan.rights) {
            return failed(step);
        }
        // As whoever it is by now: a directory in which the program can do nothing is no place for it.
        if libc::chdir(plan.directory.as_ptr()) < 0 {
            return failed(SpawnStep::Directory);
        }
        let mut nothing = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(nothing.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, nothing.as_ptr(), std::ptr::null_mut());
        libc::execve(
            plan.program.as_ptr(),
            plan.argv.as_ptr(),
            plan.environment.as_ptr(),
        );
        failed(SpawnStep::Exec)
    }
}

/// Makes the table of descriptors the child's own, without those from `above` on; whether that went
/// well. The kernel does not copy what it is told to close (`close_range(2)`, Linux 5.9).
///
/// # Safety
///
/// Shares the parent's memory: system calls only.
#[expect(unsafe_code, reason = "the child between clone and exec")]
unsafe fn unshare(above: u32) -> bool {
    // SAFETY: numbers only.
    unsafe {
        let closed = libc::syscall(
            libc::SYS_close_range,
            above,
            u32::MAX,
            libc::CLOSE_RANGE_UNSHARE,
        );
        closed == 0 || libc::unshare(libc::CLONE_FILES) == 0
    }
}

/// Makes the descriptors 0, 1, 2 and so on; whether that went well.
///
/// # Safety
///
/// Shares the parent's memory: system calls only.
#[expect(unsafe_code, reason = "the child between clone and exec")]
unsafe fn place_descriptors(descriptors: &mut [i32]) -> bool {
    let count = i32::try_from(descriptors.len()).unwrap_or(i32::MAX);
    // SAFETY: numbers only.
    unsafe {
        // One that is itself among the numbers to come would be overwritten before it is used:
        // move it away.
        for descriptor in &mut *descriptors {
            if *descriptor < count {
                *descriptor = libc::fcntl(*descriptor, libc::F_DUPFD_CLOEXEC, count);
                if *descriptor < 0 {
                    return false;
                }
            }
        }
        (0..)
            .zip(descriptors)
            .all(|(number, &mut descriptor)| libc::dup2(descriptor, number) >= 0)
    }
}

/// The digits of the child's own pid, at the end of the array.
#[expect(unsafe_code, reason = "the child between clone and exec")]
fn own_digits() -> ([u8; PID_ROOM], usize) {
    // SAFETY: getpid(2) takes nothing and cannot fail.
    let mut rest = unsafe { libc::getpid() };
    let mut digits = [0; PID_ROOM];
    let mut start = PID_ROOM;
    while rest > 0 && start > 0 {
        start -= 1;
        digits[start] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
    (digits, start)
}

/// Writes the child's own pid as a text, with a NUL behind it.
///
/// # Safety
///
/// `place` has room for [`PID_ROOM`] bytes and one more.
#[expect(unsafe_code, reason = "the child between clone and exec")]
unsafe fn write_pid(place: *mut u8) {
    let (digits, start) = own_digits();
    let length = PID_ROOM - start;
    // SAFETY: no more than there is room for, the NUL included.
    unsafe {
        std::ptr::copy_nonoverlapping(digits[start..].as_ptr(), place, length);
        *place.add(length) = 0;
    }
}

/// Notes the child's own pid in its line. A full disk must not keep a service from starting, so
/// the outcome is not looked at.
///
/// # Safety
///
/// Shares the parent's memory: system calls only.
#[expect(unsafe_code, reason = "the child between clone and exec")]
unsafe fn write_lease(lease: LeaseLine<'_>) {
    let mut text = [b' '; LEASE_MAX];
    text[..lease.text.len()].copy_from_slice(lease.text);
    let (digits, start) = own_digits();
    text[start..PID_ROOM].copy_from_slice(&digits[start..]);
    // SAFETY: the buffer is on the child's own stack and as long as is said.
    unsafe {
        libc::pwrite(
            lease.file.as_raw_fd(),
            text.as_ptr().cast(),
            lease.text.len(),
            lease.offset,
        );
    }
}

/// The kernel's own `struct sigaction`: handler, flags, restorer, mask. All zeroes is the default
/// disposition. glibc's wrapper hides signals 32 and 33, which a caller may have ignored all the
/// same, so this goes past it.
type KernelAction = [u64; 4];

/// The size of the kernel's signal set, as `rt_sigaction(2)` wants it.
const KERNEL_SET_SIZE: usize = 8;

/// The signals that are ignored or handled in this process.
#[expect(unsafe_code, reason = "rt_sigaction(2) as a question; nix only sets")]
pub(super) fn changed_signals() -> Vec<i32> {
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
unsafe fn reset_signal(signal: i32) {
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
