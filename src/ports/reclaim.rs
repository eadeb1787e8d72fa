//! Back through TIME_WAIT: a port on which only closed connections are left.
//!
//! After a server closed live connections, the kernel refuses a strict bind of its port for a
//! minute (measured: 61.8 s), which would give every restarted stack new ports. A binder with
//! `SO_REUSEADDR` gets it at once, but such a bind is not a reservation. `listen` is one: the kernel
//! lets only one socket listen on a port, so of two reclaimers one fails there. Hence: bind
//! with the option, listen, clear the option, and leave the listening state by `shutdown`, after
//! which the socket is bound and hard like any other hold.
//!
//! A client that connects in the few microseconds in between gets a reset.

use std::net::Shutdown;

use super::hold::{Hold, HoldError, unbound};
use super::sockets;
use super::who::SocketRole;
use crate::support::protocol::Protocol;

/// Takes `port` like [`Hold::take_of`], and also where nothing but leftovers is on it. UDP leaves
/// none.
///
/// Leftovers of a server that never set `SO_REUSEADDR` cannot be reclaimed by anybody; the port
/// is taken then.
pub fn take_or_reclaim(protocol: Protocol, port: u16) -> Result<Hold, HoldError> {
    match protocol {
        Protocol::Udp => Hold::take_of(protocol, port),
        Protocol::Tcp => take_tcp(port),
        Protocol::Both => {
            let udp = Hold::take_of(Protocol::Udp, port)?;
            Ok(Hold::pair(take_or_reclaim(Protocol::Tcp, port)?, udp))
        }
    }
}

/// How often a port is tried that is taken by nobody.
const LOOKS: usize = 4;

/// A kernel that does not show bound sockets (before 6.8) has only leftovers to show beside a soft hold,
/// too; that is why the allocator asks the ledger for live holders first.
fn take_tcp(port: u16) -> Result<Hold, HoldError> {
    for _ in 0..LOOKS {
        match Hold::take(port) {
            Err(HoldError::Taken) => {}
            taken => return taken,
        }
        let sockets = sockets::on_port(Protocol::Tcp, port).unwrap_or_default();
        let is_leftover = |socket| SocketRole::of(socket) == SocketRole::Leftover;
        if !sockets.iter().all(is_leftover) {
            break;
        }
        if !sockets.is_empty() {
            return reclaim(port);
        }
        // A connection on its way to TIME_WAIT keeps the port, and for a moment it is in no table (seen
        // with Linux 6.18, once in a hundred times on a busy machine).
        std::thread::yield_now();
    }
    Err(HoldError::Taken)
}

fn reclaim(port: u16) -> Result<Hold, HoldError> {
    let (socket, address) = unbound(Protocol::Tcp, port)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(1)?;
    socket.set_reuse_address(false)?;
    socket.shutdown(Shutdown::Both)?;
    Ok(Hold::from_bound(port, socket))
}

#[cfg(test)]
mod tests;
