//! Room for many holds: the limit on open files.
//!
//! Every hold is one descriptor, and the usual soft limit is 1024. The soft limit is raised to the
//! hard one for this process only: programs that use `select(2)` break above 1024, so whoever
//! starts children gives them [`original_soft_limit`] back.

use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors that are left for everything that is not a hold: pipes, logs, sockets.
const SPARE: u64 = 256;

static ORIGINAL: OnceLock<u64> = OnceLock::new();

/// Raises the soft limit on open files to the hard one, if `more` further descriptors need it.
///
/// Does nothing where the limit suffices. Where it cannot be raised far enough, the bind that
/// fails for it says so better. Returns the limit as it is afterwards.
pub fn ensure_descriptors(more: usize) -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return u64::MAX;
    };
    let wanted = u64::try_from(more)
        .unwrap_or(u64::MAX)
        .saturating_add(SPARE);
    if soft >= wanted || soft >= hard {
        return soft;
    }
    if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_err() {
        return soft;
    }
    ORIGINAL.get_or_init(|| soft);
    hard
}

/// The soft limit with which this process was started, if [`ensure_descriptors`] raised it:
/// what children are to get.
pub fn original_soft_limit() -> Option<u64> {
    ORIGINAL.get().copied()
}

/// The present soft limit, for messages.
pub(crate) fn soft_limit() -> Option<u64> {
    getrlimit(Resource::RLIMIT_NOFILE)
        .ok()
        .map(|(soft, _)| soft)
}
