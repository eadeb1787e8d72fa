//! `--port SERVICE[.NAME]=N`.

use super::Project;
use crate::plan::code;
use crate::support::text::list;

const YAML: &str = "services:
  web: { command: 'x $<PORT:auto> $<ADMIN:auto>' }
  db: { command: 'x $<DB:auto>' }
  queue: { command: 'x $<A:auto> $<B:auto>' }
  skin.ai: { command: 'x $<PORT:auto>', replicas: 2 }
  worker: { command: x }
  off: { command: 'x $<PORT:auto>', replicas: 0 }
";

fn project() -> Project {
    Project::new(YAML)
}

/// The wishes of `--port` as `service-replica.NAME=number`.
fn wishes(project: &Project) -> String {
    let requests = project.good().requests(&mut Vec::new());
    let wishes = requests.iter().filter_map(|request| {
        let wish = request.wish.as_ref()?;
        let key = &request.key;
        let name = format!("{}-{}.{}", key.service, key.replica, key.name);
        (wish.origin == "`--port`").then(|| format!("{name}={}", wish.port))
    });
    list(wishes)
}

#[test]
fn it_names_a_service_or_a_port_of_one() {
    for (text, expected) in [
        ("web", "web-1.PORT=8500"),
        ("web.ADMIN", "web-1.ADMIN=8500"),
        ("web.PORT", "web-1.PORT=8500"),
        ("db", "db-1.DB=8500"),
        ("queue.B", "queue-1.B=8500"),
        ("skin.ai", "skin.ai-1.PORT=8500"),
        ("skin.ai.PORT", "skin.ai-1.PORT=8500"),
    ] {
        assert_eq!(wishes(&project().asking(text, 8500)), expected, "{text}");
    }
    let two = project().asking("web", 8500).asking("web.ADMIN", 8501);
    assert_eq!(wishes(&two), "web-1.PORT=8500, web-1.ADMIN=8501");
    assert_eq!(two.good().asked_ports().len(), 2);
}

#[test]
fn it_is_stronger_than_the_environment_and_the_file_of_the_user() {
    let project = project()
        .file(".env", "WEB_PORT=8700\n")
        .caller(&[("WEB_PORT", "8600"), ("SKIN_AI_1_PORT", "8601")]);
    let both = project.asking("web", 8500).asking("skin.ai", 8501);
    assert_eq!(wishes(&both), "web-1.PORT=8500, skin.ai-1.PORT=8501");
}

#[test]
fn what_it_cannot_mean_is_told_with_the_way_out() {
    for (text, message, hint) in [
        ("wbe", "there is no service `wbe`", "did you mean `web`?"),
        (
            "web-2.PORT",
            "there is no service `web-2`",
            "`web-2` names a replica of `web`: write `web`",
        ),
        (
            "wbe.PORT",
            "there is no service `wbe`",
            "did you mean `web`?",
        ),
        (
            "something",
            "there is no service `something`",
            "the services are: web, db, queue, skin.ai, worker, off",
        ),
        (
            "web.admin",
            "service `web` has no port `admin`",
            "did you mean `web.ADMIN`?",
        ),
        ("db.X", "service `db` has no port `X`", "its ports are: DB"),
        (
            "queue",
            "service `queue` has several ports",
            "name one, as in `queue.A`; its ports are: A, B",
        ),
        (
            "worker",
            "service `worker` has no port",
            "declare one by `$<PORT:auto>`",
        ),
        (
            "off",
            "service `off` has no replica",
            "leave it out, or give the service a replica",
        ),
    ] {
        let problem = project().asking(text, 8500).problem();
        assert_eq!(problem.code, code::PORT_ARGUMENT);
        assert_eq!(problem.message, format!("`--port {text}=8500`: {message}"));
        assert_eq!(problem.hint.as_deref(), Some(hint), "{text}");
        assert!(problem.is_error() && problem.labels.is_empty());
    }
    let twice = project().asking("web", 8500).asking("web.PORT", 8501);
    let problem = twice.problem();
    assert_eq!(
        problem.message,
        "`--port web.PORT=8501`: PORT of service `web` is asked for twice"
    );
}

#[test]
fn it_is_no_part_of_the_configuration() {
    let before = project();
    let fingerprint = before.good().fingerprint().to_owned();
    let asking = before.asking("web", 8500);
    assert_eq!(asking.good().fingerprint(), fingerprint);
}
