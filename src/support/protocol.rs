//! The transport protocol of a port.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What travels over a port. TCP and UDP ports of one number have nothing to do with each other;
/// a pair of both on one number is one port here.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Protocol {
    /// TCP, unless something else is said.
    #[default]
    #[serde(rename = "tcp")]
    Tcp,
    /// UDP.
    #[serde(rename = "udp")]
    Udp,
    /// Both, on one number, as DNS has them.
    #[serde(rename = "tcp+udp")]
    Both,
}

impl Protocol {
    /// The word that is written and shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Both => "tcp+udp",
        }
    }

    /// Whether TCP is a part of it.
    pub fn has_tcp(self) -> bool {
        self.parts().contains(&Self::Tcp)
    }

    /// Whether UDP is a part of it.
    pub fn has_udp(self) -> bool {
        self.parts().contains(&Self::Udp)
    }

    /// The transports of which it is made: TCP, UDP, or both.
    pub fn parts(self) -> &'static [Self] {
        match self {
            Self::Tcp => &[Self::Tcp],
            Self::Udp => &[Self::Udp],
            Self::Both => &[Self::Tcp, Self::Udp],
        }
    }

    /// Whether two ports of one number get in each other's way.
    pub fn overlaps(self, other: Self) -> bool {
        self.parts().iter().any(|part| other.parts().contains(part))
    }

    /// Whether it is plain TCP, which needs no word.
    pub fn is_tcp(&self) -> bool {
        *self == Self::Tcp
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_shares_a_transport_is_in_the_way() {
        use Protocol::{Both, Tcp, Udp};
        for (one, other, expected) in [
            (Tcp, Tcp, true),
            (Tcp, Udp, false),
            (Udp, Udp, true),
            (Both, Tcp, true),
            (Both, Udp, true),
            (Both, Both, true),
        ] {
            assert_eq!(one.overlaps(other), expected, "{one} {other}");
            assert_eq!(other.overlaps(one), expected, "{other} {one}");
        }
    }

    #[test]
    fn the_words_are_those_of_the_file() {
        for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Both] {
            let json = serde_json::to_string(&protocol).unwrap();
            assert_eq!(json, format!("\"{protocol}\""));
        }
    }
}
