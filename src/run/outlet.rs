//! A look at what services print, on its way into the files: what servers say about their ports.
//!
//! The line that a check waits for is looked for until it is found. At the start of each attempt, in units
//! that have ports, two more things are: the URL
//! under which a server can be reached, and the complaint of one that could not have its address
//! ([`complaint`]). What is found is in the channel before the pump answers the drain of the attempt
//! that printed it, so whoever learns of an exit after the drain knows the attempt's complaint.

mod complaint;
mod wait;

use std::collections::HashMap;

use regex::Regex;
use tokio::sync::{broadcast, mpsc};
use wait::Wait;

use super::handover::NamedAddress;
use super::logs::{Expected, LogSink};
use super::news::{Event, Notice};
use super::snapshot::LogStream;
use crate::support::escape::plain;
use crate::support::name::UnitId;

/// What a unit said about one of its ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    /// A URL with the port.
    Url {
        /// Who printed it.
        unit: UnitId,
        /// The port of the unit that is in it.
        port: u16,
        /// The URL, as a browser can open it.
        url: String,
    },
    /// What its check looks for.
    Printed {
        /// Who printed it.
        unit: UnitId,
        /// The attempt that printed it.
        attempt: u32,
    },
    /// That an address is in use. Told once for the same names in an attempt.
    Complaint {
        /// Who complains.
        unit: UnitId,
        /// The attempt that printed it.
        attempt: u32,
        /// The addresses that the line named; of those that mean a port of the unit, these alone.
        named: Vec<NamedAddress>,
    },
}

/// How many different complaints of an attempt are told.
const MOST_COMPLAINTS: usize = 16;

/// How much of an attempt's output is searched, in bytes: servers say these things at the start.
const SEARCH_LIMIT: usize = 256 * 1024;

/// Looks for what servers say.
#[derive(Debug)]
pub(crate) struct Outlet {
    event_tx: broadcast::Sender<Event>,
    /// The units that have ports.
    searches: HashMap<UnitId, Search>,
    /// The units whose check looks for a line.
    waits: HashMap<UnitId, Wait>,
    finding_tx: mpsc::UnboundedSender<Finding>,
}

/// The look at one unit's output.
#[derive(Debug)]
struct Search {
    ports: Vec<u16>,
    /// The ports whose URL has not been seen yet, in any attempt.
    unseen: Vec<u16>,
    /// The latest attempt that printed something; what older ones still print is passed over.
    attempt: u32,
    /// How many bytes of it have been searched.
    searched: usize,
    /// What its complaints named so far.
    complaints: Vec<Vec<NamedAddress>>,
}

impl Search {
    fn new(ports: Vec<u16>) -> Self {
        Self {
            unseen: ports.clone(),
            ports,
            attempt: 0,
            searched: 0,
            complaints: Vec::new(),
        }
    }

    /// Whether there is anything to look for in the output of `attempt`.
    fn wants(&self, attempt: u32) -> bool {
        attempt > self.attempt
            || attempt == self.attempt
                && self.searched < SEARCH_LIMIT
                && !(self.complaints.len() == MOST_COMPLAINTS && self.unseen.is_empty())
    }

    /// Looks at the next output of `attempt`, and calls `tell` for everything that it finds.
    fn search(&mut self, unit: &UnitId, attempt: u32, bytes: &[u8], mut tell: impl FnMut(Finding)) {
        if !self.wants(attempt) {
            return;
        }
        if attempt > self.attempt {
            self.attempt = attempt;
            self.searched = 0;
            self.complaints.clear();
        }
        // No more than the limit, however much comes at once.
        let bytes = &bytes[..bytes.len().min(SEARCH_LIMIT - self.searched)];
        self.searched += bytes.len();
        if !self.unseen.is_empty() && may_have_url(bytes) {
            let text = plain(bytes);
            self.unseen.retain(|&port| match find_url(&text, port) {
                Some(url) => {
                    let unit = unit.clone();
                    tell(Finding::Url { unit, port, url });
                    false
                }
                None => true,
            });
        }
        for named in complaint::find(bytes, &self.ports) {
            if self.complaints.len() < MOST_COMPLAINTS && !self.complaints.contains(&named) {
                self.complaints.push(named.clone());
                tell(Finding::Complaint {
                    unit: unit.clone(),
                    attempt,
                    named,
                });
            }
        }
    }
}

impl Outlet {
    /// What is found of what units are [expected](LogSink::expect) to print goes to `finding_tx`.
    pub(crate) fn new(
        event_tx: broadcast::Sender<Event>,
        finding_tx: mpsc::UnboundedSender<Finding>,
    ) -> Self {
        Self {
            event_tx,
            searches: HashMap::new(),
            waits: HashMap::new(),
            finding_tx,
        }
    }
}

impl LogSink for Outlet {
    fn look(&mut self, unit: &UnitId, (attempt, stream): (u32, LogStream), bytes: &[u8]) {
        if let Some(search) = self.searches.get_mut(unit) {
            // A supervisor that has gone wants to know nothing.
            let tell = |finding| drop(self.finding_tx.send(finding));
            search.search(unit, attempt, bytes, tell);
        }
        if let Some(wait) = self.waits.get_mut(unit)
            && wait.is_over(attempt, stream, bytes)
        {
            let unit = unit.clone();
            drop(self.finding_tx.send(Finding::Printed { unit, attempt }));
        }
    }

    fn expect(&mut self, unit: &UnitId, expected: Expected) {
        let Expected { ports, pattern } = expected;
        let is_same = |wait: &Wait| pattern.as_deref() == Some(wait.pattern.as_str());
        if !self.waits.get(unit).is_some_and(is_same) {
            // It was read as one when the file was.
            match pattern.and_then(|pattern| Regex::new(&pattern).ok()) {
                Some(pattern) => drop(self.waits.insert(unit.clone(), Wait::new(pattern))),
                None => drop(self.waits.remove(unit)),
            }
        }
        let is_known = |search: &Search| search.ports == ports;
        if ports.is_empty() {
            self.searches.remove(unit);
        } else if !self.searches.get(unit).is_some_and(is_known) {
            self.searches.insert(unit.clone(), Search::new(ports));
        }
    }

    fn notice(&mut self, notice: Notice) {
        drop(self.event_tx.send(Event::Notice(notice)));
    }
}

/// Whether it is worth a closer look for URLs.
fn may_have_url(bytes: &[u8]) -> bool {
    memchr::memmem::find(bytes, b"http").is_some()
}

/// Finds `http://…:PORT…` in some plain output, with the path that follows it.
fn find_url(text: &str, port: u16) -> Option<String> {
    let needle = format!(":{port}");
    for (at, _) in text.match_indices(&needle) {
        let after = &text[at + needle.len()..];
        if after.starts_with(|c: char| c.is_ascii_digit()) {
            continue;
        }
        let before = &text[..at];
        let Some(scheme) = before.rfind("://") else {
            continue;
        };
        let host = &before[scheme + 3..];
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || "/\"'<>".contains(c)) {
            continue;
        }
        let start = if before[..scheme].ends_with("https") {
            "https"
        } else if before[..scheme].ends_with("http") {
            "http"
        } else {
            continue;
        };
        let path: &str = after
            .split(|c: char| c.is_whitespace() || "\"'<>()[]{},;|\\`".contains(c))
            .next()
            .filter(|path| path.starts_with('/'))
            .unwrap_or("/");
        // What a server binds is not always what a browser can open.
        let host = match host {
            "0.0.0.0" | "[::]" | "127.0.0.1" | "[::1]" => "localhost",
            other => other,
        };
        return Some(format!(
            "{start}://{host}:{port}{}",
            path.trim_end_matches(['.', ':'])
        ));
    }
    None
}

#[cfg(test)]
mod tests;
