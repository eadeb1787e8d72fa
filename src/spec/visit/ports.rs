//! Top-level `ports`: from where the allocator takes.

use super::keys::PORTS;
use super::scope::Place;
use super::{Field, Reader, values};
use crate::spec::model::{PortsSpec, Setting};
use crate::support::port_range::PortRange;

impl Reader<'_> {
    pub(super) fn ports(&mut self, field: &Field<'_, '_>) -> PortsSpec {
        let mut ports = PortsSpec::default();
        for entry in self.map(field, "write `ports: {range: 8000-9000}`") {
            match entry.name {
                "range" => ports.ranges = self.ranges(&entry),
                "exclude" => ports.exclude = self.ranges(&entry),
                name if name.starts_with("x-") => {}
                _ => self.refuse_key(&PORTS, entry.key, None),
            }
        }
        ports
    }

    fn ranges(&mut self, field: &Field<'_, '_>) -> Vec<Setting<PortRange>> {
        let what = format!("`ports.{}`", field.name);
        self.place = Place::Nowhere(what.clone());
        let items = field.value.items().into_iter();
        items
            .filter_map(|item| self.setting_of(&what, item, values::parse_range))
            .collect()
    }
}
