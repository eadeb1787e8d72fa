//! Where output goes from the pump: to the viewer, to subscribers, and past a look for URLs.

use std::collections::HashMap;

use tokio::sync::{broadcast, mpsc};

use super::logs::{Flow, LogBlock, LogSink};
use super::snapshot::{Event, Notice};
use crate::support::name::ServiceName;

/// A URL that a service printed with one of its own ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) service: ServiceName,
    pub(crate) port: u16,
    pub(crate) url: String,
}

/// How much of a service's output is searched for its URL, in bytes: servers say it at the start.
const SEARCH_LIMIT: usize = 256 * 1024;

/// The sink of the pump.
#[derive(Debug)]
pub(crate) struct Outlet<S> {
    viewer: S,
    log_tx: broadcast::Sender<LogBlock>,
    event_tx: broadcast::Sender<Event>,
    /// The ports that are still looked for, and how many bytes have been searched.
    wanted: HashMap<ServiceName, (Vec<u16>, usize)>,
    found_tx: mpsc::UnboundedSender<Found>,
}

impl<S: LogSink> Outlet<S> {
    pub(crate) fn new(
        viewer: S,
        log_tx: broadcast::Sender<LogBlock>,
        event_tx: broadcast::Sender<Event>,
        ports: Vec<(ServiceName, Vec<u16>)>,
        found_tx: mpsc::UnboundedSender<Found>,
    ) -> Self {
        let wanted = ports
            .into_iter()
            .map(|(name, ports)| (name, (ports, 0)))
            .collect();
        Self {
            viewer,
            log_tx,
            event_tx,
            wanted,
            found_tx,
        }
    }

    fn search(&mut self, block: &LogBlock) {
        let Some((ports, searched)) = self.wanted.get_mut(&block.service) else {
            return;
        };
        *searched += block.bytes.len();
        let found_tx = &self.found_tx;
        ports.retain(|&port| match find_url(&block.bytes, port) {
            Some(url) => {
                let service = block.service.clone();
                drop(found_tx.send(Found { service, port, url }));
                false
            }
            None => true,
        });
        if ports.is_empty() || *searched > SEARCH_LIMIT {
            self.wanted.remove(&block.service);
        }
    }
}

impl<S: LogSink> LogSink for Outlet<S> {
    fn wants(&self, service: &ServiceName) -> bool {
        self.log_tx.receiver_count() > 0
            || self.wanted.contains_key(service)
            || self.viewer.wants(service)
    }

    fn send(&mut self, block: LogBlock) -> Flow {
        if !self.wanted.is_empty() {
            self.search(&block);
        }
        if self.log_tx.receiver_count() > 0 {
            drop(self.log_tx.send(block.clone()));
        }
        if self.viewer.wants(&block.service) {
            self.viewer.send(block)
        } else {
            Flow::Room
        }
    }

    fn room(&mut self) -> impl Future<Output = ()> {
        self.viewer.room()
    }

    fn notice(&mut self, notice: Notice) {
        drop(self.event_tx.send(Event::Notice(notice)));
    }
}

/// A viewer that looks away: the stack runs in the background.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

impl LogSink for Nobody {
    fn wants(&self, _service: &ServiceName) -> bool {
        false
    }

    fn send(&mut self, _block: LogBlock) -> Flow {
        Flow::Room
    }

    async fn room(&mut self) {}

    fn notice(&mut self, _notice: Notice) {}
}

/// Finds `http://…:PORT…` in some output, with the path that follows it.
fn find_url(bytes: &[u8], port: u16) -> Option<String> {
    let text = strip_escapes(&String::from_utf8_lossy(bytes));
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

/// The text without escape sequences: a coloured port number is still the number.
fn strip_escapes(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\u{1b}' {
            plain.push(c);
        } else if rest.next() == Some('[') {
            rest.by_ref().find(|c| ('@'..='~').contains(c));
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_url_of_the_port_and_no_other() {
        let cases = [
            (
                "Uvicorn running on http://127.0.0.1:8003 (Press CTRL+C)",
                Some("http://localhost:8003/"),
            ),
            (
                "  ➜  Local:   http://localhost:8003/app/",
                Some("http://localhost:8003/app/"),
            ),
            (
                "\u{1b}[36mhttp://localhost:\u{1b}[1m8003\u{1b}[22m/\u{1b}[39m",
                Some("http://localhost:8003/"),
            ),
            (
                "Serving HTTP on 0.0.0.0 port 8003 (http://0.0.0.0:8003/) ...",
                Some("http://localhost:8003/"),
            ),
            ("proxy to http://localhost:80030/", None),
            ("listening on :8003", None),
            ("see https://example.org/ or localhost:8003", None),
        ];
        for (text, url) in cases {
            assert_eq!(find_url(text.as_bytes(), 8003).as_deref(), url, "{text}");
        }
    }
}
