//! Fixed ports that get in each other's way.

use std::collections::HashMap;

use super::code;
use super::replicas::Replicas;
use crate::ports::request::PortKey;
use crate::spec::model::{PortDeclaration, PortWant, StackSpec};
use crate::spec::problem::Problem;

/// Reports every port that is fixed to the number of an earlier one. TCP and UDP are two worlds,
/// and what does not run takes no port. Several replicas of one service are told of elsewhere.
pub(super) fn check(spec: &StackSpec, replicas: &[Replicas], problems: &mut Vec<Problem>) {
    let mut known: HashMap<u16, Vec<(PortKey, &PortDeclaration)>> = HashMap::new();
    let services = spec.services.values().zip(replicas);
    for (service, _) in services.filter(|(_, replicas)| replicas.count > 0) {
        for (name, declaration) in &service.ports {
            let PortWant::Fixed(port) = declaration.want else {
                continue;
            };
            let key = PortKey::new(&service.name, 1, name);
            let earlier = known.entry(port).or_default();
            let mut in_the_way = earlier.iter();
            match in_the_way.find(|(_, other)| other.protocol.overlaps(declaration.protocol)) {
                Some((first, other)) => problems.push(
                    Problem::error(
                        code::FIXED_TWICE,
                        format!("port {port} is fixed twice: {first} and {key}"),
                        &declaration.span,
                    )
                    .label("this is the second")
                    .also(&other.span, "the first")
                    .hint("write `auto` for one of them"),
                ),
                None => earlier.push((key, declaration)),
            }
        }
    }
}
