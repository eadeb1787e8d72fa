//! `ports` and `expose` of a process: a declaration of the ports on which its command listens anyway.

use super::keys::LISTED_PORT;
use super::scope::Place;
use super::{Field, Reader, known, values};
use crate::spec::code;
use crate::spec::model::{ListedPort, PortWant, Setting};
use crate::spec::problem::{Report, Spanned};
use crate::spec::template::{Piece, Placeholder, TemplateKind};
use crate::spec::tree::{Kind, Node};
use crate::support::name::PortName;
use crate::support::protocol::Protocol;

const FORMS: &str = "write a port such as `8080`, `$<PORT:auto>`, or `{target: 8080, name: PORT}`";

/// The long form, as far as it was read.
#[derive(Default)]
pub(super) struct PortParts {
    pub(super) target: Option<Spanned<u16>>,
    pub(super) published: Option<Spanned<u16>>,
    pub(super) protocol: Option<Setting<Protocol>>,
    pub(super) name: Option<PortName>,
}

impl Reader<'_> {
    pub(super) fn listed_ports(&mut self, field: &Field<'_, '_>) -> Vec<ListedPort> {
        let items = field.value.items().into_iter();
        items
            .filter_map(|item| match &item.kind {
                Kind::Scalar { .. } => self.short_port(field.name, item),
                Kind::Mapping(_) => self.long_port(item),
                Kind::Sequence(_) => {
                    let what = format!("an item of `{}`", field.name);
                    self.wrong_item(&what, "a port", item, FORMS);
                    None
                }
            })
            .collect()
    }

    fn short_port(&mut self, list: &str, item: &Node<'_>) -> Option<ListedPort> {
        let what = format!("an item of `{list}`");
        let template = self.template(&what, item, TemplateKind::Plain)?;
        if template.is_broken {
            return None;
        }
        if let [Piece::Placeholder(placeholder, _)] = template.pieces.as_slice()
            && matches!(placeholder, Placeholder::Declare(..) | Placeholder::Own(_))
        {
            return Some(ListedPort::Placeholder(template));
        }
        let Some(text) = template.as_literal() else {
            self.error(
                code::NEEDS_CONTAINER,
                &template.span,
                "a placeholder stands alone here: a process listens on its port itself",
                "write `$<PORT:auto>` and nothing else",
            );
            return None;
        };
        match values::parse_listed_port(&text) {
            Ok((port, protocol)) => Some(ListedPort::Number {
                name: None,
                port,
                protocol,
                span: template.span,
            }),
            Err(error) => {
                let result = template.had_variable.then_some(text.as_str());
                self.report(error.into_problem(&template.span, result));
                None
            }
        }
    }

    fn long_port(&mut self, item: &Node<'_>) -> Option<ListedPort> {
        let mut parts = PortParts::default();
        let fields = self.read(&LISTED_PORT, &mut parts, item);
        if !fields.iter().any(|field| field.name == "target") {
            let message = "this port has no `target`";
            self.error(code::WRONG_TYPE, &item.span(), message, FORMS);
        }
        let target = parts.target?;
        if let Some(published) = parts.published
            && published.value != target.value
        {
            let error = values::mapped(published.value, target.value);
            self.report(error.into_problem(&published.span, None));
            return None;
        }
        let protocol = parts.protocol.and_then(known);
        Some(ListedPort::Number {
            name: parts.name,
            port: target.value,
            protocol: protocol.map_or(Protocol::Tcp, |protocol| protocol.value),
            span: target.span,
        })
    }

    /// A port of the long form. Which one it is decides what is declared, so it cannot depend on one.
    pub(super) fn literal_port(&mut self, field: &Field<'_, '_>) -> Option<Spanned<u16>> {
        let what = format!("`{}`", field.name);
        let port = self.without_placeholders(&what, |r| r.setting(field, values::parse_port));
        known(port?)
    }

    pub(super) fn listed_name(&mut self, field: &Field<'_, '_>) -> Option<PortName> {
        let text = self.literal("the name of a port", field.value)?;
        // Compose has dashes in it, which no variable can have.
        let name = PortName::new(&text.value.replace('-', "_"));
        if let Err(error) = &name {
            let message = format!("`{}` is not a valid port name: {error}", text.value);
            let hint = "a name is made of letters, digits and `_`, usually `PORT`";
            self.error(code::BAD_NAME, &text.span, message, hint);
        }
        name.ok()
    }

    /// Declares the numbers, once everything else of the service was read: what its placeholders declare
    /// as well is not another port.
    pub(super) fn declare_listed(&mut self, listed: &[ListedPort]) {
        for entry in listed {
            let ListedPort::Number {
                name,
                port,
                protocol,
                span,
            } = entry
            else {
                continue;
            };
            let Place::Service { own, .. } = &self.place else {
                return;
            };
            let want = PortWant::Fixed(*port);
            let mut declared = own.ports.values();
            let is_there = declared.any(|it| it.want == want && it.protocol == *protocol);
            if name.is_none() && is_there {
                continue;
            }
            // One number may be two ports: of TCP and of UDP.
            let usual = [
                "PORT".to_owned(),
                format!("PORT_{port}"),
                format!("PORT_{port}_{protocol}"),
            ];
            let mut usual = usual.iter().filter_map(|name| PortName::new(name).ok());
            let name = name.clone().or_else(|| usual.find(|name| !own.has(name)));
            let declare = |name| Placeholder::Declare(name, want, *protocol);
            if let Some(Err(problem)) = name.map(|name| self.admit(&declare(name), span)) {
                self.report(problem);
            }
        }
    }
}
