//! Makes the control socket: 0600 in a 0700 directory of ours, before anyone can connect.
//!
//! The path comes from `api::socket_path`. Only the holder of the instance's lock may call
//! [`bind_listener`]: it removes a socket that an earlier supervisor left behind.

use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fs_err as fs;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::geteuid;
use socket2::{Domain, SockAddr, Socket, Type};

/// How many connections wait in the kernel before they are accepted.
const BACKLOG: i32 = 256;

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The directory is a link, a file, or cannot be opened.
    #[error("`{}` cannot be used for the control socket", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The directory is somebody else's, or others may write into it.
    #[error(
        "`{}` is not private (owner {owner}, mode {mode:04o}): the control socket is not made there",
        path.display()
    )]
    NotPrivate {
        /// The directory.
        path: PathBuf,
        /// The uid of its owner.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// Something that is not a socket has the socket's name.
    #[error("`{}` is in the way of the control socket", path.display())]
    InTheWay {
        /// The path of the socket.
        path: PathBuf,
    },
    /// The socket could not be made.
    #[error("failed to make the control socket `{}`", path.display())]
    Socket {
        /// The path of the socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Makes the socket at `path` and listens on it; a stale one is replaced.
///
/// The listener does not block and can be carried over a fork, before there is a runtime.
///
/// The directory is created if only it is missing; it must be ours, reached without following a
/// link, and not writable for others; a merely readable one is closed to 0700. The socket has mode
/// 0600 from the moment at which it has a name. The caller holds the instance's lock and removes
/// the socket by [`remove`] before it lets go.
pub fn bind_listener(path: &Path) -> Result<std::os::unix::net::UnixListener, SocketError> {
    prepare_directory(path.parent().unwrap_or(Path::new("/")))?;
    let failed = |source| SocketError::Socket {
        path: path.to_path_buf(),
        source,
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
        Ok(metadata) if metadata.file_type().is_socket() => remove_file(path).map_err(failed)?,
        Ok(_) => {
            let path = path.to_path_buf();
            return Err(SocketError::InTheWay { path });
        }
    }
    bind(path).map_err(failed)
}

/// The same in a directory below `temp_dir` whose name nobody can foresee.
pub fn bind_listener_below(
    temp_dir: &Path,
) -> Result<(PathBuf, std::os::unix::net::UnixListener), SocketError> {
    let made = tempfile::Builder::new()
        .prefix(UNFORESEEN)
        .permissions(PermissionsExt::from_mode(0o700))
        .tempdir_in(temp_dir);
    let directory = made.map_err(|source| SocketError::Directory {
        path: temp_dir.to_path_buf(),
        source,
    })?;
    let path = directory.path().join("control.sock");
    let listener = bind_listener(&path)?;
    let _ = directory.keep();
    Ok((path, listener))
}

/// How the name of a directory begins that is for one socket alone.
const UNFORESEEN: &str = "stack-of-one-";

/// Removes the socket's name; one that is gone already is fine. Only for the lock's holder.
pub fn remove(path: &Path) -> io::Result<()> {
    let removed = remove_file(path);
    let own = path.parent().filter(|directory| {
        let name = directory.file_name().unwrap_or_default();
        name.as_encoded_bytes().starts_with(UNFORESEEN.as_bytes())
    });
    // Nobody else has anything in there.
    own.map(fs::remove_dir);
    removed
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Makes a directory of ours, or sees that one that is there is ours and closed to others.
pub fn prepare_directory(directory: &Path) -> Result<(), SocketError> {
    let failed = |source| SocketError::Directory {
        path: directory.to_path_buf(),
        source,
    };
    match std::fs::DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    // The handle pins what is checked: a name that is swapped later is not what was looked at.
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let handle = open(directory, flags, Mode::empty())
        .map(File::from)
        .map_err(|errno| failed(errno.into()))?;
    let metadata = handle.metadata().map_err(failed)?;
    let mode = metadata.mode() & 0o7777;
    if metadata.uid() != geteuid().as_raw() || mode & 0o022 != 0 {
        return Err(SocketError::NotPrivate {
            path: directory.to_path_buf(),
            owner: metadata.uid(),
            mode,
        });
    }
    if mode & 0o077 != 0 {
        handle
            .set_permissions(PermissionsExt::from_mode(0o700))
            .map_err(failed)?;
    }
    Ok(())
}

fn bind(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    let socket = make(path, Type::STREAM)?;
    socket.listen(BACKLOG)?;
    Ok(std::os::fd::OwnedFd::from(socket).into())
}

/// Makes a socket at `path`, where nothing is, on which messages are taken. It does not block, and has
/// mode 0600 from the beginning.
pub(crate) fn bind_datagram(path: &Path) -> io::Result<std::os::unix::net::UnixDatagram> {
    let socket = make(path, Type::DGRAM)?;
    Ok(std::os::fd::OwnedFd::from(socket).into())
}

fn make(path: &Path, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    // The name gets the mode of the unnamed socket, less the umask. Unlike a umask of our own this
    // cannot leak into files that another thread creates meanwhile.
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // For an odd umask; before `listen` nobody can connect.
    fs::set_permissions(path, PermissionsExt::from_mode(0o600))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
