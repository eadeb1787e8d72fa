//! One port, reserved: a socket that is bound and never listens.
//!
//! The kernel is the arbiter. A bind of `[::]:port` without `SO_REUSEADDR` and with
//! `IPV6_V6ONLY` off is refused by every TCP socket that could disturb a server there: listeners on
//! any single address, sockets that are bound but do not listen, and leftovers in TIME_WAIT. So
//! the bind is the probe and the reservation in one step, and no file is needed for correctness.
//! UDP follows the same rules among its own sockets; a port of both protocols is two sockets.
//!
//! The option may be flipped later, and takes effect at once (measured on Linux 6.18): *hard*
//! (off, as born) nobody else can bind; *soft* (on) exactly the binders that set the option can,
//! which nearly every TCP server does, and few UDP servers. A socket that is *born* with the option
//! is not a lock at all.
//!
//! A hold may also listen itself, for a server that takes its listener over ([`Hold::listen`]).
//!
//! Neighbours: [`reclaim`](super::reclaim) takes a port back through TIME_WAIT,
//! [`allocate()`](super::allocate()) takes many.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::stat::fstat;
use socket2::{Domain, Socket, Type};

use crate::support::protocol::Protocol;

/// A reserved port; dropping it frees the port.
///
/// The sockets are close-on-exec, so no child inherits them: a leaked one would keep the port for
/// as long as the child lives.
#[derive(Debug)]
pub struct Hold {
    port: u16,
    protocol: Protocol,
    /// One socket for each transport, TCP first.
    sockets: Vec<Socket>,
}

/// How many clients may wait to be accepted; the kernel cuts it to `net.core.somaxconn`, 4096 by
/// default since Linux 5.4 (listen(2)).
const BACKLOG: i32 = 4096;

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
    /// Takes TCP `port` (1 to 65535) on every address, hard.
    pub fn take(port: u16) -> Result<Self, HoldError> {
        Self::take_of(Protocol::Tcp, port)
    }

    /// Takes `port` of a protocol on every address, hard; of both protocols, or of neither.
    pub fn take_of(protocol: Protocol, port: u16) -> Result<Self, HoldError> {
        let take = |&part: &Protocol| {
            let (socket, address) = unbound(part, port)?;
            socket.bind(&address.into())?;
            Ok(socket)
        };
        Ok(Self {
            port,
            protocol,
            sockets: protocol
                .parts()
                .iter()
                .map(take)
                .collect::<Result<_, HoldError>>()?,
        })
    }

    /// Wraps a TCP socket that is bound to `port`, hard and not listening.
    pub(crate) fn from_bound(port: u16, socket: Socket) -> Self {
        Self {
            port,
            protocol: Protocol::Tcp,
            sockets: vec![socket],
        }
    }

    /// A hold of both protocols from one of each, on the same port.
    pub(crate) fn pair(tcp: Self, udp: Self) -> Self {
        let mut sockets = tcp.sockets;
        sockets.extend(udp.sockets);
        Self {
            port: tcp.port,
            protocol: Protocol::Both,
            sockets,
        }
    }

    /// The number.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Lets nobody bind the port, whatever options they set. The state in which a hold is born.
    /// A server that listens already is not disturbed, but cannot close and bind again.
    pub fn harden(&self) -> io::Result<()> {
        self.sockets
            .iter()
            .try_for_each(|socket| socket.set_reuse_address(false))
    }

    /// Lets those bind that set `SO_REUSEADDR`: the server for which the port is held, and, as
    /// the kernel cannot tell them apart, anybody else who sets it. So only just before the server
    /// is executed.
    pub fn soften(&self) -> io::Result<()> {
        self.sockets
            .iter()
            .try_for_each(|socket| socket.set_reuse_address(true))
    }

    /// Makes the hold itself the listener that a server takes over. Clients queue from now on, also
    /// while no server runs. A UDP socket receives without this.
    ///
    /// The option is set first: connections that end later on leave the port in TIME_WAIT, which
    /// would keep this very socket from listening again (measured).
    pub fn listen(&self) -> io::Result<()> {
        for socket in self.streams() {
            // As long as it listens nobody else can, whatever they set. A UDP socket stays as it is:
            // beside one with the option anybody else could be bound.
            socket.set_reuse_address(true)?;
            socket.listen(BACKLOG)?;
        }
        Ok(())
    }

    /// Ends [`Self::listen`]: clients that waited are reset, new ones refused; the port stays held,
    /// hard. Does nothing to a hold that does not listen.
    pub fn stop_listening(&self) -> io::Result<()> {
        for socket in self.streams() {
            if socket.is_listener()? {
                socket.shutdown(Shutdown::Both)?;
            }
        }
        self.harden()
    }

    /// The sockets, TCP first, for a server that takes them over.
    pub fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(AsFd::as_fd)
    }

    /// The inodes of the sockets, by which the kernel's tables name them.
    pub fn inodes(&self) -> impl Iterator<Item = u64> {
        let inode = |socket| Some(fstat(socket).ok()?.st_ino);
        self.sockets().filter_map(inode)
    }

    fn streams(&self) -> impl Iterator<Item = &Socket> {
        self.sockets
            .iter()
            .zip(self.protocol.parts())
            .filter(|(_, part)| part.has_tcp())
            .map(|(socket, _)| socket)
    }
}

/// Sockets that only lack a port. Making one takes longer than binding it, and somebody may wait
/// while ports are tried.
#[derive(Debug)]
pub(crate) struct Blanks(HashMap<Protocol, Vec<(Socket, SocketAddr)>>);

impl Blanks {
    /// One for each transport of each protocol, or as many as there can be; who finds none makes
    /// one.
    pub(crate) fn new(protocols: impl IntoIterator<Item = Protocol>) -> Self {
        let mut blanks = Self(HashMap::new());
        for &part in protocols.into_iter().flat_map(Protocol::parts) {
            let Ok(blank) = unbound(part, 1) else {
                break;
            };
            blanks.of(part).push(blank);
        }
        blanks
    }

    /// As [`Hold::take_of`]. `part` is TCP or UDP.
    pub(crate) fn take(&mut self, part: Protocol, port: u16) -> Result<Hold, HoldError> {
        let blank = if port == 0 { None } else { self.of(part).pop() };
        let Some((socket, mut address)) = blank else {
            return Hold::take_of(part, port);
        };
        address.set_port(port);
        match socket.bind(&address.into()) {
            Ok(()) => Ok(Hold {
                port,
                protocol: part,
                sockets: vec![socket],
            }),
            Err(error) => {
                // It is as unbound as before.
                self.of(part).push((socket, address));
                Err(error.into())
            }
        }
    }

    fn of(&mut self, part: Protocol) -> &mut Vec<(Socket, SocketAddr)> {
        self.0.entry(part).or_default()
    }
}

/// A socket as a hold needs it before the bind, and the address to bind it to. `part` is TCP or
/// UDP.
pub(crate) fn unbound(part: Protocol, port: u16) -> Result<(Socket, SocketAddr), HoldError> {
    if port == 0 {
        // To the kernel, 0 means "any port", which would be another one than the caller thinks.
        return Err(HoldError::System(io::ErrorKind::InvalidInput.into()));
    }
    let (kind, protocol) = match part {
        Protocol::Tcp | Protocol::Both => (Type::STREAM, socket2::Protocol::TCP),
        Protocol::Udp => (Type::DGRAM, socket2::Protocol::UDP),
    };
    // socket2 sets SOCK_CLOEXEC.
    match Socket::new(Domain::IPV6, kind, Some(protocol)) {
        Ok(socket) => {
            socket.set_only_v6(false)?;
            Ok((socket, (Ipv6Addr::UNSPECIFIED, port).into()))
        }
        // A kernel without IPv6. One where it is only switched off by sysctl still binds `[::]`.
        Err(error) if error.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32) => {
            let socket = Socket::new(Domain::IPV4, kind, Some(protocol))?;
            Ok((socket, (Ipv4Addr::UNSPECIFIED, port).into()))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
