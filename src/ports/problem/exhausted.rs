//! What to tell where ranges have too few free ports.

use std::fmt;

use crate::ports::who::Holder;
use crate::support::port_range::PortRange;
use crate::support::text;

/// How many ports of the ranges are not handed out by themselves, each counted for the first reason
/// that holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// By `ports.exclude`.
    pub excluded: usize,
    /// By the administrator: `ip_local_reserved_ports`.
    pub reserved: usize,
    /// Browsers refuse to connect there.
    pub browsers: usize,
    /// `stack ports free` printed them just before.
    pub granted: usize,
}

impl LeftOut {
    /// All of them together.
    pub fn count(&self) -> usize {
        self.excluded + self.reserved + self.browsers + self.granted
    }
}

impl fmt::Display for LeftOut {
    /// `3 by `ports.exclude`, 1 that browsers refuse`; empty for none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.excluded, "by `ports.exclude`"),
            (self.reserved, "reserved by the system"),
            (self.browsers, "refused by browsers"),
            (self.granted, "granted by `stack ports free` just before"),
        ];
        let parts = parts.into_iter().filter(|&(count, _)| count > 0);
        let parts = parts.map(|(count, reason)| format!("{count} {reason}"));
        f.write_str(&text::list(parts))
    }
}

/// Where the ranges come from in which ports were looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangesOf {
    /// The file: `ports.range`, or that of one port.
    File,
    /// `stack ports free --range`.
    Option,
}

/// How many holders a message lists.
const LISTED: usize = 20;

/// What to do about it, what was not tried, and who has the others.
pub(super) fn exhausted_hint(
    ranges: &[PortRange],
    ranges_of: RangesOf,
    left_out: &LeftOut,
    holders: &[Holder],
) -> String {
    let mut hint = vec![match ranges_of {
        RangesOf::File => "widen `ports.range`".to_owned(),
        RangesOf::Option => "widen `--range`".to_owned(),
    }];
    // Where nothing was tried, nobody has to make room.
    let all: usize = ranges.iter().map(|range| range.count()).sum();
    if left_out.count() < all {
        hint.push(", or stop a stack that is no longer needed".to_owned());
    }
    if left_out.count() > 0 {
        hint.push(format!("; left out are {left_out}"));
    }
    if !holders.is_empty() {
        hint.push("; taken are:".to_owned());
    }
    let listed = holders.iter().take(LISTED);
    hint.extend(listed.map(|holder| format!("\n  {} {holder}", holder.port)));
    if let Some(more) = holders.len().checked_sub(LISTED).filter(|&more| more > 0) {
        hint.push(format!("\n  and {more} more (`stack ports` lists them)"));
    }
    hint.concat()
}
