//! The rows of the ledger: a head that every transaction reads, and a body that most leave unread.
//!
//! A transaction wants to know of the stacks of others only which numbers they have, and writes them
//! back as they were. So a row is two lines of the file, and the second one stays text until
//! somebody asks for the names in it. With 50 stacks that is most of the time under the lock.

use std::ops::Range;
use std::rc::Rc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ports::request::{Owner, PortKey};
use crate::support::protocol::Protocol;

use super::place::Process;
use super::port_row::PortRow;

/// For how long an unused sticky port is remembered (90 days), in milliseconds.
pub(crate) const STICKY_MILLIS: u64 = 90 * 24 * 3_600_000;

/// For how long a port that turned bad is avoided (7 days), in milliseconds.
pub(crate) const BAD_MILLIS: u64 = 7 * 24 * 3_600_000;

/// How often a port must be stolen before it is bad.
const THEFTS: u32 = 2;

/// The ports that one supervisor holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LiveRow {
    pub(crate) head: LiveHead,
    /// Both lines as they stand in the file; `None` for a new row.
    pub(crate) lines: Option<Slice>,
    pub(crate) ports: Body<Vec<PortRow>>,
}

/// What is read of a [`LiveRow`] each time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LiveHead {
    pub(crate) owner: Owner,
    /// The inode of the network namespace: port numbers mean something within one only.
    pub(crate) netns: u64,
    pub(crate) supervisor: Process,
    pub(crate) numbers: Numbers,
}

/// A number that `ports free` printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GrantRow {
    pub(crate) port: u16,
    pub(crate) netns: u64,
    /// In milliseconds since boot, sleep included, so that setting the clock changes nothing.
    pub(crate) until: u64,
}

/// What a stack had last, for as long as its directory exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StackRow {
    pub(crate) head: StackHead,
    /// Both lines as they stand in the file, while nothing has changed.
    pub(crate) lines: Option<Slice>,
    pub(crate) past: Body<Past>,
}

/// What is read of a [`StackRow`] each time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StackHead {
    pub(crate) owner: Owner,
    /// The network namespace in which it ran last in this boot; 0 where that is not known. Another
    /// one's sticky ports are nobody's here.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) netns: u64,
    /// When the first thing in the body is to be forgotten, in milliseconds since the Unix epoch.
    pub(crate) until: u64,
    /// The sticky ones.
    pub(crate) numbers: Numbers,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde's `skip_serializing_if` wants"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a stack had, and how it fared with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Past {
    pub(crate) sticky: Vec<StickyRow>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) bad: Vec<BadRow>,
    /// The ports whose servers need the hold to be released before they are executed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) release: Vec<PortKey>,
}

/// The last ports of keys, as of one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StickyRow {
    /// In milliseconds since the Unix epoch.
    pub(crate) used: u64,
    pub(crate) ports: Vec<PortRow>,
}

/// A port that was of little or no use to its stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BadRow {
    pub(crate) port: u16,
    /// How often it was stolen.
    #[serde(default)]
    pub(crate) stolen: u32,
    /// Whether its service could never bind it.
    #[serde(default)]
    pub(crate) unusable: bool,
    /// Of the last time, in milliseconds since the Unix epoch.
    pub(crate) since: u64,
}

impl BadRow {
    /// Whether the port has lost its preference. One theft is bad luck.
    pub(crate) fn counts(&self) -> bool {
        self.unusable || self.stolen >= THEFTS
    }
}

/// Port numbers without names, as ranges with both ends. A pair of TCP and UDP is in both lists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Numbers {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tcp: Vec<(u16, u16)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    udp: Vec<(u16, u16)>,
}

impl Numbers {
    pub(crate) fn of(ports: impl Iterator<Item = (Protocol, u16)>) -> Self {
        let (mut tcp, mut udp) = (Vec::new(), Vec::new());
        for (protocol, port) in ports {
            if protocol.has_tcp() {
                tcp.push(port);
            }
            if protocol.has_udp() {
                udp.push(port);
            }
        }
        Self {
            tcp: ranges(tcp),
            udp: ranges(udp),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Protocol, u16)> {
        let with = |protocol| {
            move |&(first, last): &(u16, u16)| (first..=last).map(move |port| (protocol, port))
        };
        let tcp = self.tcp.iter().flat_map(with(Protocol::Tcp));
        tcp.chain(self.udp.iter().flat_map(with(Protocol::Udp)))
    }

    pub(crate) fn contains(&self, port: u16) -> bool {
        let mut ranges = self.tcp.iter().chain(&self.udp);
        ranges.any(|&(first, last)| (first..=last).contains(&port))
    }
}

/// The ranges that `ports` fill.
fn ranges(mut ports: Vec<u16>) -> Vec<(u16, u16)> {
    ports.sort_unstable();
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for port in ports {
        match ranges.last_mut() {
            Some((_, last)) if port <= last.saturating_add(1) => *last = port,
            _ => ranges.push((port, port)),
        }
    }
    ranges
}

impl Past {
    /// Drops what is past its time.
    pub(crate) fn prune(&mut self, unix_millis: u64) {
        self.sticky
            .retain(|row| young(row.used, STICKY_MILLIS, unix_millis));
        self.bad
            .retain(|row| young(row.since, BAD_MILLIS, unix_millis));
    }

    /// The sticky ports.
    pub(crate) fn ports(&self) -> impl Iterator<Item = &PortRow> {
        self.sticky.iter().flat_map(|row| &row.ports)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sticky.is_empty() && self.bad.is_empty() && self.release.is_empty()
    }

    /// When the first part is past its time.
    fn until(&self) -> u64 {
        let sticky = self
            .sticky
            .iter()
            .map(|row| row.used.saturating_add(STICKY_MILLIS));
        let bad = self
            .bad
            .iter()
            .map(|row| row.since.saturating_add(BAD_MILLIS));
        sticky.chain(bad).min().unwrap_or(u64::MAX)
    }
}

/// Whether a time stamp is not older than `limit`. One from the future was written under a clock
/// that was wrong, then or now; it is kept, since it says nothing about age.
fn young(stamp: u64, limit: u64, unix_millis: u64) -> bool {
    unix_millis.saturating_sub(stamp) <= limit
}

impl StackRow {
    pub(crate) fn new(owner: &Owner) -> Self {
        Self {
            head: StackHead {
                owner: owner.clone(),
                netns: 0,
                until: u64::MAX,
                numbers: Numbers::default(),
            },
            lines: None,
            past: Body::Read(Past::default()),
        }
    }

    /// Changes the body, and the head with it.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Past)) -> Result<(), Unreadable> {
        let read = self.past.to_read();
        let (mut past, outcome) = match read {
            Ok(past) => (past, Ok(())),
            Err(unreadable) => (Past::default(), Err(unreadable)),
        };
        change(&mut past);
        self.lines = None;
        self.head.until = past.until();
        let numbers = past.ports().map(|row| (row.protocol, row.port));
        self.head.numbers = Numbers::of(numbers);
        self.past = Body::Read(past);
        outcome
    }
}

/// A piece of the file, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) text: Rc<String>,
    pub(crate) range: Range<usize>,
}

impl Slice {
    pub(crate) fn as_str(&self) -> &str {
        &self.text[self.range.clone()]
    }
}

/// The body of a row: text until it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body<T> {
    /// As it stands in the file.
    Text(Slice),
    /// As it was read or made.
    Read(T),
}

/// A body that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreadable(pub(crate) String);

impl<T: Clone + Serialize + DeserializeOwned> Body<T> {
    pub(crate) fn to_read(&self) -> Result<T, Unreadable> {
        match self {
            Self::Text(text) => {
                serde_json::from_str(text.as_str()).map_err(|error| Unreadable(error.to_string()))
            }
            Self::Read(value) => Ok(value.clone()),
        }
    }

    pub(crate) fn write(&self, to: &mut Vec<u8>) -> serde_json::Result<()> {
        match self {
            Self::Text(text) => {
                to.extend_from_slice(text.as_str().as_bytes());
                Ok(())
            }
            Self::Read(value) => serde_json::to_writer(to, value),
        }
    }
}
