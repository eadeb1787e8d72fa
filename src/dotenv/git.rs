//! Whether git would pick a generated file up: the reason for one hint, nothing more.

use std::path::Path;
use std::process::{Command, Stdio};

/// Whether `path` lies in a git work tree and is not ignored there. `None` if git cannot tell.
///
/// Outside of a work tree this only looks for `.git` upwards; inside, it runs `git check-ignore`.
/// Meant for the command line: the supervisor, which reaps every child itself, must not call it.
pub fn would_git_track(path: &Path) -> Option<bool> {
    let absolute = std::path::absolute(path).ok()?;
    let directory = absolute.parent()?;
    let mut above = directory.ancestors();
    if !above.any(|ancestor| ancestor.join(".git").exists()) {
        return Some(false);
    }
    let status = Command::new("git")
        .args(["check-ignore", "-q", "--"])
        .arg(&absolute)
        .current_dir(directory)
        // A hook of another repository may have these set.
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_INDEX_FILE")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .ok()?;
    match status.code() {
        Some(0) => Some(false),
        Some(1) => Some(true),
        Some(_) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dotenv::tests::skip;
    use fs_err as fs;

    #[test]
    fn outside_of_a_work_tree_nothing_is_tracked() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(would_git_track(&directory.path().join(".env")), Some(false));
    }

    #[test]
    fn inside_a_work_tree_the_ignore_file_decides() {
        let directory = tempfile::tempdir().unwrap();
        let init = Command::new("git")
            .args(["init", "-q"])
            .current_dir(directory.path())
            .status();
        if !init.is_ok_and(|status| status.success()) {
            return skip("git");
        }
        let path = directory.path().join(".env");
        assert_eq!(would_git_track(&path), Some(true));
        fs::write(directory.path().join(".gitignore"), ".env\n").unwrap();
        assert_eq!(would_git_track(&path), Some(false));
    }
}
