//! Which ports a plan has: those that were allocated, or others in their place.

use std::collections::HashMap;

use super::replicas::Replicas;
use crate::ports::request::PortKey;
use crate::spec::model::StackSpec;
use crate::support::name::{PortName, ServiceName};

/// The ports of a plan: the number of every key.
pub type Assignment = HashMap<PortKey, u16>;

/// Where the numbers of ports come from.
#[derive(Clone, Copy)]
pub(super) struct Ports<'a> {
    pub(super) numbers: &'a Assignment,
    /// Whether they were allocated; if not, they stand in for those that will be.
    pub(super) are_allocated: bool,
}

/// A port for every declaration and replica, for a check of everything else. They differ, so that
/// a text that comes to mean another port is another text. A service without replicas is checked
/// by its first, and has a port there.
pub(super) fn stand_ins(spec: &StackSpec, replicas: &[Replicas]) -> Assignment {
    let keys = spec
        .services
        .values()
        .zip(replicas)
        .flat_map(|(service, replicas)| {
            (1..=replicas.count.max(1)).flat_map(move |replica| {
                let names = service.ports.keys();
                names.map(move |name| PortKey::new(&service.name, replica, name))
            })
        });
    // All have five digits: none is taken for one that somebody chose.
    keys.zip((40_000..=u16::MAX).rev().cycle()).collect()
}

impl Ports<'_> {
    /// The number of a port of a service's replica.
    pub(super) fn get(self, service: &ServiceName, replica: u32, name: &PortName) -> Option<u16> {
        self.numbers
            .get(&PortKey::new(service, replica, name))
            .copied()
    }
}
