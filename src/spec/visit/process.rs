//! The keys that are about the process itself.

use indexmap::IndexMap;

use super::keys::ULIMIT;
use super::{Field, Reader, values};
use crate::spec::code;
use crate::spec::model::{LIMITS, Setting, UlimitSpec};
use crate::spec::problem::Report;
use crate::spec::template::{Template, TemplateKind};
use crate::spec::tree::Kind;

const ULIMIT_FORMS: &str =
    "write `ulimits: {nofile: 4096}`, or `ulimits: {nofile: {soft: 1024, hard: 4096}}`";

/// The long form of a limit, as far as it was read.
pub(super) type Ulimit = (Option<Setting<u64>>, Option<Setting<u64>>);

impl Reader<'_> {
    /// The texts of a list, or the one that stands for a list of itself.
    pub(super) fn list(&mut self, field: &Field<'_, '_>) -> Vec<Template> {
        let what = format!("an item of `{}`", field.name);
        let items = field.value.items().into_iter();
        items
            .filter_map(|item| self.template(&what, item, TemplateKind::Plain))
            .collect()
    }

    /// `ulimits:`, one number for both limits or each by its name.
    pub(super) fn ulimits(&mut self, field: &Field<'_, '_>) -> IndexMap<u32, UlimitSpec> {
        let mut ulimits = IndexMap::new();
        if !self.is_map_or_nothing(field, ULIMIT_FORMS) {
            return ulimits;
        }
        for entry in self.own_fields(field.value) {
            let limit = match values::word(entry.name, "limit", &LIMITS) {
                Ok(limit) => limit,
                Err(error) => {
                    self.report(error.into_problem(&entry.key.span(), None));
                    continue;
                }
            };
            if let (Some(soft), Some(hard)) = self.ulimit(&entry) {
                ulimits.insert(limit, UlimitSpec { soft, hard });
            }
        }
        ulimits
    }

    fn ulimit(&mut self, entry: &Field<'_, '_>) -> Ulimit {
        if !matches!(entry.value.kind, Kind::Mapping(_)) {
            let both = self.setting(entry, values::parse_limit);
            return (both.clone(), both);
        }
        let mut pair = (None, None);
        let fields = self.read(&ULIMIT, &mut pair, entry.value);
        for part in ["soft", "hard"] {
            if !fields.iter().any(|field| field.name == part) {
                let message = format!("the limit `{}` has no `{part}`", entry.name);
                self.error(code::WRONG_TYPE, &entry.key.span(), message, ULIMIT_FORMS);
            }
        }
        pair
    }
}
