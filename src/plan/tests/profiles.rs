//! Profiles: which services take part, and what is said of those that do not.

use super::*;
use crate::plan::code;

const TEXT: &str = "
dotenv: { vars: { API: 'http://x:$<api.PORT>', DB: 'db:$<db.PORT>' } }
environment: { DB_PORT: '$<db.PORT>', TEXT: x }
services:
  api: { command: [serve, $<PORT:auto>] }
  db: { command: [serve, $<PORT:auto>], profiles: [data, all] }
  admin: { command: [serve, $<PORT:auto>], profiles: [data] }
  debug: { command: [serve, $<PORT:auto>], profiles: [debug] }
";

impl Project {
    fn profiles(mut self, profiles: &[&str]) -> Self {
        self.arguments.profiles = profiles.iter().map(ToString::to_string).collect();
        self
    }

    fn naming(mut self, services: &[&str]) -> Self {
        let services = services.iter().map(|name| ServiceName::new(name).unwrap());
        self.arguments.services = services.collect();
        self
    }

    #[track_caller]
    fn services(&self) -> String {
        let draft = self.good();
        let names = draft.spec().services.keys().map(ToString::to_string);
        names.collect::<Vec<_>>().join(" ")
    }
}

#[test]
fn a_service_with_profiles_takes_part_with_one_of_them() {
    let project = || Project::new(TEXT);
    assert_eq!(project().services(), "api");
    assert_eq!(project().profiles(&["data"]).services(), "api db admin");
    assert_eq!(project().profiles(&["all"]).services(), "api db");
    assert_eq!(
        project().profiles(&["all", "debug"]).services(),
        "api db debug"
    );
    assert_eq!(project().profiles(&["*"]).services(), "api db admin debug");
    assert_eq!(project().profiles(&["other"]).services(), "api");
}

#[test]
fn the_variable_counts_unless_there_is_a_flag() {
    let set = |value: &str| Project::new(TEXT).caller(&[("STACK_PROFILES", value)]);
    assert_eq!(set("all, debug").services(), "api db debug");
    assert_eq!(set("*").services(), "api db admin debug");
    assert_eq!(set("").services(), "api");
    assert_eq!(set("all").profiles(&["debug"]).services(), "api debug");
    let dotenv = Project::new(TEXT).file(".env", "STACK_PROFILES=all\n");
    assert_eq!(dotenv.services(), "api db");
    let both = Project::new(TEXT).file(".env", "STACK_PROFILES=all\n");
    assert_eq!(
        both.caller(&[("STACK_PROFILES", "debug")]).services(),
        "api debug"
    );
}

#[test]
fn a_named_service_turns_its_profiles_on() {
    // As in Compose, others of the same profile come with it.
    let project = || Project::new(TEXT);
    assert_eq!(project().naming(&["debug"]).services(), "api debug");
    assert_eq!(project().naming(&["admin"]).services(), "api db admin");
    assert_eq!(project().naming(&["api"]).services(), "api");
}

#[test]
fn what_refers_to_a_service_that_takes_no_part_is_left_out_or_told() {
    let plan = Project::new(TEXT).plan();
    let keys: Vec<_> = plan.values.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["API_PORT", "API"]);
    assert_eq!(value(&plan.units[0], "DB_PORT"), None);
    let plan = Project::new(TEXT).profiles(&["all"]).plan();
    assert!(value(&plan.units[0], "DB_PORT").is_some());

    let text = "
services:
  db: { command: [serve, $<PORT:auto>], profiles: [data] }
  a: { command: [serve, $<db.PORT>] }
";
    let problem = Project::new(text).problem();
    assert_eq!(problem.code, code::INACTIVE_SERVICE);
    assert_eq!(at(&problem), (4, 25));
    assert!(problem.message.contains("`data`"), "{}", problem.message);
    assert_eq!(
        problem.hint.as_deref(),
        Some("`--profile data` turns it on")
    );
    // All ports of no replica are a value.
    let all = Project::new(&text.replace("<db.PORT>", "<db.PORTS>"));
    assert!(all.codes().is_empty());
}

#[test]
fn a_dependency_that_takes_no_part_is_told_with_its_profile_unless_it_is_not_required() {
    let text = "
services:
  db: { command: serve, profiles: [data] }
  a: { command: serve, depends_on: { db: { condition: service_started } } }
";
    let problem = Project::new(text).problem();
    assert_eq!(problem.code, code::INACTIVE_SERVICE);
    assert_eq!(
        problem.message,
        "service `a` depends on `db`, which is only in the profile `data`"
    );
    assert!(Project::new(text).profiles(&["data"]).codes().is_empty());
    // Naming the dependent alone does not turn the dependency on, as in Compose.
    assert_eq!(
        Project::new(text).naming(&["a"]).codes(),
        [code::INACTIVE_SERVICE]
    );
    let optional = text.replace("service_started", "service_started, required: false");
    let plan = Project::new(&optional).plan();
    assert!(plan.units[0].depends_on.is_empty());
}

#[test]
fn a_flag_about_a_service_that_takes_no_part_says_how_it_would() {
    let problem = Project::new(TEXT).scaled("db", 2).problem();
    let hint = "no profile of it is active: `--profile data` turns it on";
    assert_eq!(problem.hint.as_deref(), Some(hint));
    let problem = Project::new(TEXT).asking("debug.PORT", 8005).problem();
    assert!(problem.hint.unwrap().contains("`--profile debug`"));
}

#[test]
fn profiles_are_merged_and_inherited() {
    let profiles = |project: &Project| {
        let draft = project.good();
        let all = draft
            .spec()
            .inactive
            .values()
            .chain(draft.spec().services.values());
        let mut all = all
            .map(|service| {
                let profiles = service.profiles.iter().map(|it| it.value.as_str());
                format!(
                    "{}: {}",
                    service.name,
                    profiles.collect::<Vec<_>>().join(" ")
                )
            })
            .collect::<Vec<_>>();
        all.sort();
        all
    };
    let text = "services: { a: { command: x, profiles: [one, two] }, b: { extends: a, profiles: [three] }, c: { extends: a } }";
    let project = Project::new(text).file(
        "stack.override.yaml",
        "services: { a: { profiles: [two, four] } }",
    );
    assert_eq!(
        profiles(&project),
        ["a: one two four", "b: one two three", "c: one two"]
    );
    let none = Project::new(
        "services: { a: { command: x, profiles: [] }, b: { command: x, profiles: one } }",
    );
    assert_eq!(profiles(&none), ["a: ", "b: one"]);
    let bad = Project::service("profiles: [-x, 'a b']");
    assert_eq!(bad.codes(), ["stack::spec::bad_name"; 2]);
}

#[test]
fn a_service_that_runs_already_stays_and_is_left_alone() {
    let project = Project::new(TEXT).profiles(&["debug"]);
    let running = ["api", "db", "gone"].map(|name| ServiceName::new(name).unwrap());
    let beside = project.sources().beside(running.to_vec());
    let (draft, problems) = Draft::new(beside);
    assert_eq!(problems, []);
    let draft = draft.unwrap();
    let names: Vec<_> = draft
        .spec()
        .services
        .keys()
        .map(ServiceName::as_str)
        .collect();
    assert_eq!(names, ["api", "db", "debug"]);
    let lingering: Vec<_> = draft
        .spec()
        .lingering
        .iter()
        .map(ServiceName::as_str)
        .collect();
    assert_eq!(lingering, ["db"]);
}

#[test]
fn a_file_that_nobody_is_given_need_not_be_there() {
    let yaml = |service: &str, more: &str| {
        format!(
            "configs: {{ gone: {{ file: gone.conf }}, text: {{ content: x }} }}
secrets: {{ unset: {{ environment: NOT_SET_ANYWHERE }}, lost: {{ file: lost }} }}
services:
  web: {{ command: [serve{service}], configs: [text] }}
  admin: {{ command: [admin, $<configs.gone>], secrets: [unset], profiles: [data] }}
{more}"
        )
    };
    let project = Project::new(&yaml("", ""));
    let draft = project.good();
    let names = |draft: &Draft| {
        let spec = draft.spec();
        let names = spec.configs.keys().chain(spec.secrets.keys()).cloned();
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(&draft), "text");
    let mut with_profile = Project::new(&yaml("", ""));
    with_profile.arguments.profiles = vec!["data".to_owned()];
    let codes = ["stack::spec::bad_file", "stack::spec::required_variable"];
    assert_eq!(with_profile.codes(), codes);
    // Told once, at its place, however many are given it.
    let used = yaml(
        ", $<secrets.lost>",
        "  other: { command: x, secrets: [lost], scale: 2 }",
    );
    let problem = Project::new(&used).problem();
    assert_eq!(problem.code, "stack::spec::bad_file");
    assert_eq!(at(&problem).0, 2);
    assert!(problem.message.contains("`lost` cannot be read"));
}
