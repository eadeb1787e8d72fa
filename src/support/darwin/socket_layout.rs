//! Reads the `struct socket_fdinfo` of `<sys/proc_info.h>`, by which the kernel describes one
//! socket of one process.
//!
//! The offsets are those of every 64-bit macOS, on both processors: the structure is a part of the
//! system's interface, made of fields with fixed sizes, and its size is checked by the kernel, which
//! writes nothing into a buffer that is too short.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `PROC_PIDFDSOCKETINFO_SIZE`: a `proc_fileinfo` and a `socket_info`.
pub(super) const SIZE: usize = 792;

/// Where the `socket_info` begins; the offsets below count from here.
const SOCKET: usize = 24;
/// `soi_stat.vst_uid`.
const UID: usize = 16;
/// `soi_so`.
const IDENTITY: usize = 136;
/// `soi_protocol`.
const PROTOCOL: usize = 156;
/// `soi_family`.
const FAMILY: usize = 160;
/// `soi_proto`, a union that begins with an `in_sockinfo` for TCP and for UDP alike.
const INTERNET: usize = 240;
/// `insi_fport`, in network byte order in the first two of four bytes.
const FOREIGN_PORT: usize = INTERNET;
/// `insi_lport`, likewise.
const LOCAL_PORT: usize = INTERNET + 4;
/// `insi_vflag`.
const VERSION: usize = INTERNET + 24;
/// `insi_faddr`: 16 bytes, of which IPv4 uses the last four.
const FOREIGN_ADDRESS: usize = INTERNET + 32;
/// `insi_laddr`, likewise.
const LOCAL_ADDRESS: usize = INTERNET + 48;
/// `tcpsi_state`, behind the `in_sockinfo` of a TCP socket.
const STATE: usize = INTERNET + 80;

/// `AF_INET` and `AF_INET6` there.
const FAMILIES: [u32; 2] = [2, 30];
/// `INI_IPV6`.
const VERSION_6: u8 = 2;
/// `IPPROTO_TCP`, `IPPROTO_UDP`.
const TCP: u32 = 6;
const UDP: u32 = 17;

/// Which transport a socket is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// TCP, with its state in the kernel's numbers (`<netinet/tcp_fsm.h>`).
    Tcp(u32),
    /// UDP.
    Udp,
}

/// An internet socket that a process has open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Socket {
    /// The same for every descriptor of one socket, in whatever process, and for no other socket.
    pub(crate) identity: u64,
    /// The user who created it.
    pub(crate) uid: u32,
    /// TCP or UDP.
    pub(crate) transport: Transport,
    /// The local address; `::` also for a socket that serves IPv4 and IPv6.
    pub(crate) address: IpAddr,
    /// The local port; 0 while it is not bound.
    pub(crate) port: u16,
    /// The address at the other end of a connection.
    pub(crate) foreign_address: IpAddr,
    /// The port at the other end; 0 without one.
    pub(crate) foreign_port: u16,
}

/// `None` for a socket that is neither TCP nor UDP.
pub(super) fn read(bytes: &[u8; SIZE]) -> Option<Socket> {
    let info = &bytes[SOCKET..];
    if !FAMILIES.contains(&number(info, FAMILY)?) {
        return None;
    }
    let transport = match number(info, PROTOCOL)? {
        TCP => Transport::Tcp(number(info, STATE)?),
        UDP => Transport::Udp,
        _ => return None,
    };
    // The flags and not the family say how the address is written: a socket of IPv6 may be bound
    // to an address of IPv4. One that serves both has both flags and the address `::`.
    let address = |at: usize| -> Option<IpAddr> {
        let sixteen: [u8; 16] = *info.get(at..)?.first_chunk()?;
        Some(if info[VERSION] & VERSION_6 != 0 {
            IpAddr::V6(Ipv6Addr::from(sixteen)).to_canonical()
        } else {
            let [.., a, b, c, d] = sixteen;
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        })
    };
    Some(Socket {
        identity: u64::from_ne_bytes(*info.get(IDENTITY..)?.first_chunk()?),
        uid: number(info, UID)?,
        transport,
        address: address(LOCAL_ADDRESS)?,
        port: port(info, LOCAL_PORT)?,
        foreign_address: address(FOREIGN_ADDRESS)?,
        foreign_port: port(info, FOREIGN_PORT)?,
    })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn port(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(parts: &[(usize, &[u8])]) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        for (at, part) in parts {
            bytes[SOCKET + at..][..part.len()].copy_from_slice(part);
        }
        bytes
    }

    #[test]
    fn a_listener_for_everybody_and_one_of_ipv4() {
        let common: [(usize, &[u8]); 4] = [
            (UID, &501_u32.to_ne_bytes()),
            (IDENTITY, &77_u64.to_ne_bytes()),
            (PROTOCOL, &TCP.to_ne_bytes()),
            (LOCAL_PORT, &8003_u16.to_be_bytes()),
        ];
        let with = |more: &[(usize, &[u8])]| read(&bytes(&[&common, more].concat()));
        let everybody = with(&[
            (FAMILY, &30_u32.to_ne_bytes()),
            (STATE, &1_u32.to_ne_bytes()),
            (VERSION, &[3]),
        ]);
        let expected = Socket {
            identity: 77,
            uid: 501,
            transport: Transport::Tcp(1),
            address: "::".parse().unwrap(),
            port: 8003,
            foreign_address: "::".parse().unwrap(),
            foreign_port: 0,
        };
        assert_eq!(everybody, Some(expected));
        let connected = with(&[
            (FAMILY, &2_u32.to_ne_bytes()),
            (STATE, &4_u32.to_ne_bytes()),
            (VERSION, &[1]),
            (LOCAL_ADDRESS + 12, &[127, 0, 0, 1]),
            (FOREIGN_ADDRESS + 12, &[127, 0, 0, 2]),
            (FOREIGN_PORT, &50000_u16.to_be_bytes()),
        ]);
        let expected = Socket {
            transport: Transport::Tcp(4),
            address: "127.0.0.1".parse().unwrap(),
            foreign_address: "127.0.0.2".parse().unwrap(),
            foreign_port: 50000,
            ..expected
        };
        assert_eq!(connected, Some(expected));
    }

    #[test]
    fn only_tcp_and_udp_are_read() {
        let of = |family: u32, protocol: u32| {
            read(&bytes(&[
                (FAMILY, &family.to_ne_bytes()),
                (PROTOCOL, &protocol.to_ne_bytes()),
            ]))
            .map(|socket| socket.transport)
        };
        assert_eq!(of(2, UDP), Some(Transport::Udp));
        assert_eq!(of(30, TCP), Some(Transport::Tcp(0)));
        assert_eq!(of(1, 0), None, "a unix socket");
        assert_eq!(of(2, 1), None, "ICMP");
    }
}
