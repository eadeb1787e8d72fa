//! Ports that are taken, in all the ways in which a port can be.
//!
//! By a process of its own: a socket of the test's process would be copied into whatever another test
//! starts at that moment, and live on in the copy until that program was executed.

/// A way to take a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occupied {
    /// Listening on 127.0.0.1.
    Loopback,
    /// Listening on 127.0.0.2, which stands for any address but the usual one.
    OtherV4,
    /// Listening on 0.0.0.0.
    AnyV4,
    /// Listening on `::1`.
    LoopbackV6,
    /// Listening on `::`, IPv4 included.
    AnyDual,
    /// Listening on `::`, IPv6 alone.
    AnyV6,
    /// Bound to 127.0.0.1 with `SO_REUSEADDR`, not listening.
    BoundOnly,
    /// Bound to 127.0.0.1 without `SO_REUSEADDR`, not listening.
    BoundStrictly,
}

impl Occupied {
    /// All of them.
    pub(crate) const ALL: [Self; 8] = [
        Self::Loopback,
        Self::OtherV4,
        Self::AnyV4,
        Self::LoopbackV6,
        Self::AnyDual,
        Self::AnyV6,
        Self::BoundOnly,
        Self::BoundStrictly,
    ];

    /// The options of `misbehave bind PORT` that take a port this way.
    pub(super) fn options(self) -> &'static [&'static str] {
        match self {
            Self::Loopback => &[],
            Self::OtherV4 => &["--host", "127.0.0.2"],
            Self::AnyV4 => &["--host", "0.0.0.0"],
            Self::LoopbackV6 => &["--host", "::1"],
            Self::AnyDual => &["--host", "::"],
            Self::AnyV6 => &["--host", "::", "--only-v6"],
            Self::BoundOnly => &["--no-listen"],
            Self::BoundStrictly => &["--no-listen", "--no-reuseaddr"],
        }
    }

    /// What it says once it has the port.
    pub(super) fn done(self) -> &'static str {
        match self {
            Self::Loopback
            | Self::OtherV4
            | Self::AnyV4
            | Self::LoopbackV6
            | Self::AnyDual
            | Self::AnyV6 => "listening on",
            Self::BoundOnly | Self::BoundStrictly => "bound to",
        }
    }
}
