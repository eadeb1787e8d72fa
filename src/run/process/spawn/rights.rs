//! Whose a new process is, and what it may take: settled before `clone`, done by the child.

use nix::errno::Errno;
use nix::libc;

use super::{SpawnError, SpawnStep};

/// What a child gives itself before its program runs; nothing is what it inherits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rights {
    /// Resources with their soft and hard limits (setrlimit(2)).
    pub(crate) limits: Vec<(u32, u64, u64)>,
    /// Its nice value.
    pub(crate) nice: Option<i32>,
    /// Its `oom_score_adj`.
    pub(crate) oom_score_adj: Option<i32>,
    /// Its umask.
    pub(crate) umask: Option<u32>,
    /// Who it becomes.
    pub(crate) identity: Option<Identity>,
}

/// The numbers of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// All other groups.
    pub(crate) groups: Vec<u32>,
}

impl Rights {
    /// Gives them to this process, which is about to execute another program: to the calling thread, and the
    /// others end with that.
    #[expect(unsafe_code, reason = "what the child between clone and exec does")]
    pub(crate) fn take(&self) -> Result<(), SpawnError> {
        // SAFETY: more is allowed here than in such a child.
        unsafe { take(self) }.map_err(|step| SpawnError {
            step,
            errno: Errno::last(),
        })
    }
}

/// Gives the calling process its rights, as long as it may: what takes privileges comes before they are
/// dropped. Says which step failed, the reason being in `errno`.
///
/// # Safety
///
/// For the child between clone and exec: shares the parent's memory, so system calls only.
#[expect(unsafe_code, reason = "the child between clone and exec")]
pub(super) unsafe fn take(rights: &Rights) -> Result<(), SpawnStep> {
    let ok = |result: i64, step| if result < 0 { Err(step) } else { Ok(()) };
    // SAFETY: every call takes numbers, or pointers into `rights`, which outlives the call.
    unsafe {
        for &(resource, soft, hard) in &rights.limits {
            let limit = libc::rlimit {
                rlim_cur: soft,
                rlim_max: hard,
            };
            let result = libc::setrlimit(resource, &raw const limit);
            ok(result.into(), SpawnStep::Limits)?;
        }
        if let Some(nice) = rights.nice {
            let result = libc::setpriority(libc::PRIO_PROCESS, 0, nice);
            ok(result.into(), SpawnStep::Nice)?;
            // Where sessions share the processor (sched(7)), the value counts only within one; that of
            // the session may be denied, and is less than what was asked for.
            write_number(c"/proc/self/autogroup", nice);
        }
        if let Some(score) = rights.oom_score_adj
            && !write_number(c"/proc/self/oom_score_adj", score)
        {
            return Err(SpawnStep::OomScoreAdj);
        }
        if let Some(mask) = rights.umask {
            libc::umask(mask);
        }
        if let Some(identity) = &rights.identity {
            // Past glibc, which would have all threads of the parent follow.
            let groups = &identity.groups;
            let (uid, gid) = (identity.uid, identity.gid);
            let result = libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr());
            ok(result, SpawnStep::User)?;
            let result = libc::syscall(libc::SYS_setresgid, gid, gid, gid);
            ok(result, SpawnStep::User)?;
            let result = libc::syscall(libc::SYS_setresuid, uid, uid, uid);
            ok(result, SpawnStep::User)?;
        }
    }
    Ok(())
}

/// Writes a number into a file; whether that went well.
///
/// # Safety
///
/// As for [`take`].
#[expect(unsafe_code, reason = "the child between clone and exec")]
unsafe fn write_number(path: &std::ffi::CStr, number: i32) -> bool {
    let mut digits = [0; 12];
    let mut start = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        start -= 1;
        digits[start] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        start -= 1;
        digits[start] = b'-';
    }
    let text = &digits[start..];
    // SAFETY: the path ends with a NUL, and the text is as long as is said. The descriptor is closed by
    // exec where it is not closed here.
    unsafe {
        let file = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        file >= 0 && {
            let written = libc::write(file, text.as_ptr().cast(), text.len());
            let errno = *libc::__errno_location();
            libc::close(file);
            *libc::__errno_location() = errno;
            written >= 0
        }
    }
}

/// How far a limit of ours can be raised.
#[expect(unsafe_code, reason = "getrlimit(2) of a resource by its number")]
pub(crate) fn hard_limit(resource: u32) -> Option<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes no more than the structure.
    let result = unsafe { libc::getrlimit(resource, &raw mut limit) };
    (result == 0).then_some(limit.rlim_max)
}
