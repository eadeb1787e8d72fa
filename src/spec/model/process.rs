//! What a service says of its process itself: whose it is, and what it may take.

use indexmap::IndexMap;
use nix::libc;

use super::{Setting, Span};
use crate::spec::template::Template;
use crate::support::name::PortName;
use crate::support::protocol::Protocol;

/// The keys that are about the process itself.
#[derive(Debug, Clone, Default)]
pub struct ProcessSpec {
    /// `user:`, a name or number, with a group after a colon if there is one.
    pub user: Option<Template>,
    /// `group_add:`, names or numbers.
    pub group_add: Vec<Template>,
    /// `umask:`.
    pub umask: Option<Setting<u32>>,
    /// `nice:`.
    pub nice: Option<Setting<i32>>,
    /// `oom_score_adj:`.
    pub oom_score_adj: Option<Setting<i32>>,
    /// `tty:`.
    pub tty: bool,
    /// `stdin_open:`.
    pub stdin_open: bool,
    /// `ulimits:`, by the number of the resource (see [`LIMITS`]).
    pub ulimits: IndexMap<u32, UlimitSpec>,
}

/// One of `ulimits:`.
#[derive(Debug, Clone)]
pub struct UlimitSpec {
    /// What counts.
    pub soft: Setting<u64>,
    /// How far the process itself may raise it.
    pub hard: Setting<u64>,
}

/// An entry of `ports:` or `expose:`: a port on which the command listens.
#[derive(Debug, Clone)]
pub enum ListedPort {
    /// A placeholder, which declares it or refers to it.
    Placeholder(Template),
    /// A number, which the entry itself declares.
    Number {
        /// The name, if it was given one.
        name: Option<PortName>,
        /// The number.
        port: u16,
        /// What travels over it.
        protocol: Protocol,
        /// Where it stands.
        span: Span,
    },
}

/// The limits by their names, as the engine calls them (setrlimit(2)).
pub const LIMITS: [(&str, u32); 16] = [
    ("as", libc::RLIMIT_AS),
    ("core", libc::RLIMIT_CORE),
    ("cpu", libc::RLIMIT_CPU),
    ("data", libc::RLIMIT_DATA),
    ("fsize", libc::RLIMIT_FSIZE),
    ("locks", libc::RLIMIT_LOCKS),
    ("memlock", libc::RLIMIT_MEMLOCK),
    ("msgqueue", libc::RLIMIT_MSGQUEUE),
    ("nice", libc::RLIMIT_NICE),
    ("nofile", libc::RLIMIT_NOFILE),
    ("nproc", libc::RLIMIT_NPROC),
    ("rss", libc::RLIMIT_RSS),
    ("rtprio", libc::RLIMIT_RTPRIO),
    ("rttime", libc::RLIMIT_RTTIME),
    ("sigpending", libc::RLIMIT_SIGPENDING),
    ("stack", libc::RLIMIT_STACK),
];
