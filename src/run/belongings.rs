//! What a unit finds in the file system when it starts, made just before that: its directories, room for
//! its sockets, its configs and secrets.
//!
//! All of it belongs to the user whose process it is. Where that is another one than ours, the
//! directories on the way can be passed, and not read. No link is followed: a repository that was
//! cloned may bring one.

use std::ffi::OsStr;
use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, lchown};
use std::path::Path;

use fs_err as fs;
use nix::unistd::{getegid, geteuid};

use crate::plan::model::{Belongings, FilePlan, UnitPlan};
use crate::support::fs::{below, create_private_dir, read_private, write_atomically_unsynced};

use super::process::Identity;

/// Makes what a plan says of `unit`. The working directory is what the plan calls `project_dir`.
pub(crate) fn lay_out(
    unit: &UnitPlan,
    owner: Option<&Identity>,
    project_dir: &Path,
) -> io::Result<()> {
    let Belongings {
        dirs,
        sockets,
        files,
    } = &unit.belongings;
    let owner = ids(owner);
    let place = |path: &Path| below(path, project_dir);
    for dir in dirs {
        let dir = place(dir);
        make_parent(&dir, owner)?;
        make_dir(&dir)?;
        lchown(&dir, Some(owner.0), Some(owner.1))?;
    }
    for socket in sockets {
        let socket = place(socket);
        let dir = make_parent(&socket, owner)?;
        lchown(dir, Some(owner.0), Some(owner.1))?;
        // One that an earlier attempt has left keeps a server from listening.
        remove(&socket)?;
    }
    for file in files {
        write_file(file, &place(&file.path), owner)?;
    }
    Ok(())
}

/// Makes room for a socket of ours that `owner` may write to.
pub(crate) fn clear_socket(path: &Path, owner: Option<&Identity>) -> io::Result<()> {
    make_parent(path, ids(owner))?;
    remove(path)
}

/// Gives a socket of ours, in a directory of ours, to the user whose process writes to it.
pub(crate) fn give_socket(path: &Path, owner: Option<&Identity>) -> io::Result<()> {
    let (uid, gid) = ids(owner);
    lchown(path, Some(uid), Some(gid))
}

fn ids(owner: Option<&Identity>) -> (u32, u32) {
    let ours = (geteuid().as_raw(), getegid().as_raw());
    owner.map_or(ours, |identity| (identity.uid, identity.gid))
}

/// Removes what was made for units that have ended, but for what is kept between runs.
pub(crate) fn clear_out(dir: &Path) {
    for kind in ["configs", "notify", "secrets", "sockets"] {
        // What cannot be removed is made anew by the next start.
        drop(fs::remove_dir_all(dir.join(kind)));
    }
}

fn write_file(file: &FilePlan, path: &Path, owner: (u32, u32)) -> io::Result<()> {
    make_parent(path, owner)?;
    let is_there = fs::symlink_metadata(path).is_ok_and(|there| {
        there.is_file() && (there.uid(), there.gid()) == owner && there.mode() & 0o777 == 0o600
    });
    // Another replica may have it open.
    if is_there && read_private(path).is_ok_and(|bytes| *bytes == *file.content.0) {
        return Ok(());
    }
    remove(path)?;
    write_atomically_unsynced(path, &file.content.0, 0o600)?;
    lchown(path, Some(owner.0), Some(owner.1))
}

/// Makes the directories above something, and lets its owner pass those that are the instance's.
fn make_parent(path: &Path, owner: (u32, u32)) -> io::Result<&Path> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let above = dir.parent().unwrap_or(Path::new("."));
    if let Some(instance) = above.parent() {
        create_private_dir(instance)?;
    }
    let ours = geteuid().as_raw();
    make_dir(above)?;
    // In a directory of ours nobody else can have made anything.
    if fs::symlink_metadata(above)?.uid() != ours {
        return Err(in_the_way(above));
    }
    make_dir(dir)?;
    if owner.0 != ours {
        // Up to `.stack`; elsewhere only the two that were made here are ours alone.
        let is_local = |dir: &Path| dir.file_name() == Some(OsStr::new(".stack"));
        let depth = path.ancestors().position(is_local).unwrap_or(2);
        for dir in path.ancestors().skip(1).take(depth) {
            let there = fs::symlink_metadata(dir)?;
            // What others may read is no secret that we have to keep.
            let is_closed = there.mode() & 0o777 == 0o700;
            if there.is_dir() && there.uid() == ours && is_closed {
                fs::set_permissions(dir, Permissions::from_mode(0o711))?;
            }
        }
    }
    Ok(dir)
}

/// Makes a private directory, or sees that what is there is a directory.
fn make_dir(dir: &Path) -> io::Result<()> {
    let made = DirBuilder::new().mode(0o700).create(dir);
    let is_there = || fs::symlink_metadata(dir).is_ok_and(|there| there.is_dir());
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !is_there() => {
            Err(in_the_way(dir))
        }
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn in_the_way(path: &Path) -> io::Error {
    io::Error::other(format!("`{}` is in the way; remove it", path.display()))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
