//! The socket on which a replica says how it is.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};

use fs_err as fs;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, setsockopt, sockopt::PassCred,
};
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::{Word, words};
use crate::run::belongings::{clear_socket, give_socket};
use crate::run::process::Identity;
use crate::run::socket::bind_datagram;
use crate::support::name::UnitId;

/// The longest message, in bytes; what is longer is cut. systemd takes 4096.
const MESSAGE_LIMIT: usize = 4096;

/// Something that was said.
#[derive(Debug)]
pub(crate) struct Heard {
    /// Of whom.
    pub(crate) unit: UnitId,
    /// Of which attempt.
    pub(crate) attempt: u32,
    /// Who said it, as the kernel vouches for it; 0 where it cannot see that process.
    pub(crate) pid: i32,
    /// What.
    pub(crate) words: Vec<Word>,
    /// What came with it. That it is closed tells whoever waits (`BARRIER=1`) that it was taken in.
    pub(crate) passed: Passed,
}

/// Descriptors of others, which are closed.
#[derive(Debug, Default)]
pub(crate) struct Passed(Vec<RawFd>);

impl Drop for Passed {
    fn drop(&mut self) {
        for fd in self.0.drain(..) {
            // What is closed already needs no closing.
            let _ = nix::unistd::close(fd);
        }
    }
}

/// The socket of one attempt, at its path as long as this lives.
#[derive(Debug)]
pub(crate) struct NotifySocket {
    path: PathBuf,
    task: AbortHandle,
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        self.task.abort();
        drop(fs::remove_file(&self.path));
    }
}

impl NotifySocket {
    /// Makes the socket, on which `owner` may speak, and hands over what is said on it.
    pub(crate) fn bind(
        path: &Path,
        owner: Option<&Identity>,
        (unit, attempt): (UnitId, u32),
        heard_tx: mpsc::UnboundedSender<Heard>,
    ) -> io::Result<Self> {
        clear_socket(path, owner)?;
        let socket = bind_datagram(path)?;
        give_socket(path, owner)?;
        setsockopt(&socket, PassCred, &true)?;
        let socket = UnixDatagram::from_std(socket)?;
        let task = tokio::task::spawn_local(async move {
            while let Ok((pid, words, passed)) = socket
                .async_io(Interest::READABLE, || receive(&socket))
                .await
            {
                let heard = Heard {
                    unit: unit.clone(),
                    attempt,
                    pid,
                    words,
                    passed,
                };
                if heard_tx.send(heard).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            path: path.to_path_buf(),
            task: task.abort_handle(),
        })
    }
}

/// Takes one message: who sent it, what it says, and what came with it.
fn receive(socket: &UnixDatagram) -> io::Result<(i32, Vec<Word>, Passed)> {
    let mut text = [0; MESSAGE_LIMIT];
    let mut control = nix::cmsg_space!(nix::sys::socket::UnixCredentials, [RawFd; 16]);
    let mut parts = [IoSliceMut::new(&mut text)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let mut pid = 0;
    let mut passed = Passed::default();
    // What did not fit was closed by the kernel.
    for part in message.cmsgs().into_iter().flatten() {
        match part {
            ControlMessageOwned::ScmCredentials(sender) => pid = sender.pid(),
            ControlMessageOwned::ScmRights(fds) => passed.0.extend(fds),
            _ => {}
        }
    }
    let length = message.bytes;
    Ok((pid, words(&text[..length]), passed))
}
