//! One service.

use indexmap::IndexMap;

use super::keys::{DEPENDENCY, RESTART_POLICY, SERVICE};
use super::scope::{Own, Place};
use super::{Field, Reader, known, values};
use crate::spec::code;
use crate::spec::model::{
    CommandSpec, Condition, DependencySpec, RestartPolicySpec, RestartSpec, ServiceSpec, Setting,
};
use crate::spec::problem::{Problem, Report, Spanned};
use crate::spec::template::{Template, TemplateKind};
use crate::spec::tree::{Kind, Node};
use crate::support::name::ServiceName;

use std::rc::Rc;

const COMMAND_FORMS: &str = "write a shell line, or a list: `[program, argument]`";

const COMMAND_HINT: &str = "say what it runs: `command: npm run dev`";

impl Reader<'_> {
    /// Reads one service; `None` when not even its name can be used. One without anything that
    /// runs was reported; it is kept so that nobody is told that its dependents' words are wrong.
    pub(super) fn service(&mut self, field: &Field<'_, '_>) -> Option<ServiceSpec> {
        let name = self.service_name(field.name, field.key);
        let known = &mut self.declared.services;
        known.insert(field.name.to_owned(), Own::default());
        if field.value.is_null() {
            self.error(
                code::EMPTY_SERVICE,
                &field.key.span(),
                format!("the service `{}` is empty", field.name),
                "give it a `command`, and check the indentation of what is below it",
            );
            return name.map(|name| ServiceSpec::new(name, field.key.span()));
        }
        if !matches!(field.value.kind, Kind::Mapping(_)) {
            let what = format!("the service `{}`", field.name);
            let hint = format!(
                "write `{}:` and below it `command: …`, indented",
                field.name
            );
            self.wrong_value(&what, "a map", field, &hint);
            return name.map(|name| ServiceSpec::new(name, field.key.span()));
        }
        let name = name.unwrap_or_else(placeholder_name);
        let mut service = ServiceSpec::new(name, field.key.span());
        self.place = Place::Service {
            name: field.name.to_owned(),
            own: Own::default(),
        };
        let fields = self.read(&SERVICE, &mut service, field.value);
        let listed = std::mem::take(&mut service.listed_ports);
        self.declare_listed(&listed);
        service.listed_ports = listed;
        let place = std::mem::replace(&mut self.place, Place::Nowhere(String::new()));
        if let Place::Service { name, own } = place {
            service.ports.clone_from(&own.ports);
            service.things.clone_from(&own.things);
            service.files.clone_from(&own.files);
            self.declared.services.insert(name, own);
        }
        // As in Compose, an empty one is none.
        if service.command.is_some() {
            service.entrypoint = service.entrypoint.filter(|it| !it.is_nothing());
        }
        self.check_command(&service, &fields);
        self.check_one_word(&service);
        self.check_restart(&service);
        self.check_handoff(&service);
        self.check_on_unhealthy(&service);
        Some(service)
    }

    /// Without a port there is nothing to hand off, which is worth a word and no more.
    fn check_handoff(&mut self, service: &ServiceSpec) {
        let handoff = service.handoff.as_ref();
        if let Some(handoff) = handoff.filter(|_| service.ports.is_empty()) {
            let name = &service.name;
            let message = format!("`handoff` does nothing: the service `{name}` has no port");
            let hint = "remove the line, or use a port in the command: `$<PORT:auto>`";
            self.warning(code::HANDOFF_WITHOUT_PORTS, handoff.span(), message, hint);
        }
    }

    /// `restart` and `restart_policy.condition` say the same thing twice; they must agree.
    fn check_restart(&mut self, service: &ServiceSpec) {
        let policy = service.restart_policy.as_ref();
        let condition = policy.and_then(|policy| policy.value.condition.as_ref());
        let (Some(Setting::Known(restart)), Some(Setting::Known(condition))) =
            (&service.restart, condition)
        else {
            return;
        };
        let agrees = match restart.value {
            RestartSpec::No => condition.value == RestartSpec::No,
            RestartSpec::Always | RestartSpec::UnlessStopped => {
                condition.value == RestartSpec::Always
            }
            RestartSpec::OnFailure(_) => condition.value == RestartSpec::OnFailure(None),
        };
        if !agrees {
            self.report(
                Problem::error(
                    code::CONFLICTING_RESTART,
                    format!(
                        "`restart` and `restart_policy` of `{}` disagree",
                        service.name
                    ),
                    &condition.span,
                )
                .label("this says one thing")
                .also(&restart.span, "this says another")
                .hint("keep `restart` and leave `condition` out"),
            );
        }
    }

    fn service_name(&mut self, text: &str, node: &Node<'_>) -> Option<ServiceName> {
        let name = ServiceName::new(text);
        if let Err(error) = &name {
            self.error(
                code::BAD_NAME,
                &node.span(),
                format!("`{text}` is not a valid service name: {error}"),
                "names are made of letters, digits, `_`, `-` and `.`, at most 63",
            );
        }
        name.ok()
    }

    /// `command:` or `entrypoint:`; nothing is as if the key were not there.
    pub(super) fn command(&mut self, field: &Field<'_, '_>) -> Option<CommandSpec> {
        match &field.value.kind {
            Kind::Scalar { .. } if field.value.is_null() => None,
            Kind::Scalar { .. } => self
                .filled(field, TemplateKind::Shell)
                .map(CommandSpec::Line),
            Kind::Sequence(items) => {
                let words = self.words(field.name, items);
                Some(CommandSpec::Words(words, field.value.span()))
            }
            Kind::Mapping(_) => {
                self.wrong_type("a text or a list", field, COMMAND_FORMS);
                None
            }
        }
    }

    /// The words of an argv.
    pub(super) fn words(&mut self, list: &str, items: &[Rc<Node<'_>>]) -> Vec<Template> {
        let what = format!("a word of `{list}`");
        items
            .iter()
            .filter_map(|item| {
                if item.is_null() && item.text() == Some("") {
                    self.wrong_item(&what, "a text", item, "write '' for an empty word");
                    return None;
                }
                self.template(&what, item, TemplateKind::Plain)
            })
            .collect()
    }

    /// A service must have something to run.
    fn check_command(&mut self, service: &ServiceSpec, fields: &[Field<'_, '_>]) {
        let is_given = |name: &str| {
            let mut fields = fields.iter();
            fields.find(|field| field.name == name && !field.value.is_null())
        };
        let Some(given) = is_given("command").or_else(|| is_given("entrypoint")) else {
            // A `comand` or an `image` was reported as what it is; that nothing else is there
            // follows from it.
            let runs = ["command", "entrypoint", "image", "build", "extends"];
            let is_told = |field: &Field<'_, '_>| {
                runs.contains(&field.name)
                    || SERVICE
                        .suggest(field.name)
                        .is_some_and(|it| runs.contains(&it))
            };
            let mut others = fields
                .iter()
                .filter(|field| field.name == "extends" || !SERVICE.knows(field.name));
            if !self.is_full() && !others.any(is_told) {
                self.error(
                    code::NO_COMMAND,
                    &service.name_span,
                    format!("the service `{}` has no `command`", service.name),
                    COMMAND_HINT,
                );
            }
            return;
        };
        // A part that is missing here although it was given has been reported already.
        let is_reported = is_given("command").is_some() != service.command.is_some()
            || is_given("entrypoint").is_some()
                && service.entrypoint.is_none()
                && service.command.is_none();
        let mut parts = [&service.entrypoint, &service.command]
            .into_iter()
            .flatten();
        let first = parts.find_map(CommandSpec::first_word);
        let is_empty = first.is_none_or(|word| {
            !word.is_broken && word.as_literal().is_some_and(|text| text.trim().is_empty())
        });
        if is_reported || !is_empty {
            return;
        }
        match first.filter(|word| word.had_variable) {
            Some(word) => self.report(
                Problem::error(
                    code::EMPTY_COMMAND,
                    format!("the command of `{}` begins with nothing", service.name),
                    &word.span,
                )
                .label("this comes to an empty text")
                .hint("set the variable, or give it a default: `${PROGRAM:-name}`"),
            ),
            None => self.error(
                code::EMPTY_COMMAND,
                &given.value.span(),
                format!("the command of `{}` is empty", service.name),
                COMMAND_HINT,
            ),
        }
    }

    /// Whoever writes `["npm run dev"]` has hardly a program of that name.
    fn check_one_word(&mut self, service: &ServiceSpec) {
        let words = match (&service.entrypoint, &service.command) {
            (None, Some(CommandSpec::Words(words, _))) => words.as_slice(),
            _ => &[],
        };
        let [word] = words else { return };
        let text = word.as_literal().unwrap_or_default();
        if text.contains(' ') && !text.contains('/') {
            let message = format!("the whole of `{text}` is taken for the name of a program");
            let hint = format!("write it as a text, `command: {text}`, or one item for each word");
            self.warning(code::ONE_WORD, &word.span, message, hint);
        }
    }

    pub(super) fn depends_on(
        &mut self,
        field: &Field<'_, '_>,
    ) -> IndexMap<ServiceName, DependencySpec> {
        // Those of an earlier file stay, where this one says nothing else of them.
        let earlier = match &field.value.under {
            Some(value) => self.depends_on(&Field { value, ..*field }),
            None => IndexMap::new(),
        };
        let mut dependencies: IndexMap<ServiceName, DependencySpec> = IndexMap::new();
        let plain = |span| DependencySpec {
            span,
            condition: Condition::Started,
            is_required: true,
            restart: false,
        };
        match &field.value.kind {
            Kind::Mapping(_) => {
                for entry in self.fields(field.value) {
                    let name = self.service_name(entry.name, entry.key);
                    let mut dependency = plain(entry.key.span());
                    let before = name.as_ref().and_then(|name| earlier.get(name));
                    let is_new = before.is_none();
                    if let Some(before) = before {
                        dependency = DependencySpec {
                            span: dependency.span,
                            ..before.clone()
                        };
                    }
                    self.dependency(&entry, &mut dependency, is_new);
                    dependencies.extend(name.map(|name| (name, dependency)));
                }
            }
            Kind::Sequence(items) => {
                for item in items {
                    let Some(text) = self.literal("`depends_on`", item) else {
                        continue;
                    };
                    let Some(name) = self.service_name(&text.value, item) else {
                        continue;
                    };
                    if let Some(first) = dependencies.get(&name) {
                        let what = format!("dependency `{name}`");
                        self.report(Problem::twice(&what, &text.span, &first.span));
                        continue;
                    }
                    let restart = earlier.get(&name).is_some_and(|before| before.restart);
                    let dependency = DependencySpec {
                        restart,
                        ..plain(text.span)
                    };
                    dependencies.insert(name, dependency);
                }
            }
            Kind::Scalar { .. } if field.value.is_null() => {}
            Kind::Scalar { text, .. } => {
                let hint = format!("write a list: `depends_on: [{text}]`");
                self.wrong_type("a list or a map", field, &hint);
            }
        }
        let mut all = earlier;
        all.extend(dependencies);
        all
    }

    /// The long form of a dependency, which says its condition unless an earlier file does.
    fn dependency(&mut self, field: &Field<'_, '_>, dependency: &mut DependencySpec, is_new: bool) {
        let forms = format!("write `{}: {{condition: service_healthy}}`", field.name);
        if !matches!(field.value.kind, Kind::Mapping(_)) {
            let what = format!("the dependency `{}`", field.name);
            return self.wrong_value(&what, "a map", field, &forms);
        }
        let fields = self.read(&DEPENDENCY, dependency, field.value);
        if is_new && !fields.iter().any(|entry| entry.name == "condition") {
            let message = format!("the dependency `{}` has no `condition`", field.name);
            self.error(code::WRONG_TYPE, &dependency.span, message, forms);
        }
    }

    /// `profiles:`, each once.
    pub(super) fn profiles(&mut self, field: &Field<'_, '_>) -> Vec<Spanned<String>> {
        let mut profiles: Vec<Spanned<String>> = Vec::new();
        if let Kind::Mapping(_) = field.value.kind {
            self.wrong_type("a list", field, "write the names: `profiles: [dev, test]`");
            return profiles;
        }
        for profile in self.without_placeholders("`profiles`", |r| r.literals(field)) {
            let name = &profile.value;
            let is_usual = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
            if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(is_usual)
            {
                let message = format!("`{name}` is not a valid name for a profile");
                let hint = "names are made of letters, digits, `_`, `-` and `.`";
                self.error(code::BAD_NAME, &profile.span, message, hint);
            } else if !profiles.iter().any(|other| other.value == *name) {
                profiles.push(profile);
            }
        }
        profiles
    }

    pub(super) fn condition(&mut self, node: &Node<'_>) -> Option<Condition> {
        let text = self.literal("`condition`", node)?;
        values::word(&text.value, "condition", &Condition::WORDS)
            .map_err(|error| self.report(error.into_problem(&text.span, None)))
            .ok()
    }

    /// Nothing is as if the key were not there, as with every other map.
    pub(super) fn restart_policy(
        &mut self,
        field: &Field<'_, '_>,
    ) -> Option<Spanned<RestartPolicySpec>> {
        let mut value = RestartPolicySpec::default();
        let hint = "write `restart_policy: {condition: on-failure}`";
        self.read_map(&RESTART_POLICY, &mut value, field, hint);
        let span = field.key.span();
        (!field.value.is_null()).then_some(Spanned { value, span })
    }

    /// `restart_policy:`, of the service or of its `deploy`, but not of both.
    pub(super) fn own_restart_policy(&mut self, service: &mut ServiceSpec, field: &Field<'_, '_>) {
        let policy = self.restart_policy(field);
        match (&service.restart_policy, policy) {
            (Some(first), Some(second)) => self.report(
                Problem::error(
                    code::CONFLICTING_RESTART,
                    format!("`{}` has two restart policies", service.name),
                    &second.span,
                )
                .also(&first.span, "the other one")
                .hint("keep `restart_policy`, and remove the one in `deploy`"),
            ),
            (None, Some(policy)) => service.restart_policy = Some(policy),
            (_, None) => {}
        }
    }

    /// A key that is understood and does nothing, which is said where it asks for something.
    pub(super) fn without_effect(&mut self, field: &Field<'_, '_>, why: &str) {
        if self.flag(field) == Some(true) {
            let message = format!("`{}` does nothing: {why}", field.name);
            self.warning(
                code::NO_EFFECT,
                &field.key.span(),
                message,
                "remove the line",
            );
        }
    }

    /// Who has no check is never unhealthy.
    fn check_on_unhealthy(&mut self, service: &ServiceSpec) {
        let asks = service.on_unhealthy.as_ref();
        if let Some(asks) = asks.filter(|_| service.healthcheck.is_none()) {
            let message = format!(
                "`on_unhealthy` does nothing: the service `{}` has no `healthcheck`",
                service.name
            );
            let hint = "give it one, such as `healthcheck: {http: /}`";
            self.warning(code::NO_EFFECT, asks.span(), message, hint);
        }
    }

    /// `replicas:` or `scale:`, or `replicas:` below `deploy:`. How many there are decides how many
    /// ports there are, so it cannot depend on one.
    pub(super) fn replicas(&mut self, field: &Field<'_, '_>) -> Option<Spanned<u32>> {
        let what = format!("`{}`", field.name);
        let count = self.without_placeholders(&what, |r| r.setting(field, values::parse_replicas));
        known(count?)
    }
}

impl CommandSpec {
    /// Whether it is written as an empty line.
    fn is_nothing(&self) -> bool {
        match self {
            Self::Line(line) if line.had_variable || line.is_broken => false,
            Self::Line(line) => line.as_literal().is_some_and(|it| it.trim().is_empty()),
            Self::Words(..) => false,
        }
    }

    /// The word or line with which it begins.
    pub(in crate::spec) fn first_word(&self) -> Option<&Template> {
        match self {
            Self::Line(line) => Some(line),
            Self::Words(words, _) => words.first(),
        }
    }
}

/// Stands in for a name that was refused, so that the rest of the service is still read.
fn placeholder_name() -> ServiceName {
    ServiceName::new("unnamed").expect("a plain word is a valid name")
}
