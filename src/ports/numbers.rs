//! Numbers of ports: sets of them, those that nobody should be given, and what the kernel and browsers
//! think of one.

use fixedbitset::FixedBitSet;
use serde::Serialize;

use super::problem::LeftOut;
use crate::support::fs::read_small;
use crate::support::port_range::PortRange;

/// A set of ports as a bitmap.
#[derive(Debug, Clone, Default)]
pub(crate) struct PortSet(FixedBitSet);

impl PortSet {
    pub(crate) fn insert(&mut self, port: u16) {
        self.0.grow_and_insert(port.into());
    }

    pub(crate) fn contains(&self, port: u16) -> bool {
        self.0.contains(port.into())
    }
}

impl Extend<u16> for PortSet {
    fn extend<T: IntoIterator<Item = u16>>(&mut self, ports: T) {
        for port in ports {
            self.insert(port);
        }
    }
}

impl FromIterator<u16> for PortSet {
    fn from_iter<T: IntoIterator<Item = u16>>(ports: T) -> Self {
        let mut set = Self::default();
        set.extend(ports);
        set
    }
}

/// The ports to which browsers refuse to connect: "bad ports" of the Fetch standard, section
/// "Port blocking".
pub(crate) const BROWSER_REFUSED: [u16; 83] = [
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101,
    102, 103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427,
    465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990,
    993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667,
    6668, 6669, 6679, 6697, 10080,
];

/// Whether browsers refuse to connect to `port`.
pub(crate) fn browser_refuses(port: u16) -> bool {
    BROWSER_REFUSED.binary_search(&port).is_ok()
}

/// What the kernel says of ports in this network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct KernelPorts {
    /// `ip_local_reserved_ports`: kept free for somebody by the administrator (ip-sysctl).
    pub(crate) reserved: Vec<PortRange>,
    /// `ip_local_port_range`: from here outgoing connections get their ports.
    pub(crate) ephemeral: Option<PortRange>,
}

impl KernelPorts {
    /// As the kernel says; nothing where it does not.
    pub(crate) fn read() -> Self {
        Self {
            reserved: parse_reserved(&setting("ip_local_reserved_ports")),
            ephemeral: parse_ephemeral(&setting("ip_local_port_range")),
        }
    }
}

fn setting(name: &str) -> String {
    let bytes = read_small(&format!("/proc/sys/net/ipv4/{name}")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `8080,9148-9150`.
fn parse_reserved(text: &str) -> Vec<PortRange> {
    let parts = text.trim().split(',');
    parts.filter_map(|part| part.parse().ok()).collect()
}

/// Two numbers with a tab between them.
fn parse_ephemeral(text: &str) -> Option<PortRange> {
    let mut ends = text.split_whitespace().map(str::parse);
    PortRange::new(ends.next()?.ok()?, ends.next()?.ok()?).ok()
}

/// The ports that are not handed out by themselves: excluded, reserved by the administrator, or
/// refused by browsers.
pub(crate) fn never(kernel: &KernelPorts, exclude: &[PortRange]) -> PortSet {
    let ranges = exclude.iter().chain(&kernel.reserved);
    ranges
        .flat_map(|range| range.ports())
        .chain(BROWSER_REFUSED)
        .collect()
}

/// How many ports of `ranges` are among those, and why; `granted` are the numbers of grants.
pub(crate) fn left_out(
    ranges: &[PortRange],
    kernel: &KernelPorts,
    exclude: &[PortRange],
    granted: impl Iterator<Item = u16>,
) -> LeftOut {
    let all: PortSet = ranges.iter().flat_map(|range| range.ports()).collect();
    let granted: PortSet = granted.collect();
    let is_in = |ranges: &[PortRange], port| ranges.iter().any(|range| range.contains(port));
    let mut left_out = LeftOut::default();
    for port in (1..=u16::MAX).filter(|&port| all.contains(port)) {
        if is_in(exclude, port) {
            left_out.excluded += 1;
        } else if is_in(&kernel.reserved, port) {
            left_out.reserved += 1;
        } else if browser_refuses(port) {
            left_out.browsers += 1;
        } else if granted.contains(port) {
            left_out.granted += 1;
        }
    }
    left_out
}

/// What is said of a number whoever has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own about the number"
)]
pub struct PortTraits {
    /// It stands in `ip_local_reserved_ports`.
    pub is_reserved: bool,
    /// It is in `ip_local_port_range`: outgoing connections may get it.
    pub is_ephemeral: bool,
    /// Browsers do not connect to it.
    pub is_refused_by_browsers: bool,
    /// It is below `ip_unprivileged_port_start`: binding it takes a privilege.
    pub is_privileged: bool,
}

impl PortTraits {
    /// What is said of `port` in this network namespace.
    pub fn of(port: u16) -> Self {
        let kernel = KernelPorts::read();
        let is_in = |range: &PortRange| range.contains(port);
        let unprivileged = setting("ip_unprivileged_port_start");
        Self {
            is_reserved: kernel.reserved.iter().any(is_in),
            is_ephemeral: kernel.ephemeral.as_ref().is_some_and(is_in),
            is_refused_by_browsers: browser_refuses(port),
            // The kernel's own default, ip-sysctl.
            is_privileged: port < unprivileged.trim().parse().unwrap_or(1024),
        }
    }
}

/// The ports that two ranges share.
pub(crate) fn overlap(one: PortRange, other: PortRange) -> Option<PortRange> {
    PortRange::new(one.start().max(other.start()), one.end().min(other.end())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::testing::in_own_network;

    #[test]
    fn the_kernels_files_are_read() {
        assert_eq!(
            parse_reserved("8080,9148-9150\n"),
            ["8080", "9148-9150"].map(|text| text.parse().unwrap())
        );
        assert!(parse_reserved("\n").is_empty());
        assert_eq!(
            parse_ephemeral("32768\t60999\n"),
            "32768-60999".parse().ok()
        );
        assert_eq!(parse_ephemeral(""), None);
    }

    #[test]
    fn the_list_of_refused_ports_is_sorted_for_its_search() {
        assert!(BROWSER_REFUSED.is_sorted());
        assert!(browser_refuses(6000) && browser_refuses(10080));
        assert!(!browser_refuses(8000) && !browser_refuses(3000));
    }

    #[test]
    fn a_set_knows_its_ends() {
        let set: PortSet = [0, 63, 64, 65535].into_iter().collect();
        assert!([0, 63, 64, 65535].iter().all(|&port| set.contains(port)));
        assert!([1, 62, 65, 65534].iter().all(|&port| !set.contains(port)));
    }

    #[test]
    fn a_number_has_traits_of_its_own() {
        in_own_network(|| {
            fs_err::write("/proc/sys/net/ipv4/ip_local_reserved_ports", "8100-8110").unwrap();
            let of = PortTraits::of;
            assert_eq!(of(8000), PortTraits::default());
            assert!(of(8105).is_reserved && !of(8111).is_reserved);
            assert!(of(40_000).is_ephemeral);
            assert!(of(6000).is_refused_by_browsers);
            assert!(of(80).is_privileged && !of(1024).is_privileged);
        });
    }

    #[test]
    fn ranges_overlap_or_do_not() {
        let range = |text: &str| text.parse::<PortRange>().unwrap();
        assert_eq!(overlap(range("1-5"), range("5-9")), Some(range("5")));
        assert_eq!(overlap(range("1-4"), range("5-9")), None);
    }
}
