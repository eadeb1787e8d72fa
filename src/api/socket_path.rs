//! Where the control socket lies.
//!
//! Beside the lock in `.stack/<name>/` if the path fits into a socket's address, else in a private
//! per-user directory of a temporary directory. The choice is written into the lock file by
//! `run`, so nobody has to repeat it. Making the directory and the socket is `run::socket`.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::support::hash::fnv1a;

/// The longest path of a control socket, in bytes: `sun_path` holds 108,
/// the final NUL included; the rest is kept for temporary names beside it.
pub const MAX_SOCKET_PATH: usize = 100;

/// No place whose path is short enough.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no directory for the control socket has a path of at most {MAX_SOCKET_PATH} bytes")]
pub struct NoSocketPath {
    /// What was tried, in that order.
    pub tried: Vec<PathBuf>,
}

/// The path for the control socket of `instance` (its id, `STACK_INSTANCE`).
///
/// `state_dir` is the instance's own directory, `temp_dirs` are tried in their order when it does
/// not fit; each then gets a directory of `uid`, so that users do not meet. Nothing is looked up
/// or created here.
pub fn choose(
    state_dir: &Path,
    instance: &str,
    uid: u32,
    temp_dirs: &[PathBuf],
) -> Result<PathBuf, NoSocketPath> {
    let own = state_dir.join("control.sock");
    let short = format!("{:016x}.sock", fnv1a(instance.as_bytes()));
    let shared = temp_dirs
        .iter()
        .map(|temp_dir| temp_dir.join(format!("stack-{uid}")).join(&short));
    let candidates: Vec<PathBuf> = std::iter::once(own).chain(shared).collect();
    candidates
        .iter()
        .find(|path| path.as_os_str().as_bytes().len() <= MAX_SOCKET_PATH)
        .cloned()
        .ok_or(NoSocketPath { tried: candidates })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_project_keeps_its_socket() {
        let path = choose(Path::new("/p/.stack/shop"), "shop-1", 1, &["/tmp".into()]);
        assert_eq!(path, Ok(PathBuf::from("/p/.stack/shop/control.sock")));
    }

    #[test]
    fn a_long_project_goes_to_the_users_own_temporary_directory() {
        let deep = PathBuf::from(format!("/{}", "x/".repeat(150)));
        let path = choose(&deep, "shop-1", 1000, &["/tmp".into()]).unwrap();
        assert!(path.starts_with("/tmp/stack-1000"), "{path:?}");
        let other = choose(&deep, "shop-2", 1000, &["/tmp".into()]).unwrap();
        assert_ne!(path, other, "two instances of one directory must not meet");
        let second = choose(&deep, "shop-1", 1000, &[deep.clone(), "/tmp".into()]);
        assert_eq!(second, Ok(path));
        assert!(choose(&deep, "shop-1", 1000, std::slice::from_ref(&deep)).is_err());
    }

    #[test]
    fn the_limit_counts_bytes() {
        let fits = PathBuf::from(format!("/{}", "é".repeat(43)));
        assert_eq!(fits.join("control.sock").as_os_str().len(), MAX_SOCKET_PATH);
        assert!(choose(&fits, "a", 1, &[]).is_ok());
        let over = PathBuf::from(format!("/{}", "é".repeat(44)));
        assert!(choose(&over, "a", 1, &[]).is_err());
    }
}
