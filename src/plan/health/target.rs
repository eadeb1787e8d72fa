//! What a check connects to, read from its text.

use crate::support::port_range::parse_port;

/// The host of a check that names none.
pub(super) const LOCALHOST: &str = "localhost";

/// What an `http` check asks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) host: String,
    /// The port of a URL; a path alone has none.
    pub(super) port: Option<u16>,
    pub(super) path: String,
}

impl Target {
    /// A path, or a URL.
    pub(super) fn parse(written: &str) -> Option<Self> {
        // A fragment is never sent.
        let (written, _) = written.split_once('#').unwrap_or((written, ""));
        let can_stand = |c: char| !c.is_whitespace() && !c.is_control() && !"<>`".contains(c);
        if !written.chars().all(can_stand) {
            return None;
        }
        let Some(rest) = written.strip_prefix("http://") else {
            return written.starts_with('/').then(|| Self {
                host: LOCALHOST.to_owned(),
                port: None,
                path: written.to_owned(),
            });
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = if authority.contains('@') {
            return None;
        } else if let Some(pair) = split_host(authority) {
            pair
        } else if let Some(host) = authority
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            (host.to_owned(), 80)
        } else if !authority.is_empty() && !authority.contains([':', '[', ']']) {
            (authority.to_owned(), 80)
        } else {
            return None;
        };
        let slash = if path.starts_with('/') { "" } else { "/" };
        Some(Self {
            host,
            port: Some(port),
            path: format!("{slash}{path}"),
        })
    }

    /// Stands in for one that was reported.
    pub(super) fn unknown() -> Self {
        Self {
            host: LOCALHOST.to_owned(),
            port: Some(80),
            path: "/".to_owned(),
        }
    }
}

/// `8080`, `host:8080`, `[::1]:8080`.
pub(super) fn host_and_port(target: &str) -> Option<(String, u16)> {
    match parse_port(target) {
        Ok(port) => Some((LOCALHOST.to_owned(), port)),
        Err(_) => split_host(target),
    }
}

/// `host:8080`, `[::1]:8080`.
fn split_host(target: &str) -> Option<(String, u16)> {
    let (host, port) = target.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let is_host = |c: char| !c.is_whitespace() && !c.is_control() && !"/@[]".contains(c);
    (!host.is_empty() && host.chars().all(is_host))
        .then_some(host.to_owned())
        .zip(parse_port(port).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_targets() {
        for (text, expected) in [
            ("8080", Some(("localhost", 8080))),
            ("db:5432", Some(("db", 5432))),
            ("[::1]:80", Some(("::1", 80))),
            ("::1:80", None),
            (":80", None),
            ("db:", None),
            ("db", None),
            ("http://db:80", None),
            ("user@db:80", None),
            ("a b:80", None),
        ] {
            let expected = expected.map(|(host, port): (&str, u16)| (host.to_owned(), port));
            assert_eq!(host_and_port(text), expected, "{text}");
        }
    }

    #[test]
    fn an_http_target_is_a_path_or_a_url() {
        for (text, expected) in [
            ("/", Some(("localhost", None, "/"))),
            (
                "/health?deep=1",
                Some(("localhost", None, "/health?deep=1")),
            ),
            ("/health#top", Some(("localhost", None, "/health"))),
            ("http://db", Some(("db", Some(80), "/"))),
            ("http://db?x", Some(("db", Some(80), "/?x"))),
            ("http://db#x", Some(("db", Some(80), "/"))),
            ("http://db:81/x", Some(("db", Some(81), "/x"))),
            ("http://[::1]/x", Some(("::1", Some(80), "/x"))),
            ("http://[::1]:81", Some(("::1", Some(81), "/"))),
            ("http://", None),
            ("http:///x", None),
            ("http://db:x/", None),
            ("http://:80/", None),
            ("http://user@db:80/", None),
            ("http://user@db/", None),
            ("https://db/", None),
            ("health", None),
            ("", None),
            ("/a b", None),
            ("/x HTTP/1.1\r\nHost: other", None),
        ] {
            let found = Target::parse(text);
            let found = found
                .as_ref()
                .map(|target| (target.host.as_str(), target.port, target.path.as_str()));
            assert_eq!(found, expected, "{text}");
        }
    }
}
