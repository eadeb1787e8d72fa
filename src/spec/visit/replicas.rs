//! `replicas`, `scale` and `deploy`: how many of a service there are.

use super::keys::DEPLOY;
use super::scope::Place;
use super::{Field, Reader, values};
use crate::spec::model::{ServiceSpec, Setting};

impl Reader<'_> {
    /// `replicas:` or `scale:`, or `replicas:` below `deploy:`.
    pub(super) fn replicas(&mut self, field: &Field<'_, '_>) -> Option<Setting<u32>> {
        // How many there are decides how many ports there are, so it cannot depend on one.
        let what = format!("`{}`", field.name);
        let before = std::mem::replace(&mut self.place, Place::Nowhere(what));
        let replicas = self.setting(field, values::parse_replicas);
        self.place = before;
        replicas
    }

    /// `deploy:`, of which only `replicas` is known.
    pub(super) fn deploy(&mut self, service: &mut ServiceSpec, field: &Field<'_, '_>) {
        for entry in self.map(field, "write `deploy: {replicas: 2}`, or `replicas: 2`") {
            match entry.name {
                "replicas" => service.replicas.extend(self.replicas(&entry)),
                name if name.starts_with("x-") => {}
                _ => self.refuse_key(&DEPLOY, entry.key, None),
            }
        }
    }
}
