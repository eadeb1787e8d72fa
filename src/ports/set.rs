//! Sets of ports, and the ports that nobody should be given.

use crate::support::fs::read_small;
use crate::support::port_range::PortRange;

/// A set of ports as a bitmap of 8 KiB.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PortSet(Box<[u64; 1024]>);

impl PortSet {
    pub(crate) fn new() -> Self {
        Self(Box::new([0; 1024]))
    }

    pub(crate) fn insert(&mut self, port: u16) {
        self.0[usize::from(port >> 6)] |= 1 << (port & 63);
    }

    pub(crate) fn contains(&self, port: u16) -> bool {
        self.0[usize::from(port >> 6)] & (1 << (port & 63)) != 0
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
        let mut set = Self::new();
        set.extend(ports);
        set
    }
}

impl std::fmt::Debug for PortSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set()
            .entries((0..=u16::MAX).filter(|&port| self.contains(port)))
            .finish()
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

/// What the kernel keeps for itself in this network namespace.
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
        let file = |name: &str| {
            let bytes = read_small(&format!("/proc/sys/net/ipv4/{name}")).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Self {
            reserved: parse_reserved(&file("ip_local_reserved_ports")),
            ephemeral: parse_ephemeral(&file("ip_local_port_range")),
        }
    }
}

/// `8080,9148-9150`.
fn parse_reserved(text: &str) -> Vec<PortRange> {
    text.trim()
        .split(',')
        .filter_map(|part| part.parse().ok())
        .collect()
}

/// Two numbers with a tab between them.
fn parse_ephemeral(text: &str) -> Option<PortRange> {
    let mut ends = text.split_whitespace().map(str::parse);
    PortRange::new(ends.next()?.ok()?, ends.next()?.ok()?).ok()
}

/// The ports that two ranges share.
pub(crate) fn overlap(one: PortRange, other: PortRange) -> Option<PortRange> {
    PortRange::new(one.start().max(other.start()), one.end().min(other.end())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn ranges_overlap_or_do_not() {
        let range = |text: &str| text.parse::<PortRange>().unwrap();
        assert_eq!(overlap(range("1-5"), range("5-9")), Some(range("5")));
        assert_eq!(overlap(range("1-4"), range("5-9")), None);
    }
}
