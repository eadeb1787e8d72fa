//! One port, reserved: a socket that is bound and never listens.
//!
//! The kernel is the arbiter. A bind of `[::]:port` without `SO_REUSEADDR` and with
//! `IPV6_V6ONLY` off is refused by every TCP socket that could disturb a server there: listeners on
//! any single address, sockets that are bound but do not listen, and leftovers in TIME_WAIT. So
//! the bind is the probe and the reservation in one step, and no file is needed for correctness.
//!
//! The option may be flipped later, and takes effect at once (measured on Linux 6.18): *hard*
//! (off, as born) nobody else can bind; *soft* (on) exactly the binders that set the option can,
//! which nearly every server does. A socket that is *born* with the option is no lock at all.
//!
//! Neighbours: [`reclaim`](super::reclaim) takes a port back through TIME_WAIT,
//! [`allocate()`](super::allocate()) takes many.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};

/// A reserved TCP port; dropping it frees the port.
///
/// The socket is close-on-exec, so no child inherits it: a leaked one would keep the port for as
/// long as the child lives.
#[derive(Debug)]
pub struct Hold {
    port: u16,
    socket: Socket,
}

/// Why a port could not be held.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// Some socket has it; `EADDRINUSE`.
    #[error("the port is taken")]
    Taken,
    /// The system does not let this user have it; `EACCES`: below `ip_unprivileged_port_start`
    /// (ip(7)), or excluded by a policy.
    #[error("the system does not allow this port")]
    Denied,
    /// The process, or the whole system, has no file descriptor left; `EMFILE` or `ENFILE`.
    #[error("no file descriptor is left for another port")]
    TooManyFiles(#[source] io::Error),
    /// Anything else.
    #[error("the port cannot be held")]
    System(#[source] io::Error),
}

impl From<io::Error> for HoldError {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EADDRINUSE) => Self::Taken,
            Some(Errno::EACCES) => Self::Denied,
            Some(Errno::EMFILE | Errno::ENFILE) => Self::TooManyFiles(error),
            _ => Self::System(error),
        }
    }
}

impl Hold {
    /// Takes `port` (1 to 65535) on every address, hard.
    pub fn take(port: u16) -> Result<Self, HoldError> {
        let (socket, address) = unbound(port)?;
        socket.bind(&address.into())?;
        Ok(Self { port, socket })
    }

    /// Wraps a socket that is bound to `port`, hard and not listening.
    pub(crate) fn from_bound(port: u16, socket: Socket) -> Self {
        Self { port, socket }
    }

    /// The number.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Lets nobody bind the port, whatever options they set. The state in which a hold is born.
    /// A server that listens already is not disturbed, but cannot close and bind again.
    pub fn harden(&self) -> io::Result<()> {
        self.socket.set_reuse_address(false)
    }

    /// Lets those bind that set `SO_REUSEADDR`: the server for which the port is held, and, as
    /// the kernel cannot tell them apart, anybody else who sets it. So only just before the server
    /// is executed.
    pub fn soften(&self) -> io::Result<()> {
        self.socket.set_reuse_address(true)
    }

    /// Whether the hold is soft.
    pub fn is_soft(&self) -> io::Result<bool> {
        self.socket.reuse_address()
    }
}

/// Sockets that only lack a port. Making one takes longer than binding it, and somebody may wait
/// while ports are tried.
pub(crate) struct Blanks(Vec<(Socket, SocketAddr)>);

impl Blanks {
    /// So many, or as many as there can be; who finds none makes one.
    pub(crate) fn new(count: usize) -> Self {
        Self((0..count).map_while(|_| unbound(1).ok()).collect())
    }

    /// As [`Hold::take`].
    pub(crate) fn take(&mut self, port: u16) -> Result<Hold, HoldError> {
        if port == 0 {
            return Hold::take(port);
        }
        let Some((socket, mut address)) = self.0.pop() else {
            return Hold::take(port);
        };
        address.set_port(port);
        match socket.bind(&address.into()) {
            Ok(()) => Ok(Hold { port, socket }),
            Err(error) => {
                // It is as unbound as before.
                self.0.push((socket, address));
                Err(error.into())
            }
        }
    }
}

impl AsFd for Hold {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl From<Hold> for OwnedFd {
    /// The bound socket, for handing it to a server that takes its listener over.
    fn from(hold: Hold) -> Self {
        hold.socket.into()
    }
}

/// A socket as a hold needs it before the bind, and the address to bind it to.
pub(crate) fn unbound(port: u16) -> Result<(Socket, SocketAddr), HoldError> {
    if port == 0 {
        // To the kernel, 0 means "any port", which would be another one than the caller thinks.
        return Err(HoldError::System(io::ErrorKind::InvalidInput.into()));
    }
    // socket2 sets SOCK_CLOEXEC.
    match Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP)) {
        Ok(socket) => {
            socket.set_only_v6(false)?;
            Ok((socket, (Ipv6Addr::UNSPECIFIED, port).into()))
        }
        // A kernel without IPv6. One where it is only switched off by sysctl still binds `[::]`.
        Err(error) if error.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32) => {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
            Ok((socket, (Ipv4Addr::UNSPECIFIED, port).into()))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
