//! What is remembered of one stack, and the line that it becomes.
//!
//! ```text
//! +1 8000-8001/8053 8000-8002/8053 1f2e3d4c-… 4026531840 1798000000000⇥{"owner":{…},"sticky":[…]}
//! ```
//!
//! A start wants to know of most stacks only which numbers they have, so these stand in front: the
//! stack's own number, what it holds while it runs, everything that it had, boot and network namespace
//! of its last start, and when the first part is to be forgotten. What follows is read by who wants
//! names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::place::Here;
use super::port_row::PortRow;
use super::stack_port::StackPort;
use crate::ports::request::{Owner, PortKey};
use crate::support::protocol::Protocol;

/// For how long an unused sticky port is remembered (90 days), in milliseconds.
const STICKY_MILLIS: u64 = 90 * 24 * 3_600_000;

/// For how long a port that turned bad is avoided (7 days), in milliseconds.
const BAD_MILLIS: u64 = 7 * 24 * 3_600_000;

/// How often a port must be stolen before it is bad.
const THEFTS: u32 = 2;

/// Everything that is remembered of one stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) owner: Owner,
    /// Its ports; the last of these are those of its last start, which it holds while it runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sticky: Vec<StickyRow>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    bad: Vec<BadRow>,
    /// The ports whose servers need the hold to be released before they are executed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) release: Vec<PortKey>,
}

/// The last ports of keys, as of one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct StickyRow {
    /// In milliseconds since the Unix epoch.
    used: u64,
    ports: Vec<PortRow>,
}

/// A port that was of little or no use to its stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct BadRow {
    port: u16,
    /// How often it was stolen.
    #[serde(default)]
    stolen: u32,
    /// Whether its service could never bind it.
    #[serde(default)]
    unusable: bool,
    /// Of the last time, in milliseconds since the Unix epoch.
    since: u64,
}

impl Row {
    /// Nothing is known yet.
    pub(crate) fn new(owner: &Owner) -> Self {
        Self {
            owner: owner.clone(),
            sticky: Vec::new(),
            bad: Vec::new(),
            release: Vec::new(),
        }
    }

    /// Drops what is past its time. A time stamp from the future was written under a clock that was
    /// wrong, then or now; it is kept, since it says nothing about age.
    pub(crate) fn prune(&mut self, here: &Here) {
        let is_young = |stamp, limit| here.unix_millis.saturating_sub(stamp) <= limit;
        self.sticky.retain(|row| is_young(row.used, STICKY_MILLIS));
        self.bad.retain(|row| is_young(row.since, BAD_MILLIS));
    }

    /// Whether there is nothing to remember.
    pub(crate) fn is_empty(&self) -> bool {
        self.sticky.is_empty() && self.bad.is_empty() && self.release.is_empty()
    }

    /// Notes that the stack starts with `ports`, which become its sticky ones. Those of other keys stay,
    /// so that scaling up finds them again. `fresh` forgets all earlier ones and the bad ones first.
    pub(crate) fn record(&mut self, owner: &Owner, ports: &[PortRow], fresh: bool, here: &Here) {
        self.owner = owner.clone();
        if fresh {
            self.sticky.clear();
            self.bad.clear();
        }
        for row in &mut self.sticky {
            row.ports
                .retain(|known| ports.iter().all(|port| port.key != known.key));
        }
        self.sticky.retain(|row| !row.ports.is_empty());
        self.sticky.push(StickyRow {
            used: here.unix_millis,
            ports: ports.to_vec(),
        });
    }

    /// Notes that `port` was stolen, or (`unusable`) that its service can never bind it.
    pub(crate) fn blame(&mut self, port: u16, unusable: bool, here: &Here) {
        let known = self.bad.iter().position(|bad| bad.port == port);
        let index = known.unwrap_or_else(|| {
            self.bad.push(BadRow {
                port,
                stolen: 0,
                unusable: false,
                since: 0,
            });
            self.bad.len() - 1
        });
        let bad = &mut self.bad[index];
        bad.since = here.unix_millis;
        bad.unusable |= unusable;
        bad.stolen += u32::from(!unusable);
    }

    /// Everything that it had last.
    pub(crate) fn ports(&self) -> impl Iterator<Item = &PortRow> {
        self.sticky.iter().flat_map(|row| &row.ports)
    }

    /// What it holds while it runs.
    fn held(&self) -> impl Iterator<Item = &PortRow> {
        self.sticky.last().into_iter().flat_map(|row| &row.ports)
    }

    /// What was wrong with a port; one theft is bad luck.
    pub(crate) fn wrong_with(&self, port: u16) -> Option<Bad> {
        let bad = self.bad.iter().find(|bad| bad.port == port)?;
        if bad.unusable {
            Some(Bad::Unusable)
        } else {
            (bad.stolen >= THEFTS).then_some(Bad::Stolen(bad.stolen))
        }
    }

    /// The ports that turned bad.
    pub(crate) fn bad_ports(&self) -> impl Iterator<Item = u16> {
        let ports = self.bad.iter().map(|bad| bad.port);
        ports.filter(|&port| self.wrong_with(port).is_some())
    }

    /// Its ports as others are told of them: what it holds, or what it had.
    pub(crate) fn stack_ports(&self, is_running: bool) -> Vec<StackPort> {
        let ports: Vec<&PortRow> = if is_running {
            self.held().collect()
        } else {
            self.ports().collect()
        };
        let told = ports.into_iter().map(|row| StackPort {
            owner: self.owner.clone(),
            key: row.key.clone(),
            protocol: row.protocol,
            port: row.port,
            is_running,
        });
        told.collect()
    }

    /// When the first part is past its time, in milliseconds since the Unix epoch.
    fn until(&self) -> u64 {
        let sticky = self.sticky.iter().map(|row| row.used + STICKY_MILLIS);
        let bad = self.bad.iter().map(|row| row.since + BAD_MILLIS);
        sticky.chain(bad).min().unwrap_or(u64::MAX)
    }

    /// The line, its end included; with the number of the stack if it runs.
    pub(crate) fn to_line(&self, slot: Option<u32>, here: &Here) -> serde_json::Result<String> {
        let mark = slot.map_or_else(|| "-".to_owned(), |slot| format!("+{slot}"));
        Ok(format!(
            "{mark} {} {} {} {} {}\t{}\n",
            numbers(self.held()),
            numbers(self.ports()),
            here.boot,
            here.netns,
            self.until(),
            serde_json::to_string(self)?
        ))
    }
}

/// A line, as far as it is read of every stack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    /// The number of the stack, if it runs as far as is known.
    pub(crate) slot: Option<u32>,
    held: &'a [u8],
    kept: &'a [u8],
    boot: &'a [u8],
    netns: u64,
    until: u64,
    /// The rest of the line, which most never read.
    row: &'a [u8],
}

impl<'a> Line<'a> {
    /// Reads a line without its end; nothing where it is damaged.
    pub(crate) fn parse(line: &'a [u8]) -> Option<Self> {
        let (head, row) = line.split_at_checked(memchr::memchr(b'\t', line)?)?;
        let row = row.strip_prefix(b"\t")?;
        let mut words = head.split(|&byte| byte == b' ');
        let mut word = || words.next();
        let slot = match word()? {
            [b'+', slot @ ..] => Some(number(slot)?),
            [b'-', ..] => None,
            _ => return None,
        };
        let parsed = Self {
            slot,
            held: word()?,
            kept: word()?,
            boot: word()?,
            netns: number(word()?)?,
            until: number(word()?)?,
            row,
        };
        (row.starts_with(b"{") && row.ends_with(b"}")).then_some(parsed)
    }

    /// The numbers that it holds, if it runs, each with TCP or UDP: what a stack of another boot or network
    /// namespace holds is not in our way.
    pub(crate) fn held(&self, here: &Here) -> Vec<(Protocol, u16)> {
        let mut held = Vec::new();
        if self.is_of_this_boot(here) && self.netns == here.netns {
            each_port(self.held, |protocol, port| held.push((protocol, port)));
        }
        held
    }

    /// Tells the numbers that it had, as far as they count here: those of another network namespace are
    /// somebody's there. (The numbers of namespaces mean nothing after a boot.)
    pub(crate) fn kept(&self, here: &Here, mut tell: impl FnMut(u16)) {
        if !self.counts(here) {
            return;
        }
        if self.until >= here.unix_millis {
            each_port(self.kept, |_, port| tell(port));
        } else if let Some(mut row) = self.row() {
            row.prune(here);
            row.ports().for_each(|row| tell(row.port));
        }
    }

    /// Whether its stack was started in this boot of this machine.
    pub(crate) fn is_of_this_boot(&self, here: &Here) -> bool {
        self.boot == here.boot.as_bytes()
    }

    /// Whether what it says is about this network namespace.
    pub(crate) fn counts(&self, here: &Here) -> bool {
        !self.is_of_this_boot(here) || self.netns == here.netns
    }

    /// The place of its last start, otherwise as `here`.
    pub(crate) fn place(&self, here: &Here) -> Here {
        Here {
            boot: String::from_utf8_lossy(self.boot).into_owned(),
            netns: self.netns,
            ..here.clone()
        }
    }

    /// The whole row; nothing where it is damaged.
    pub(crate) fn row(&self) -> Option<Row> {
        serde_json::from_slice(self.row).ok()
    }
}

/// `8000-8019,8100/8053`: the ranges of TCP and of UDP ports. A pair is in both.
fn numbers<'a>(ports: impl Iterator<Item = &'a PortRow>) -> String {
    let (mut tcp, mut udp) = (Vec::new(), Vec::new());
    for row in ports {
        if row.protocol.has_tcp() {
            tcp.push(row.port);
        }
        if row.protocol.has_udp() {
            udp.push(row.port);
        }
    }
    format!("{}/{}", ranges(tcp), ranges(udp))
}

/// The ranges that `ports` fill.
fn ranges(mut ports: Vec<u16>) -> String {
    ports.sort_unstable();
    ports.dedup();
    let runs = ports.chunk_by(|one, next| one + 1 == *next);
    let texts: Vec<String> = runs
        .map(|run| match run {
            [first, .., last] => format!("{first}-{last}"),
            [only] => only.to_string(),
            [] => String::new(),
        })
        .collect();
    texts.join(",")
}

/// Reads that again, for thousands of stacks. What is damaged is passed over.
fn each_port(text: &[u8], mut tell: impl FnMut(Protocol, u16)) {
    let (mut protocol, mut first, mut number) = (Protocol::Tcp, None, None::<u16>);
    for &byte in text.iter().chain(b",") {
        match byte {
            b'0'..=b'9' => {
                let digit = u16::from(byte - b'0');
                number = Some(number.unwrap_or(0).saturating_mul(10).saturating_add(digit));
            }
            b'-' => first = number.take(),
            b',' | b'/' => {
                if let Some(last) = number.take() {
                    (first.take().unwrap_or(last)..=last).for_each(|port| tell(protocol, port));
                }
                if byte == b'/' {
                    protocol = Protocol::Udp;
                }
            }
            _ => {}
        }
    }
}

fn number<T: FromStr>(digits: &[u8]) -> Option<T> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// What was wrong with a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    /// Others took it, so many times.
    Stolen(u32),
    /// Its service can never bind it.
    Unusable,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stolen(2) => f.write_str("was stolen twice"),
            Self::Stolen(times) => write!(f, "was stolen {times} times"),
            Self::Unusable => f.write_str("could not be bound by it"),
        }
    }
}
