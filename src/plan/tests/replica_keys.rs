//! What is called by a replica's number: the keys in `.env`, wishes, and what runs already.

use super::replicas::units;
use super::{Project, numbered, value};
use crate::plan::code;

#[test]
fn ports_are_exported_by_number_where_somebody_said_one() {
    let values = |project: &Project| -> Vec<String> {
        let values = project.plan().values.into_iter();
        values
            .map(|(key, value)| format!("{key}={value}"))
            .collect()
    };
    let project = |lines: &str| Project::service(&format!("command: x $<PORT:auto>\n{lines}"));
    assert_eq!(values(&project("")), ["A_PORT=8000"]);
    let one = ["A_PORT=8000", "A_1_PORT=8000", "A_PORTS=8000"];
    assert_eq!(values(&project("replicas: 1")), one);
    assert_eq!(values(&project("").scaled("a", 1)), one);
    assert_eq!(
        values(&Project::service(
            "command: x $<PORT:auto> $<admin:auto>\nscale: 2"
        )),
        [
            "A_PORT=8000",
            "A_1_PORT=8000",
            "A_2_PORT=8002",
            "A_PORTS=8000,8002",
            "A_ADMIN=8001",
            "A_1_ADMIN=8001",
            "A_2_ADMIN=8003",
            "A_ADMINS=8001,8003",
        ]
    );
    assert_eq!(values(&project("replicas: 0")), ["A_PORTS="]);
}

#[test]
fn numbered_keys_collide_like_all_others() {
    for yaml in [
        "services: { web: { command: 'x $<PORT:auto>', replicas: 2 }, web-1: { command: 'x $<PORT:auto>' } }",
        "services: { web: { command: 'x $<PORT:auto> $<PORTS:auto>', replicas: 2 } }",
        "dotenv: { vars: { WEB_2_PORT: x } }\nservices: { web: { command: 'x $<PORT:auto>', replicas: 2 } }",
    ] {
        let problem = Project::new(yaml).problem();
        assert_eq!(problem.code, code::KEY_COLLISION, "{yaml}");
        let alone = yaml.replace(", replicas: 2", "");
        assert_eq!(Project::new(&alone).codes(), [""; 0], "{alone}");
    }
}

#[test]
fn a_replica_has_its_own_wish() {
    let wishes = |project: &Project| -> Vec<Option<u16>> {
        let requests = project.good().requests(&mut Vec::new());
        let wishes = requests.iter().map(|request| request.wish.as_ref());
        wishes.map(|wish| wish.map(|wish| wish.port)).collect()
    };
    let project = || Project::service("command: x $<PORT:auto>\nreplicas: 2");
    let caller = project().caller(&[("A_PORT", "8500"), ("A_2_PORT", "8600")]);
    assert_eq!(wishes(&caller), [Some(8500), Some(8600)]);
    let exact = project().caller(&[("A_PORT", "8500"), ("A_1_PORT", "8600")]);
    assert_eq!(wishes(&exact), [Some(8600), None]);
    let dotenv = project()
        .file(".env", "A_1_PORT=8600\nA_2_PORT=8700\n")
        .caller(&[("A_PORT", "8500")]);
    assert_eq!(wishes(&dotenv), [Some(8500), Some(8700)]);
    // Of a service that is not replicated such a key is somebody else's.
    let single = Project::service("command: x $<PORT:auto>").caller(&[("A_1_PORT", "8500")]);
    assert_eq!(wishes(&single), [None]);
    // What `stack` wrote itself is not a wish.
    let entries = project().plan().values;
    let block = crate::dotenv::fence::render(b"", &entries).unwrap().bytes;
    assert_eq!(wishes(&project().file(".env", block)), [None, None]);
}

#[test]
fn a_draft_takes_the_replicas_of_what_runs() {
    let project = Project::new(
        "services:
  a: { command: 'x $<PORT:auto> $<replica>', env_file: 'e$<replica>' }
  b: { command: 'x $<PORT:auto>', replicas: 3 }
  new: { command: 'x $<PORT:auto>', replicas: 2 }
",
    );
    let project = (1..=2).fold(project, |project, n| {
        project.file(&format!("e{n}"), format!("V={n}\n"))
    });
    let scaled = project.scaled("a", 2).scaled("b", 1).scaled("new", 1);
    let running = numbered(&scaled.good());
    let project = Project {
        arguments: crate::plan::Arguments::default(),
        files: Vec::new(),
        ..scaled
    };
    let name = |text| crate::support::name::ServiceName::new(text).unwrap();
    // As if `b` had been started from a file that said nothing.
    let draft = project
        .good()
        .as_running(&[(name("a"), 2)].into(), |service| *service != name("new"));
    let plan = draft.finish(&running, &mut Vec::new());
    assert_eq!(
        units(&plan),
        [
            "a-1 of 2",
            "a-2 of 2",
            "b-1 of 1",
            "new-1 of 2",
            "new-2 of 2"
        ]
    );
    assert_eq!(plan.units[1].execution.argv, ["x", "8001", "2"]);
    assert_eq!(value(&plan.units[1], "V").as_deref(), Some("2"));
    let keys: Vec<&str> = plan.values.iter().map(|(key, _)| key.as_str()).collect();
    let a = ["A_PORT", "A_1_PORT", "A_2_PORT", "A_PORTS"];
    assert_eq!(keys[..4], a);
    assert_eq!(keys[4], "B_PORT");
    assert!(!keys.contains(&"B_1_PORT"));
}
