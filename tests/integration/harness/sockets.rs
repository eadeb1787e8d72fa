//! Ports that are taken, in all the ways in which a port can be.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{PoisonError, RwLock};

use socket2::{Domain, Socket, Type};

use super::network::Network;

/// A way to take a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occupied {
    /// Listening on 127.0.0.1.
    Loopback,
    /// Listening on 127.0.0.2, which stands for any address but the usual one.
    OtherV4,
    /// Listening on 0.0.0.0.
    AnyV4,
    /// Listening on `::1`.
    LoopbackV6,
    /// Listening on `::`, IPv4 included.
    AnyDual,
    /// Listening on `::`, IPv6 alone.
    AnyV6,
    /// Bound to 127.0.0.1 with `SO_REUSEADDR`, not listening.
    BoundOnly,
    /// Bound to 127.0.0.1 without `SO_REUSEADDR`, not listening.
    BoundStrictly,
}

impl Occupied {
    /// All of them.
    pub(crate) const ALL: [Self; 8] = [
        Self::Loopback,
        Self::OtherV4,
        Self::AnyV4,
        Self::LoopbackV6,
        Self::AnyDual,
        Self::AnyV6,
        Self::BoundOnly,
        Self::BoundStrictly,
    ];

    /// Takes `port`, for as long as what this returns lives.
    #[track_caller]
    pub(crate) fn take(self, network: &Network, port: u16) -> Taken {
        let socket = network
            .enter(|| self.bind(port))
            .unwrap_or_else(|error| panic!("cannot take {port} as {self:?}: {error}"));
        Taken(Some(socket))
    }

    fn bind(self, port: u16) -> std::io::Result<Socket> {
        let host: IpAddr = match self {
            Self::Loopback | Self::BoundOnly | Self::BoundStrictly => Ipv4Addr::LOCALHOST.into(),
            Self::OtherV4 => Ipv4Addr::new(127, 0, 0, 2).into(),
            Self::AnyV4 => Ipv4Addr::UNSPECIFIED.into(),
            Self::LoopbackV6 => Ipv6Addr::LOCALHOST.into(),
            Self::AnyDual | Self::AnyV6 => Ipv6Addr::UNSPECIFIED.into(),
        };
        let address = SocketAddr::new(host, port);
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if address.is_ipv6() {
            socket.set_only_v6(self != Self::AnyDual)?;
        }
        socket.set_reuse_address(self != Self::BoundStrictly)?;
        socket.bind(&address.into())?;
        if !matches!(self, Self::BoundOnly | Self::BoundStrictly) {
            socket.listen(16)?;
        }
        Ok(socket)
    }
}

/// A port that is taken; once this is dropped, it is free at once.
pub(crate) struct Taken(Option<Socket>);

impl Drop for Taken {
    fn drop(&mut self) {
        let _nobody_forks = FORKS.write().unwrap_or_else(PoisonError::into_inner);
        drop(self.0.take());
    }
}

/// Shared by whoever starts a program, from before the fork to after the exec: until then the child
/// has a copy of every socket of this process, and a port that another test gives back is not free.
static FORKS: RwLock<()> = RwLock::new(());

/// Does something that starts a program and returns once that was executed.
pub(crate) fn forking<T>(work: impl FnOnce() -> T) -> T {
    let _somebody_forks = FORKS.read().unwrap_or_else(PoisonError::into_inner);
    work()
}
