//! Evidence about a server that could not have its port: who else is there, and whether it would
//! have needed to be alone.

use std::io;

use socket2::SockRef;

use super::sock_diag::{self, Socket};
use super::system::{copy_of, descriptors_of};
use crate::support::protocol::Protocol;

/// Every socket on a port, in whatever state, but for those with the inodes `own`: what could have
/// refused a server besides its own hold.
///
/// Linux before 6.8 does not show TCP sockets that are bound without listening.
pub fn strangers_on(protocol: Protocol, port: u16, own: &[u64]) -> io::Result<Vec<Socket>> {
    let mut sockets = sock_diag::on_port_of(protocol, port)?;
    sockets.retain(|socket| !own.contains(&socket.inode));
    Ok(sockets)
}

/// Whether the socket by which process `pid` serves `port` has `SO_REUSEADDR`; `None` where that
/// cannot be asked: it is asked of a copy of the socket (`pidfd_getfd(2)`, Linux 5.6), which needs
/// the right to trace the process. Never known on macOS.
pub fn reuses_address(pid: i32, protocol: Protocol, port: u16) -> Option<bool> {
    let sockets = sock_diag::on_port_of(protocol, port).ok()?;
    let mut answers = descriptors_of(pid)
        .ok()?
        .into_iter()
        .filter(|&(_, inode)| {
            let is_its = |socket: &Socket| socket.inode == inode && socket.serves();
            sockets.iter().any(is_its)
        })
        .map(|(descriptor, _)| {
            let copy = copy_of(pid, descriptor)?;
            SockRef::from(&copy).reuse_address().ok()
        })
        .peekable();
    answers.peek()?;
    // Of several sockets each must let a hold stand beside it.
    answers.try_fold(true, |all, answer| Some(all && answer?))
}

#[cfg(test)]
mod tests {
    use crate::ports::Hold;
    use crate::ports::testing::{Made, in_own_network, listener, socket};

    use super::*;

    fn me() -> i32 {
        i32::try_from(std::process::id()).unwrap()
    }

    #[test]
    fn a_server_is_asked_for_its_option() {
        in_own_network(|| {
            let made = Made {
                reuse: false,
                ..Made::LISTENER
            };
            let _strict = socket("127.0.0.1:8000".parse().unwrap(), made).unwrap();
            let _usual = listener("127.0.0.1:8001");
            assert_eq!(reuses_address(me(), Protocol::Tcp, 8000), Some(false));
            assert_eq!(reuses_address(me(), Protocol::Tcp, 8001), Some(true));
            assert_eq!(reuses_address(me(), Protocol::Tcp, 8002), None);
        });
    }

    #[test]
    fn a_hold_is_no_stranger_and_everybody_else_is() {
        in_own_network(|| {
            let hold = Hold::take(8000).unwrap();
            let own: Vec<u64> = hold.inodes().collect();
            assert_eq!(strangers_on(Protocol::Tcp, 8000, &own).unwrap(), []);
            hold.soften().unwrap();
            let _bound = socket(
                "127.0.0.1:8000".parse().unwrap(),
                Made {
                    listen: false,
                    ..Made::LISTENER
                },
            )
            .unwrap();
            assert_eq!(strangers_on(Protocol::Tcp, 8000, &own).unwrap().len(), 1);
        });
    }
}
