//! What an instance has of its own besides ports, and the files of its services.

use std::path::PathBuf;

use super::{Project, numbered};
use crate::plan::{Draft, Home, Sources, secret_names};

const YAML: &str = "\
configs: { app: { content: 'listen $<web.PORT> on $<BIND>, $<api.URL>' } }
secrets: { token: { file: ./token } }
services:
  web:
    command: [serve, $<PORT:auto>, $<DATA:dir>, $<SOCK:socket>, $<configs.app>, $<secrets.token>]
    environment: { KEY: $<KEY:secret>, API: $<api.URL>, HOST: $<api.HOST>, SEEN: $<api.PORT@host> }
    replicas: 2
  api:
    command: [serve, $<DNS:auto/udp>, $<PORT:auto>, $<web.DATA>, $<web.SOCK>, $<web.KEY>]
";

fn home(project: &Project) -> Home {
    let draft = project.good();
    let names: Vec<String> = secret_names(draft.spec()).collect();
    assert_eq!(names, ["web.KEY"]);
    Home {
        dir: PathBuf::from("/elsewhere/shop"),
        sockets: Vec::new(),
        secrets: [("web.KEY".to_owned(), "the secret".to_owned())].into(),
    }
}

#[test]
fn things_are_where_the_instance_has_them() {
    let project = Project::new(YAML).file("token", "t\n");
    let home = home(&project);
    let draft = project.good().at_home(home);
    let plan = draft.finish(&numbered(&draft), &mut Vec::new());
    let [first, second, api] = &plan.units[..] else {
        panic!("{:?}", plan.units);
    };
    let words = |unit: &crate::plan::UnitPlan| unit.execution.argv.join(" ");
    assert_eq!(
        words(first),
        "serve 8000 /elsewhere/shop/dirs/web/DATA /elsewhere/shop/sockets/web/SOCK \
         /elsewhere/shop/configs/web/app /elsewhere/shop/secrets/web/token"
    );
    assert_eq!(
        words(second),
        "serve 8001 /elsewhere/shop/dirs/web/DATA.2 /elsewhere/shop/sockets/web/SOCK.2 \
         /elsewhere/shop/configs/web/app /elsewhere/shop/secrets/web/token"
    );
    assert_eq!(
        words(api),
        "serve 8002 8003 /elsewhere/shop/dirs/web/DATA /elsewhere/shop/sockets/web/SOCK the secret"
    );
    for (key, value) in [
        ("KEY", "the secret"),
        ("API", "http://127.0.0.1:8003"),
        ("HOST", "127.0.0.1"),
        ("SEEN", "8003"),
    ] {
        assert_eq!(first.environment.get(key), Some(value.as_ref()), "{key}");
    }
    let files = &first.belongings.files;
    let texts: Vec<String> = files
        .iter()
        .map(|file| String::from_utf8_lossy(&file.content.0).into_owned())
        .collect();
    assert_eq!(
        texts,
        ["listen 8000 on 127.0.0.1, http://127.0.0.1:8003", "t\n"]
    );
    assert!(api.belongings.files.is_empty());
    assert!(!format!("{:?}", first.belongings).contains("t\\n"));
}

#[test]
fn a_secret_is_exported_only_where_the_file_says_so() {
    let keys = |yaml: &str| {
        let project = Project::new(yaml).file("token", "");
        let home = home(&project);
        let draft = project.good().at_home(home);
        let plan = draft.finish(&numbered(&draft), &mut Vec::new());
        let keys = plan.values.into_iter().map(|(key, _)| key);
        keys.filter(|key| !key.contains("PORT"))
            .collect::<Vec<String>>()
    };
    let things = [
        "WEB_DATA",
        "WEB_1_DATA",
        "WEB_2_DATA",
        "WEB_DATAS",
        "WEB_SOCK",
        "WEB_1_SOCK",
        "WEB_2_SOCK",
        "WEB_SOCKS",
    ];
    assert_eq!(keys(YAML), [&things[..], &["API_DNS"]].concat());
    let open = format!("dotenv: {{ secrets: true }}\n{YAML}");
    assert_eq!(keys(&open), [&things[..], &["WEB_KEY", "API_DNS"]].concat());
}

#[test]
fn whoever_drafts_from_the_same_sources_has_the_same_home() {
    let project = Project::new(YAML).file("token", "");
    let before = project.good();
    let fingerprint = before.fingerprint().to_owned();
    let draft = before.at_home(home(&project));
    let text = serde_json::to_string(draft.sources()).unwrap();
    let sources: Sources = serde_json::from_str(&text).unwrap();
    let (other, problems) = Draft::new(sources);
    let other = other.unwrap_or_else(|| panic!("{problems:?}"));
    assert_eq!(other.fingerprint(), fingerprint);
    let plans = [&draft, &other].map(|draft| draft.finish(&numbered(draft), &mut Vec::new()));
    let [here, there] = plans.map(|plan| {
        let units = plan.units.into_iter();
        units.map(|unit| unit.execution).collect::<Vec<_>>()
    });
    assert_eq!(here, there);
}

#[test]
fn a_secret_that_was_not_made_is_a_mistake_once_the_ports_are_known() {
    let project = Project::new("services: { a: { command: [x, '$<KEY:secret>'] } }");
    let draft = project.good();
    let mut problems = Vec::new();
    draft.finish(&numbered(&draft), &mut problems);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].message.contains("no secret `KEY`"),
        "{problems:?}"
    );
}

#[test]
fn a_service_can_ask_where_it_is_itself() {
    let yaml = "services: { a: { command: [x, $<HOST>, $<URL>, $<PORT:auto>], scale: 2 } }";
    let plan = Project::new(yaml).plan();
    let words = |unit: &crate::plan::UnitPlan| unit.execution.argv[1..].join(" ");
    assert_eq!(
        words(&plan.units[0]),
        "127.0.0.1 http://127.0.0.1:8000 8000"
    );
    assert_eq!(
        words(&plan.units[1]),
        "127.0.0.1 http://127.0.0.1:8001 8001"
    );
    // A port that is called so is that port.
    let own = Project::new("services: { a: { command: [x, $<URL>, $<URL:auto>] } }").plan();
    assert_eq!(words(&own.units[0]), "8000 8000");
}
