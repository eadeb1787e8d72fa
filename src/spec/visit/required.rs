//! `${VAR:?message}` in a value that another file replaces: as in Compose it must be set all the same,
//! since every file is one of its own before it is merged.

use super::Reader;
use crate::spec::code;
use crate::spec::problem::Report;
use crate::spec::scalar::Text;
use crate::spec::template::{TemplateKind, read};
use crate::spec::tree::{Kind, Node};

/// Keys whose texts a shell may read: there, `${…}` is the shell's.
const SHELL: [&str; 6] = [
    "test",
    "pre_start",
    "post_start",
    "pre_stop",
    "watch",
    "develop",
];

impl Reader<'_> {
    /// Reports every required variable of a file that is not set. What is told twice is shown once.
    pub(super) fn check_required(&mut self, node: &Node<'_>) {
        match &node.kind {
            Kind::Scalar { text, .. } if text.contains("${") && text.contains('?') => {
                let Some(text) = Text::of(node) else { return };
                let get = |name: &str| self.scope.variable(text.source, name);
                let mut problems = Vec::new();
                read(&text, TemplateKind::Plain, &get, &mut problems);
                let is_required = |code| code == code::REQUIRED_VARIABLE;
                let required = problems.into_iter().filter(|it| is_required(it.code));
                required.for_each(|problem| self.report(problem));
            }
            Kind::Scalar { .. } => {}
            Kind::Sequence(items) => items.iter().for_each(|item| self.check_required(item)),
            Kind::Mapping(entries) => {
                for entry in entries {
                    let key = entry.key.text().unwrap_or_default();
                    let is_line = matches!(key, "command" | "entrypoint")
                        && matches!(entry.value.kind, Kind::Scalar { .. });
                    if !is_line && !key.starts_with("x-") && !SHELL.contains(&key) {
                        self.check_required(&entry.value);
                    }
                }
            }
        }
    }
}
