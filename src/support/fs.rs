//! Files that are written whole or not at all.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fs_err as fs;
use nix::libc;

/// Replaces `path` by `bytes`: a temporary file, `fsync`, `rename`. The temporary file is in `room` where
/// that is a directory of the same file system, else beside `path`; one that a killed write of the same
/// file has left there is removed first.
///
/// A reader sees the old file or the new one, never a part; on an error (a full disk, for one) the
/// old file is untouched and no temporary file is left. A symbolic link is followed. The mode and, as far
/// as we may, the owner of an existing file are kept; a new file gets `mode`.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32, room: &Path) -> io::Result<()> {
    let target = resolve_links(path)?;
    let directory = directory_of(&target);
    let device = |path: &Path| fs::symlink_metadata(path).ok().filter(Metadata::is_dir);
    let is_room = device(room)
        .zip(device(directory))
        .is_some_and(|(room, directory)| room.dev() == directory.dev());
    let room = if is_room { room } else { directory };
    let prefix = temporary_prefix(&target);
    for entry in fs::read_dir(room).into_iter().flatten().flatten() {
        if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(prefix.as_bytes())
        {
            // What cannot be removed is in nobody's way.
            drop(fs::remove_file(entry.path()));
        }
    }
    replace(&target, bytes, mode, Some(room))
}

/// As [`write_atomically`] for a file of this program's own: without waiting for the disk, and a
/// symbolic link is replaced, not followed.
///
/// Its last version may be lost in a power cut, and it is written while somebody waits: a reader
/// still sees the old file or the new one, but `fsync` costs milliseconds.
pub fn write_atomically_unsynced(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    replace(path, bytes, mode, None)
}

/// The first 4 KiB of a small file that the kernel makes up when it is read (proc(5)): one `read`,
/// where the general way asks for the size and position first and takes four.
pub fn read_small(path: &str) -> io::Result<Vec<u8>> {
    let mut file = fs_err::File::open(path)?;
    let mut bytes = vec![0; 4096];
    let length = io::Read::read(&mut file, &mut bytes)?;
    bytes.truncate(length);
    Ok(bytes)
}

/// Everything that there is to read, if it is not more than `limit` bytes.
pub fn read_limited(source: impl io::Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than allowed is enough to know that there is too much.
    io::Read::read_to_end(&mut io::Read::take(source, limit + 1), &mut bytes)?;
    if bytes.len() as u64 > limit {
        let message = format!("it is larger than {} MiB", limit >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// The directory in which a file lies.
fn directory_of(path: &Path) -> &Path {
    let parent = path.parent().filter(|it| !it.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// How the name of a file's temporary one begins.
fn temporary_prefix(target: &Path) -> String {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    format!(".{name}.stack-")
}

/// With a `room` for the temporary file the write is durable.
fn replace(target: &Path, bytes: &[u8], mode: u32, room: Option<&Path>) -> io::Result<()> {
    let directory = directory_of(target);
    let durable = room.is_some();
    let (mode, owner) = match fs::symlink_metadata(target) {
        Ok(there) => (
            there.permissions().mode() & 0o7777,
            Some((there.uid(), there.gid())),
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (mode, None),
        Err(error) => return Err(error),
    };
    let named = |error: io::Error| name_file(&error, target);
    let mut temporary = tempfile::Builder::new()
        .prefix(&temporary_prefix(target))
        .permissions(PermissionsExt::from_mode(0o600))
        .tempfile_in(room.unwrap_or(directory))
        .map_err(named)?;
    temporary.write_all(bytes).map_err(named)?;
    let file = temporary.as_file();
    // Root keeps nobody from a file of theirs. Others may not give files away, nor to every group.
    if let Some((uid, gid)) = owner {
        drop(std::os::unix::fs::fchown(file, Some(uid), Some(gid)));
    }
    file.set_permissions(PermissionsExt::from_mode(mode))?;
    if durable {
        file.sync_all().map_err(named)?;
    }
    temporary
        .persist(target)
        .map_err(|error| named(error.error))?;
    // The rename itself must survive a power cut; a file system that cannot do this says so with
    // an error that changes nothing for the caller.
    if durable && let Ok(handle) = fs::File::open(directory) {
        drop(handle.sync_all());
    }
    Ok(())
}

/// Follows symbolic links of the last component, also when the final target does not exist yet.
fn resolve_links(path: &Path) -> io::Result<PathBuf> {
    let mut current = path.to_path_buf();
    // 40 is the kernel's own limit (path_resolution(7)).
    for _ in 0..40 {
        match fs::read_link(&current) {
            Ok(link) => {
                let base = current.parent().unwrap_or(Path::new("")).to_path_buf();
                current = base.join(link);
            }
            Err(_) => return Ok(current),
        }
    }
    Err(io::Error::other(format!(
        "{}: too many symbolic links",
        path.display()
    )))
}

/// A path seen from a directory; unchanged where it is not below it.
pub fn below(path: &Path, directory: &Path) -> PathBuf {
    match path.strip_prefix(directory) {
        Ok(rest) => Path::new(".").join(rest),
        Err(_) => path.to_path_buf(),
    }
}

/// The error of a write, with the name of the file.
pub fn name_file(error: &io::Error, path: &Path) -> io::Error {
    // The name of a temporary file, which is in the text of its error, would only mislead.
    let text = error.to_string();
    let reason = text
        .split_once(" at path \"")
        .map_or(text.as_str(), |(reason, _)| reason);
    io::Error::new(
        error.kind(),
        format!("failed to write `{}`: {reason}", path.display()),
    )
}

/// Creates `path` and its missing parents; `path` itself with mode 0700 when it is new.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let create = || std::fs::DirBuilder::new().mode(0o700).create(path);
    let created = match (create(), path.parent()) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(parent)?;
            create()
        }
        (created, _) => created,
    };
    match created {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(io::Error::new(
            error.kind(),
            format!("failed to create `{}`: {error}", path.display()),
        )),
        Ok(()) => Ok(()),
    }
}

/// Opens a file that is this program's own, made with mode 0600 where `options` make one.
///
/// A repository that was cloned may bring a link of that name, or a FIFO on which everybody who
/// opens it waits: nothing but a regular file that has no other name is opened.
pub fn open_private(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let failed = |kind, reason: &str| {
        io::Error::new(
            kind,
            format!("failed to open `{}`: {reason}", path.display()),
        )
    };
    let file = options
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .map_err(|error| match error.raw_os_error() {
            Some(libc::ELOOP) => failed(io::ErrorKind::InvalidInput, "it is a symbolic link"),
            _ => failed(error.kind(), &error.to_string()),
        })?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(failed(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        ));
    }
    if metadata.nlink() > 1 {
        return Err(failed(
            io::ErrorKind::InvalidInput,
            "it has a second name (a hard link)",
        ));
    }
    Ok(file)
}

/// What a file of this program's own holds. Whoever may write beside it may have put anything there: what
/// is no regular file is refused, and never waited for.
pub fn read_private(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut file = open_private(path, OpenOptions::new().read(true))?;
    io::Read::read_to_end(&mut file, &mut bytes).map_err(|error| name_file(&error, path))?;
    Ok(bytes)
}

/// Opens a file of this program's own for appending, creating it with mode 0600.
pub fn open_private_append(path: &Path) -> io::Result<File> {
    open_private(path, OpenOptions::new().append(true).create(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_followed_and_a_mode_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("real");
        let link = directory.path().join("link");
        fs::write(&target, "old").unwrap();
        fs::set_permissions(&target, PermissionsExt::from_mode(0o640)).unwrap();
        fs::os::unix::fs::symlink("real", &link).unwrap();
        write_atomically(&link, b"new", 0o600, directory.path()).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(
            fs::metadata(&target).unwrap().permissions().mode() & 0o7777,
            0o640
        );
    }

    #[test]
    fn a_file_of_our_own_is_never_opened_through_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("precious"), "precious").unwrap();
        fs::os::unix::fs::symlink("precious", path("link")).unwrap();
        fs::hard_link(path("precious"), path("second")).unwrap();
        nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for (name, reason) in [
            ("link", "symbolic link"),
            ("second", "hard link"),
            ("fifo", "No such device or address"),
        ] {
            let error = open_private_append(&path(name)).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        let error = open_private(&path("fifo"), OpenOptions::new().read(true)).unwrap_err();
        assert!(error.to_string().contains("not a regular file"), "{error}");
        write_atomically_unsynced(&path("link"), b"new", 0o600).unwrap();
        assert!(fs::symlink_metadata(path("link")).unwrap().is_file());
        assert_eq!(fs::read_to_string(path("precious")).unwrap(), "precious");
    }

    #[test]
    fn an_error_names_the_file_and_not_the_temporary_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gone/.env");
        let error = write_atomically(&path, b"x", 0o600, directory.path())
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("failed to write `"), "{error}");
        assert!(!error.contains(" at path "), "{error}");
    }

    #[test]
    fn a_new_file_gets_the_mode_that_was_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new");
        write_atomically(&path, b"x", 0o600, directory.path()).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
            0o600
        );
    }

    #[test]
    fn what_a_killed_write_has_left_is_removed_by_the_next_one() {
        let directory = tempfile::tempdir().unwrap();
        let (path, room) = (directory.path().join(".env"), directory.path().join("room"));
        fs::create_dir(&room).unwrap();
        fs::write(room.join("..env.stack-a1b2c3"), "secret").unwrap();
        fs::write(room.join("..env.other.stack-a1b2c3"), "another's").unwrap();
        write_atomically(&path, b"x", 0o600, &room).unwrap();
        let left: Vec<_> = fs::read_dir(&room).unwrap().flatten().collect();
        assert_eq!(left.len(), 1, "{left:?}");
        // Without a room it is beside the file.
        fs::write(directory.path().join("..env.stack-a1b2c3"), "secret").unwrap();
        write_atomically(&path, b"y", 0o600, Path::new("/nonexistent")).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_failed_write_leaves_no_temporary_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("taken");
        fs::create_dir(&path).unwrap();
        assert!(write_atomically(&path, b"x", 0o600, directory.path()).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
