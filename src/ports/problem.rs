//! What can go wrong with a batch of ports, and what its user should know.

mod exhausted;

use std::fmt;
use std::io;

use crate::support::port_range::PortRange;
use crate::support::text;

use super::ledger::{Bad, LedgerWarning, StackPort};
use super::request::PortKey;
use super::who::Holder;

use exhausted::exhausted_hint;
pub use exhausted::{LeftOut, RangesOf};

/// Who or what stands on a port that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Occupant {
    /// A process, or what it left in the kernel.
    Process(Box<Holder>),
    /// A stack that holds it, or had it last; its process was not looked up.
    Stack(Box<StackPort>),
    /// Another port of this stack.
    Sibling(PortKey),
    /// Nobody: the system does not allow it.
    System,
    /// It was gone when it was looked up, or cannot be seen.
    Unknown,
}

impl fmt::Display for Occupant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(holder) => write!(f, "taken by {holder}"),
            Self::Stack(stack) => write!(f, "it is {stack}"),
            Self::Sibling(key) => {
                write!(f, "it is {key} here")
            }
            Self::System => f.write_str("not allowed by the system"),
            Self::Unknown => f.write_str("taken by a process that cannot be seen"),
        }
    }
}

/// Why a port was to have this very number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The file fixes it: `$<PORT:8080>`.
    Fixed,
    /// The caller wishes it.
    Wish,
    /// The file prefers it: `$<PORT:auto:5173>`.
    Preferred,
    /// It was this one last time.
    Sticky,
}

/// A number that a port was to have and did not get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// For which port.
    pub key: PortKey,
    /// The number.
    pub port: u16,
    /// Who asked for it.
    pub asked: Asked,
    /// Where a wish was found, for messages: `API_PORT in the environment`.
    pub origin: Option<String>,
    /// Why not.
    pub occupant: Occupant,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key,
            port,
            asked,
            origin,
            occupant,
        } = self;
        write!(f, "port {port} for {key}")?;
        match (asked, origin) {
            (_, Some(origin)) => write!(f, " ({origin})")?,
            (Asked::Sticky, None) => f.write_str(" (as last time)")?,
            (Asked::Fixed | Asked::Wish | Asked::Preferred, None) => {}
        }
        write!(f, ": {occupant}")
    }
}

/// Why no port of a batch was allocated.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Numbers that must not be replaced are not available: all of them, not only the first.
    #[error("{}", text::list(.0))]
    Refused(Vec<Refused>),
    /// There are too few free ports.
    #[error(
        "no free port left in {}: {wanted} wanted, {found} found",
        text::list(.ranges)
    )]
    Exhausted {
        /// Where it was looked.
        ranges: Vec<PortRange>,
        /// How many ports were to come from there.
        wanted: usize,
        /// How many were free.
        found: usize,
        /// Where the ranges come from.
        ranges_of: RangesOf,
        /// How many were not even tried.
        left_out: LeftOut,
        /// Who has the others, lowest port first; not those that are merely excluded.
        holders: Vec<Holder>,
    },
    /// No descriptor is left for a socket.
    #[error("{wanted} ports need more open files than the limit allows")]
    TooManyFiles {
        /// How many ports were asked for.
        wanted: usize,
        /// The limit of this process, if known.
        limit: Option<u64>,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The system refused a socket for another reason.
    #[error("port {port} cannot be tried")]
    System {
        /// The number.
        port: u16,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

impl PortError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Refused(refused) if refused.iter().all(|it| it.occupant == Occupant::System) => {
                "ports below 1024 need a privilege; write `auto` or a higher number".to_owned()
            }
            Self::Refused(refused) => {
                let fixed = refused.iter().any(|refused| refused.asked == Asked::Fixed);
                if fixed {
                    "stop what has the port, or write `auto:N` so that another one may be used"
                } else {
                    "stop what has the port, or let another one be used: leave out `--strict-ports`"
                }
                .to_owned()
            }
            Self::Exhausted {
                ranges,
                ranges_of,
                left_out,
                holders,
                ..
            } => exhausted_hint(ranges, *ranges_of, left_out, holders),
            Self::TooManyFiles { limit, .. } => match limit {
                Some(limit) => format!("the limit is {limit} (`ulimit -n`); raise the hard limit"),
                None => "raise the limit on open files (`ulimit -n`)".to_owned(),
            },
            Self::System { .. } => "see whether TCP sockets are allowed here".to_owned(),
        }
    }
}

/// How many ports a short list has.
const SOME: usize = 4;

/// `6000, 6566, 6665, 6666…`
fn some(ports: &[u16]) -> String {
    let mut listed = text::list(ports.iter().take(SOME));
    if ports.len() > SOME {
        listed.push('…');
    }
    listed
}

/// What the user of a batch that was allocated should know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortWarning {
    /// A wish, a preferred number, or the one of the last time was replaced.
    #[error("{refused}; got {got} instead")]
    Replaced {
        /// What was not had, and why.
        refused: Refused,
        /// The port that was allocated.
        got: u16,
    },
    /// The port of the last time turned bad, so that another one was taken.
    #[error("port {port} for {key} {why} and is not taken again; got {got} instead")]
    TurnedBad {
        /// For which port.
        key: PortKey,
        /// The number that it had.
        port: u16,
        /// What was wrong with it.
        why: Bad,
        /// The port that was allocated.
        got: u16,
    },
    /// The file fixes the number, so the wish was not followed.
    #[error("port {wished} for {key} ({origin}) is ignored: the file says {fixed}")]
    WishIgnored {
        /// For which port.
        key: PortKey,
        /// What was wished for.
        wished: u16,
        /// By whom.
        origin: String,
        /// What the file says.
        fixed: u16,
    },
    /// The first range of the pool had too few ports.
    #[error(
        "{} from a fallback range, as {first} is full: {}",
        text::count(.ports.len(), "port"), text::list(.ports)
    )]
    Fallback {
        /// The first range.
        first: PortRange,
        /// The ports from later ones.
        ports: Vec<u16>,
    },
    /// Outgoing connections take ports from here, too.
    #[error("ports {range} overlap the range {ephemeral} of outgoing connections")]
    Ephemeral {
        /// What was asked for.
        range: PortRange,
        /// `ip_local_port_range`.
        ephemeral: PortRange,
    },
    /// Browsers will not connect to some ports of a range.
    #[error(
        "browsers refuse {} of {range} ({}); {} left out",
        text::count(.ports.len(), "port"), some(.ports), if .ports.len() == 1 { "it is" } else { "they are" }
    )]
    BrowsersRefuse {
        /// What was asked for.
        range: PortRange,
        /// Those ports of it, lowest first.
        ports: Vec<u16>,
    },
    /// Browsers will not connect there.
    #[error("browsers refuse to connect to port {port} ({key})")]
    BrowserRefuses {
        /// Whose port.
        key: PortKey,
        /// The number.
        port: u16,
    },
    /// The ledger did not work.
    #[error(transparent)]
    Ledger(#[from] LedgerWarning),
}

impl PortWarning {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Replaced { refused, .. } => match refused.asked {
                Asked::Fixed | Asked::Wish | Asked::Preferred => {
                    "with `--strict-ports` this is an error"
                }
                Asked::Sticky => "write `auto:N` or a fixed number if it matters",
            },
            Self::TurnedBad { .. } => "`--fresh-ports` forgets that, and all other ports",
            Self::WishIgnored { .. } => "write `auto:N` in the file to let the caller choose",
            Self::Fallback { .. } => "widen the first range, or stop a stack that is not needed",
            Self::Ephemeral { .. } => {
                "an outgoing connection can take such a port at any time; choose ports outside \
                 of net.ipv4.ip_local_port_range"
            }
            Self::BrowsersRefuse { .. } => {
                "choose a range without them, or exclude them: then this is not said"
            }
            Self::BrowserRefuses { .. } => "choose another number, unless no browser goes there",
            Self::Ledger(warning) => warning.hint(),
        }
    }
}
