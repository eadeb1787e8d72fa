//! `watch`: what is done when files change.

use ignore::gitignore::GitignoreBuilder;

use super::keys::WATCH;
use super::{Field, Reader, known, values};
use crate::spec::code;
use crate::spec::model::{WatchAction, WatchSpec};
use crate::spec::problem::{Problem, Report};
use crate::spec::template::{Template, TemplateKind};
use crate::spec::tree::{Kind, Node};

/// A text that depends on nothing that is not known yet.
fn known_text(template: &Template) -> Option<(&Template, String)> {
    let text = template.as_literal().filter(|_| !template.is_broken)?;
    Some((template, text))
}

/// Why a path would never be seen to change, and what to do about it.
fn not_watched(path: &str) -> Option<(String, String)> {
    let names = path.split('/');
    if path.is_empty() {
        return Some(("the path is empty".to_owned(), FORMS.to_owned()));
    }
    if matches!(path, "true" | "false") {
        let message = format!("`{path}` is not a path to watch");
        return Some((message, FORMS.to_owned()));
    }
    if path == "~" || path.starts_with("~/") {
        let message = format!("`{path}` is not a path: `~` is not your home directory here");
        return Some((message, format!("write `${{HOME}}{}`", &path[1..])));
    }
    if path.contains(['*', '?']) {
        let is_plain = |name: &&str| !name.contains(['*', '?', '[', '{']);
        let parts: Vec<&str> = names.collect();
        let plain = parts.iter().take_while(|name| is_plain(name)).count();
        let (above, pattern) = (parts[..plain].join("/"), parts[plain..].join("/"));
        let above = match above.as_str() {
            "" if path.starts_with('/') => "/",
            "" => ".",
            above => above,
        };
        let message = format!("`{path}` is not a path: patterns stand in `include`");
        let hint = format!("write `{{path: {above}, include: '{pattern}'}}`");
        return Some((message, hint));
    }
    let is_own = !path.starts_with('/');
    let who = names.filter(|_| is_own).find_map(|name| match name {
        ".git" => Some("git"),
        ".stack" => Some("stack"),
        _ => None,
    })?;
    let message = format!("`{path}` is never watched: `{who}` writes there itself");
    Some((message, "watch the files that the service reads".to_owned()))
}

/// What is wrong with a pattern, without the pattern itself.
fn reason_of(error: ignore::Error) -> String {
    match error {
        ignore::Error::Glob { err, .. } => err,
        error => error.to_string(),
    }
}

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
        if let Some((path, text)) = watch.path.as_ref().and_then(known_text)
            && let Some((message, hint)) = not_watched(&text)
        {
            self.error(code::BAD_WATCH, &path.span, message, hint);
        }
        for pattern in watch.ignore.iter().chain(&watch.include) {
            if let Some((pattern, text)) = known_text(pattern)
                && let Err(error) = GitignoreBuilder::new("/").add_line(None, &text)
            {
                let message = format!("`{text}` is not a valid pattern: {}", reason_of(error));
                let hint = "write it as a line of a `.gitignore`";
                self.error(code::BAD_WATCH, &pattern.span, message, hint);
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
