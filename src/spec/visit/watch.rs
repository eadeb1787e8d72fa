//! `watch`: what is done when files change.

use super::keys::WATCH;
use super::{Field, Reader, known, values};
use crate::spec::code;
use crate::spec::model::{WatchAction, WatchSpec};
use crate::spec::problem::{Problem, Report};
use crate::spec::template::TemplateKind;
use crate::spec::tree::{Kind, Node};

const FORMS: &str = "write a path, or `{path: src, action: restart}`";

impl Reader<'_> {
    /// `watch:` as an item or a list of them.
    pub(super) fn watch(&mut self, field: &Field<'_, '_>) -> Vec<WatchSpec> {
        let items = field.value.items().into_iter();
        items.filter_map(|item| self.watch_item(item)).collect()
    }

    fn watch_item(&mut self, item: &Node<'_>) -> Option<WatchSpec> {
        let mut watch = WatchSpec::default();
        match &item.kind {
            Kind::Scalar { text, .. } if !item.is_null() && !text.is_empty() => {
                watch.path = self.template("`watch`", item, TemplateKind::Plain);
            }
            Kind::Scalar { .. } | Kind::Sequence(_) => {
                self.wrong_item("an item of `watch`", "a path or a map", item, FORMS);
            }
            Kind::Mapping(_) => {
                let fields = self.read(&WATCH, &mut watch, item);
                let given = |name: &str| fields.iter().find(|field| field.name == name);
                if given("path").is_none() {
                    let message = "this `watch` has no `path`";
                    self.error(code::WRONG_TYPE, &item.span(), message, FORMS);
                }
                // A wrong word was reported; what it would have needed is not known.
                if given("action").is_none() || watch.action.is_some() {
                    self.check_action(&mut watch, item, &fields);
                }
            }
        }
        watch.path.is_some().then_some(watch)
    }

    /// `rebuild` needs a command and `signal` a signal, and no other action has one. Who says only
    /// one of these means the action that it belongs to.
    fn check_action(&mut self, watch: &mut WatchSpec, item: &Node<'_>, fields: &[Field<'_, '_>]) {
        let given = |name: &str| fields.iter().find(|field| field.name == name);
        let (command, signal) = (given("command"), given("signal"));
        let action = *watch.action.get_or_insert(match (command, signal) {
            (Some(_), _) => WatchAction::Rebuild,
            (None, Some(_)) => WatchAction::Signal,
            (None, None) => WatchAction::Restart,
        });
        let (missing, needless) = match action {
            WatchAction::Restart => (None, [("command", command), ("signal", signal)]),
            WatchAction::Rebuild => {
                let hint = "say what rebuilds it, `command: cargo build`, or write `restart`";
                let missing = command.is_none().then_some(("command", hint));
                (missing, [("signal", signal), ("", None)])
            }
            WatchAction::Signal => {
                let missing = signal
                    .is_none()
                    .then_some(("signal", "write `signal: SIGHUP`"));
                (missing, [("command", command), ("", None)])
            }
        };
        let word = crate::spec::model::word_of(&WatchAction::WORDS, &action);
        if let Some((key, hint)) = missing {
            let span = given("action").map_or_else(|| item.span(), |field| field.value.span());
            let message = format!("`action: {word}` needs a `{key}`");
            self.error(code::BAD_WATCH, &span, message, hint);
        }
        for (key, field) in needless {
            if let Some(field) = field {
                let other = match key {
                    "command" => "rebuild",
                    _ => "signal",
                };
                let message = format!("`{key}` does nothing with `action: {word}`");
                self.report(
                    Problem::error(code::BAD_WATCH, message, &field.key.span())
                        .hint(format!("remove it, or write `action: {other}`")),
                );
            }
        }
    }

    pub(super) fn watch_action(&mut self, field: &Field<'_, '_>) -> Option<WatchAction> {
        let action =
            self.without_placeholders("`action`", |r| r.setting(field, values::parse_watch_action));
        known(action?).map(|action| action.value)
    }
}
