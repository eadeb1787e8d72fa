//! Top-level `ports`: from where the allocator takes.

use super::keys::PORTS;
use super::{Field, Reader};
use crate::spec::code;
use crate::spec::model::PortsSpec;
use crate::spec::problem::Problem;
use crate::support::port_range::PortRange;

impl Default for PortsSpec {
    fn default() -> Self {
        Self {
            ranges: vec![PortRange::DEFAULT],
            exclude: Vec::new(),
            range_span: None,
        }
    }
}

impl Reader<'_> {
    pub(super) fn ports(&mut self, field: &Field<'_, '_>) -> PortsSpec {
        let mut ports = PortsSpec::default();
        for entry in self.map(field, "write `ports: {range: 8000-9000}`") {
            match entry.name {
                "range" => {
                    let ranges = self.ranges(&entry);
                    if !ranges.is_empty() {
                        ports.ranges = ranges;
                        ports.range_span = Some(self.span(entry.value));
                    }
                }
                "exclude" => ports.exclude = self.ranges(&entry),
                name if name.starts_with("x-") => {}
                _ => self.refuse_key(&PORTS, entry.key, None),
            }
        }
        ports
    }

    fn ranges(&mut self, field: &Field<'_, '_>) -> Vec<PortRange> {
        let mut ranges = Vec::new();
        for item in field.value.items() {
            let Some(text) = self.literal(&format!("`ports.{}`", field.name), item) else {
                continue;
            };
            match text.value.parse::<PortRange>() {
                Ok(range) => ranges.push(range),
                Err(error) => self.problems.push(
                    Problem::error(code::BAD_PORT, error.to_string(), &text.span)
                        .hint("write a range such as `8000-9000`, both ends included"),
                ),
            }
        }
        ranges
    }
}
