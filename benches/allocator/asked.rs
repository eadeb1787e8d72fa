//! What the stacks of the benches ask for.

use std::path::Path;

use stack::ports::request::{Owner, Pool, PortKey, PortRequest, Want};
use stack::support::name::{PortName, ServiceName};
use stack::support::port_range::PortRange;
use stack::support::protocol::Protocol;

/// From `start` to `end`, both included.
pub(crate) fn range(start: u16, end: u16) -> PortRange {
    PortRange::new(start, end).expect("the ends are the right way round")
}

/// A pool of one range.
pub(crate) fn pool(range: PortRange) -> Pool {
    Pool {
        ranges: vec![range],
        exclude: Vec::new(),
    }
}

/// One port each for so many services.
pub(crate) fn requests(count: usize) -> Vec<PortRequest> {
    let name = PortName::new("PORT").expect("a fixed name");
    (0..count)
        .map(|index| PortRequest {
            key: PortKey {
                replica: 1,
                service: ServiceName::new(&format!("s{index}")).expect("letters and digits"),
                name: name.clone(),
            },
            protocol: Protocol::Tcp,
            want: Want::Auto,
            wish: None,
        })
        .collect()
}

/// The stack of that number, all of them in one directory.
pub(crate) fn owner(index: usize, directory: &Path) -> Owner {
    Owner {
        instance: format!("bench{index}-0123456789abcdef"),
        project: format!("bench{index}"),
        project_dir: directory.to_path_buf(),
    }
}
