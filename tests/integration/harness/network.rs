//! A network in which nothing else listens.
//!
//! As root: a network namespace with its own loopback. It belongs to a *thread*, so it is made in
//! one that ends at once and is kept by an open file; whoever needs it enters it in a thread of
//! their own. Sockets stay where they were made, and children are where their parent's thread was,
//! so nothing has to run between fork and exec.
//!
//! For ordinary users: a range of ports that no other test has, for as long as the socket lives that
//! claims it; a socket, since that is what users share without sharing files. (`unshare --user
//! --map-root-user cargo test` gives them namespaces as well.)

use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;

use netlink_sys::protocols::NETLINK_ROUTE;
use nix::sched::{CloneFlags, setns, unshare};
use socket2::{Domain, Socket, Type};

use super::waiting::{LIMIT, wait_at_most};

/// The first port of the default range of `stack`, by which tests name ports.
const FIRST: u16 = 8000;

/// Where the ranges of ordinary users begin, how many there are, and how wide each is. They end
/// below the ports that the kernel gives to clients. The port of a range's claim stands below them.
const CLAIMS_FROM: u16 = 11_800;
const RANGES_FROM: u16 = 12_000;
const RANGE_COUNT: u16 = 200;
const RANGE_WIDTH: u16 = 100;

/// Where a test's ports are.
pub(crate) enum Network {
    /// A network namespace of its own.
    Namespace(File),
    /// The machine's network, ports from `first` on.
    Range { first: u16, _claim: TcpListener },
}

impl Network {
    /// A namespace where that is allowed, else a range.
    pub(crate) fn new() -> Self {
        std::thread::scope(|scope| scope.spawn(make_namespace).join())
            .expect("the thread that makes a namespace does not panic")
            .unwrap_or_else(claim_range)
    }

    /// Does something inside.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let Self::Namespace(namespace) = self else {
            return work();
        };
        let inside = || {
            setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).expect("the namespace is ours");
            work()
        };
        std::thread::scope(|scope| scope.spawn(inside).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// The port of this network that a test calls `port`, counted from 8000.
    pub(crate) fn port(&self, port: u16) -> u16 {
        match self {
            Self::Namespace(_) => port,
            Self::Range { first, .. } => {
                assert!(
                    (FIRST..FIRST + RANGE_WIDTH).contains(&port),
                    "tests use the ports from {FIRST} to {}",
                    FIRST + RANGE_WIDTH - 1
                );
                port - FIRST + first
            }
        }
    }

    /// What stands under `ports:` where the file does not say it.
    pub(crate) fn range(&self) -> Option<String> {
        match self {
            Self::Namespace(_) => None,
            Self::Range { first, .. } => Some(format!("{first}-{}", first + RANGE_WIDTH - 1)),
        }
    }

    /// The link target by which `/proc` shows that a process is in this namespace.
    pub(crate) fn identity(&self) -> Option<String> {
        use std::os::unix::fs::MetadataExt;
        match self {
            Self::Namespace(file) => {
                let inode = file.metadata().expect("an open file has metadata").ino();
                Some(format!("net:[{inode}]"))
            }
            Self::Range { .. } => None,
        }
    }
}

/// `None` where the system does not allow it.
fn make_namespace() -> Option<Network> {
    unshare(CloneFlags::CLONE_NEWNET).ok()?;
    bring_loopback_up().expect("loopback comes up in a namespace that was just made");
    let file = File::open("/proc/thread-self/ns/net").expect("/proc is mounted");
    Some(Network::Namespace(file))
}

/// Sends the one netlink message that sets the flag `IFF_UP` of interface 1, which is `lo` in every
/// namespace. (The ioctl for it would need `unsafe`.)
fn bring_loopback_up() -> std::io::Result<()> {
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST_ACK: u16 = 1 | 4;
    const IFF_UP: u32 = 1;
    const LOOPBACK: i32 = 1;
    let mut message = Vec::with_capacity(32);
    // struct nlmsghdr: length, type, flags, sequence, sender.
    message.extend(32_u32.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(NLM_F_REQUEST_ACK.to_ne_bytes());
    message.extend([0; 8]);
    // struct ifinfomsg: family, padding, device type, index, flags, which of them change.
    message.extend([0; 4]);
    message.extend(LOOPBACK.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    let mut socket = netlink_sys::Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.send(&message, 0)?;
    // The answer is an nlmsghdr and an errno, negative or zero.
    let (answer, _) = socket.recv_from_full()?;
    let code: [u8; 4] = answer[16..20]
        .try_into()
        .expect("four bytes are four bytes");
    match i32::from_ne_bytes(code) {
        0 => Ok(()),
        code => Err(std::io::Error::from_raw_os_error(-code)),
    }
}

/// Claims a range that nobody has and nobody has just had: where an earlier test's servers closed
/// their connections first, the kernel keeps the ports for another minute.
fn claim_range() -> Network {
    let claimed = wait_at_most(3 * LIMIT, || {
        (0..RANGE_COUNT).find_map(|slot| {
            let claim = TcpListener::bind((Ipv4Addr::LOCALHOST, CLAIMS_FROM + slot)).ok()?;
            let first = RANGES_FROM + slot * RANGE_WIDTH;
            (first..first + RANGE_WIDTH)
                .all(is_untouched)
                .then_some(Network::Range {
                    first,
                    _claim: claim,
                })
        })
    });
    claimed.unwrap_or_else(|| panic!("all {RANGE_COUNT} ranges are in use"))
}

/// Whether nothing at all has to do with a port. (The sockets of `std` set `SO_REUSEADDR`, which
/// would not see what connections leave.)
fn is_untouched(port: u16) -> bool {
    let bound = Socket::new(Domain::IPV6, Type::STREAM, None).and_then(|socket| {
        socket.set_only_v6(false)?;
        socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())
    });
    bound.is_ok()
}
