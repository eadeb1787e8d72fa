//! One service.

use indexmap::IndexMap;

use super::keys::{DEPENDENCY, SERVICE};
use super::scope::Place;
use super::suggest::{list, nearest};
use super::{Field, Reader, values};
use crate::spec::code;
use crate::spec::model::{CommandSpec, Condition, DependencySpec, ServiceSpec};
use crate::spec::problem::Problem;
use crate::spec::template::{Template, TemplateKind};
use crate::spec::tree::{Kind, Node};
use crate::support::name::ServiceName;

const COMMAND_FORMS: &str = "write a shell line, or a list: `[program, argument]`";

/// The conditions of `depends_on`, as Compose calls them.
const CONDITIONS: [(&str, Condition); 3] = [
    ("service_started", Condition::Started),
    ("service_healthy", Condition::Healthy),
    (
        "service_completed_successfully",
        Condition::CompletedSuccessfully,
    ),
];

impl Reader<'_> {
    /// Reads one service; `None` when not even its name can be used. One without anything that
    /// runs was reported; it is kept so that nobody is told that its dependents' words are wrong.
    pub(super) fn service(&mut self, field: &Field<'_, '_>) -> Option<ServiceSpec> {
        let name = self.service_name(field.name, field.key);
        if field.value.is_null() {
            let span = self.span(field.key);
            self.problems.push(
                Problem::error(
                    code::EMPTY_SERVICE,
                    format!("the service `{}` is empty", field.name),
                    &span,
                )
                .hint("give it a `command`, and check the indentation of what is below it"),
            );
            return name.map(|name| self.empty_service(name, field));
        }
        if !matches!(field.value.kind, Kind::Mapping(_)) {
            let what = format!("the service `{}`", field.name);
            let hint = format!(
                "write `{}:` and below it `command: …`, indented",
                field.name
            );
            self.wrong_type(&what, "a map", field, &hint);
            return name.map(|name| self.empty_service(name, field));
        }
        let mut service = self.empty_service(name.unwrap_or_else(placeholder_name), field);
        self.place = Place::Service {
            name: field.name.to_owned(),
            ports: IndexMap::new(),
        };
        let fields = self.own_fields(field.value);
        // A container is refused once, by its `image`; its other keys make sense in one.
        let is_container = fields
            .iter()
            .any(|entry| matches!(entry.name, "image" | "build"));
        for entry in &fields {
            if is_container && SERVICE.container.contains(&entry.name) {
                continue;
            }
            self.service_key(&mut service, entry);
        }
        let place = std::mem::replace(&mut self.place, Place::Nowhere(String::new()));
        if let Place::Service { ports, .. } = place {
            service.ports = ports;
        }
        if !is_container {
            self.check_command(&service, &fields);
        }
        self.check_restart(&service);
        self.check_handoff(&service);
        Some(service)
    }

    /// Without a port there is nothing to hand off, which is worth a word and no more.
    fn check_handoff(&mut self, service: &ServiceSpec) {
        if let Some(handoff) = service
            .handoff
            .as_ref()
            .filter(|_| service.ports.is_empty())
        {
            self.problems.push(
                Problem::warning(
                    code::HANDOFF_WITHOUT_PORTS,
                    format!(
                        "`handoff` does nothing: the service `{}` has no port",
                        service.name
                    ),
                    handoff.span(),
                )
                .hint("remove the line, or use a port in the command: `$<PORT:auto>`"),
            );
        }
    }

    fn service_key(&mut self, service: &mut ServiceSpec, entry: &Field<'_, '_>) {
        match entry.name {
            "command" => service.command = self.command(entry),
            "entrypoint" => service.entrypoint = self.command(entry),
            "working_dir" => {
                service.working_dir = self.filled_template(entry, TemplateKind::Plain);
            }
            "environment" => service.environment = self.environment(entry),
            "env_file" => service.env_file = self.env_files(entry),
            "depends_on" => service.depends_on = self.depends_on(entry),
            "healthcheck" => service.healthcheck = self.healthcheck(entry),
            "restart" => service.restart = self.setting(entry, values::parse_restart),
            // Nothing is as if the key were not there, as with every other map.
            "restart_policy" if entry.value.is_null() => {}
            "restart_policy" => service.restart_policy = Some(self.restart_policy(entry)),
            "success_exit_codes" => service.success_exit_codes = self.exit_codes(entry),
            "stop_signal" => service.stop_signal = self.setting(entry, values::parse_signal),
            "stop_grace_period" => {
                service.stop_grace_period = self.setting(entry, values::parse_duration);
            }
            "labels" => service.labels = self.texts(entry),
            "replicas" | "scale" => service.replicas.extend(self.replicas(entry)),
            "deploy" => self.deploy(service, entry),
            "handoff" => service.handoff = self.setting(entry, values::parse_handoff),
            _ => self.refuse_key(&SERVICE, entry.key, Some(service.name.as_str())),
        }
    }

    fn empty_service(&self, name: ServiceName, field: &Field<'_, '_>) -> ServiceSpec {
        ServiceSpec {
            name,
            name_span: self.span(field.key),
            command: None,
            entrypoint: None,
            working_dir: None,
            environment: IndexMap::new(),
            env_file: Vec::new(),
            depends_on: IndexMap::new(),
            healthcheck: None,
            restart: None,
            restart_policy: None,
            success_exit_codes: Vec::new(),
            stop_signal: None,
            stop_grace_period: None,
            labels: IndexMap::new(),
            replicas: Vec::new(),
            handoff: None,
            ports: IndexMap::new(),
        }
    }

    fn service_name(&mut self, text: &str, node: &Node<'_>) -> Option<ServiceName> {
        match ServiceName::new(text) {
            Ok(name) => Some(name),
            Err(error) => {
                let span = self.span(node);
                self.problems.push(
                    Problem::error(
                        code::BAD_NAME,
                        format!("`{text}` is no name for a service: {error}"),
                        &span,
                    )
                    .hint("names are made of letters, digits, `_`, `-` and `.`, at most 63"),
                );
                None
            }
        }
    }

    /// `command:` or `entrypoint:`; nothing is as if the key were not there.
    fn command(&mut self, field: &Field<'_, '_>) -> Option<CommandSpec> {
        match &field.value.kind {
            Kind::Scalar { .. } if field.value.is_null() => None,
            Kind::Scalar { .. } => self
                .filled_template(field, TemplateKind::Shell)
                .map(CommandSpec::Line),
            Kind::Sequence(items) => {
                let items: Vec<&Node<'_>> = items.iter().map(AsRef::as_ref).collect();
                let words = self.words(field.name, &items);
                Some(CommandSpec::Words(words, self.span(field.value)))
            }
            Kind::Mapping(_) => {
                let what = format!("`{}`", field.name);
                self.wrong_type(&what, "a text or a list", field, COMMAND_FORMS);
                None
            }
        }
    }

    /// The words of an argv.
    pub(super) fn words(&mut self, list: &str, items: &[&Node<'_>]) -> Vec<Template> {
        let what = format!("a word of `{list}`");
        items
            .iter()
            .filter_map(|item| {
                if item.is_null() && item.text() == Some("") {
                    self.wrong_node(&what, "a text", item, None, "write '' for an empty word");
                    return None;
                }
                self.template(&what, item, TemplateKind::Plain)
            })
            .collect()
    }

    /// A service must have something to run.
    fn check_command(&mut self, service: &ServiceSpec, fields: &[Field<'_, '_>]) {
        let is_given = |name| {
            fields
                .iter()
                .find(|field| field.name == name && !field.value.is_null())
        };
        let Some(given) = is_given("command").or_else(|| is_given("entrypoint")) else {
            // A `comand` was reported as what it is; that nothing else is there follows from it.
            let is_misspelt = !self.problems.is_full()
                && fields.iter().any(|field| {
                    !SERVICE.known.contains(&field.name)
                        && matches!(SERVICE.suggest(field.name), Some("command" | "entrypoint"))
                });
            if is_misspelt {
                return;
            }
            self.problems.push(
                Problem::error(
                    code::NO_COMMAND,
                    format!("the service `{}` has no `command`", service.name),
                    &service.name_span,
                )
                .hint("say what it runs: `command: npm run dev`"),
            );
            return;
        };
        let parts = [service.entrypoint.as_ref(), service.command.as_ref()];
        // A part that is missing here although it was given has been reported already.
        let is_reported = is_given("command").is_some() != service.command.is_some()
            || is_given("entrypoint").is_some() != service.entrypoint.is_some();
        let first = parts.into_iter().flatten().find_map(first_word);
        let is_empty = match first {
            None => true,
            Some(word) => word.as_literal().is_some_and(|text| text.trim().is_empty()),
        };
        if is_empty && !is_reported {
            let span = self.span(given.value);
            self.problems.push(
                Problem::error(
                    code::EMPTY_COMMAND,
                    format!("the command of `{}` is empty", service.name),
                    &span,
                )
                .hint("say what it runs: `command: npm run dev`"),
            );
        }
    }

    fn depends_on(&mut self, field: &Field<'_, '_>) -> IndexMap<ServiceName, DependencySpec> {
        let mut dependencies: IndexMap<ServiceName, DependencySpec> = IndexMap::new();
        match &field.value.kind {
            Kind::Mapping(_) => {
                for entry in self.fields(field.value) {
                    let name = self.service_name(entry.name, entry.key);
                    let dependency = self.dependency(&entry);
                    if let (Some(name), Some(dependency)) = (name, dependency) {
                        dependencies.insert(name, dependency);
                    }
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
                        self.problems.push(
                            Problem::error(
                                code::DUPLICATE_KEY,
                                format!("the dependency `{name}` is here twice"),
                                &text.span,
                            )
                            .label("again here")
                            .also(&first.span, "first here")
                            .hint("keep one of the two"),
                        );
                        continue;
                    }
                    let dependency = DependencySpec {
                        span: text.span,
                        condition: Condition::Started,
                        is_required: true,
                        restart: false,
                    };
                    dependencies.insert(name, dependency);
                }
            }
            Kind::Scalar { .. } if field.value.is_null() => {}
            Kind::Scalar { text, .. } => {
                let hint = format!("write a list: `depends_on: [{text}]`");
                self.wrong_type("`depends_on`", "a list or a map", field, &hint);
            }
        }
        dependencies
    }

    /// The long form of a dependency.
    fn dependency(&mut self, field: &Field<'_, '_>) -> Option<DependencySpec> {
        let forms = format!("write `{}: {{condition: service_healthy}}`", field.name);
        if !matches!(field.value.kind, Kind::Mapping(_)) {
            let what = format!("the dependency `{}`", field.name);
            self.wrong_type(&what, "a map", field, &forms);
            return None;
        }
        let span = self.span(field.key);
        let mut condition = None;
        let mut is_condition_given = false;
        let (mut is_required, mut restart) = (true, false);
        for entry in self.own_fields(field.value) {
            match entry.name {
                "condition" => {
                    is_condition_given = true;
                    condition = self.condition(entry.value);
                }
                "required" => is_required = self.flag(&entry).unwrap_or(true),
                "restart" => restart = self.flag(&entry).unwrap_or(false),
                _ => self.refuse_key(&DEPENDENCY, entry.key, None),
            }
        }
        if !is_condition_given {
            self.problems.push(
                Problem::error(
                    code::WRONG_TYPE,
                    format!("the dependency `{}` has no `condition`", field.name),
                    &span,
                )
                .hint(forms),
            );
        }
        condition.map(|condition| DependencySpec {
            span,
            condition,
            is_required,
            restart,
        })
    }

    fn condition(&mut self, node: &Node<'_>) -> Option<Condition> {
        let text = self.literal("`condition`", node)?;
        if let Some((_, condition)) = CONDITIONS.iter().find(|(name, _)| *name == text.value) {
            return Some(*condition);
        }
        let names = CONDITIONS.map(|(name, _)| name);
        let short = format!("service_{}", text.value);
        let meant = nearest(&text.value, names).or_else(|| nearest(&short, names));
        self.problems.push(
            Problem::error(
                code::BAD_VALUE,
                format!("`{}` is no condition", text.value),
                &text.span,
            )
            .hint(match meant {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("the conditions are {}", list(names.into_iter())),
            }),
        );
        None
    }
}

/// The word or line with which a command begins.
fn first_word(command: &CommandSpec) -> Option<&Template> {
    match command {
        CommandSpec::Line(line) => Some(line),
        CommandSpec::Words(words, _) => words.first(),
    }
}

/// Stands in for a name that was refused, so that the rest of the service is still read.
fn placeholder_name() -> ServiceName {
    ServiceName::new("unnamed").expect("a plain word is a valid name")
}
