//! Looks a program up as `execvp` does, with somebody else's `PATH` and directory.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};

/// Where `execvp` looks when there is no `PATH`.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Why there is no program to execute: permanent, so no restart would help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// No such file.
    #[error("the program `{name}` is not found")]
    NotFound {
        /// The name as written.
        name: String,
    },
    /// There is something of that name, and it cannot be executed.
    #[error("`{}` cannot be executed", .path.display())]
    NotExecutable {
        /// The first one found.
        path: PathBuf,
    },
}

/// Finds what `execvp(name)` would execute in the directory `cwd` with this `PATH`.
///
/// The result is the path to hand to `execve` *in* `cwd`: like a shell's, it stays relative where
/// the name or the element of `PATH` is, so that a script sees the `$0` it would see under a shell.
/// A name with a slash is not looked up. Permissions are checked for the current user.
pub fn find_program(name: &str, path: Option<&OsStr>, cwd: &Path) -> Result<PathBuf, FindError> {
    let mut denied = None;
    for candidate in candidates(name, path) {
        match check(&cwd.join(&candidate)) {
            Found::Program => return Ok(candidate),
            Found::Denied => denied = denied.or(Some(candidate)),
            // Of no interest in PATH; where it was asked for by its path, it is the answer.
            Found::Directory if name.contains('/') => denied = Some(candidate),
            Found::Directory | Found::Nothing => {}
        }
    }
    Err(match denied {
        Some(candidate) => FindError::NotExecutable {
            path: cwd.join(candidate),
        },
        None => FindError::NotFound {
            name: name.to_owned(),
        },
    })
}

/// The paths to try.
fn candidates(name: &str, path: Option<&OsStr>) -> Vec<PathBuf> {
    if name.is_empty() || name.contains('\0') {
        return Vec::new();
    }
    if name.contains('/') {
        return vec![PathBuf::from(name)];
    }
    let directories = std::env::split_paths(path.unwrap_or(OsStr::new(DEFAULT_PATH)));
    // An empty element is the working directory, and so is an empty PATH.
    let or_here = |directory: PathBuf| match directory.as_os_str().as_encoded_bytes() {
        [] => PathBuf::from("."),
        _ => directory,
    };
    directories
        .map(|directory| or_here(directory).join(name))
        .collect()
}

enum Found {
    Program,
    /// `EACCES`: remembered, since it says more than "not found".
    Denied,
    Directory,
    Nothing,
}

fn check(path: &Path) -> Found {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {
            match faccessat(AT_FDCWD, path, AccessFlags::X_OK, AtFlags::AT_EACCESS) {
                Ok(()) => Found::Program,
                Err(_) => Found::Denied,
            }
        }
        Ok(metadata) if metadata.is_dir() => Found::Directory,
        Ok(_) => Found::Denied,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Found::Denied,
        Err(_) => Found::Nothing,
    }
}
