//! The verbs where a service has several replicas.

use super::*;
use crate::api::tests::fake::replica;
use crate::support::fs::open_private_append;

/// `web-2` as it is after a command.
fn second(phase: Phase, is_executed: bool) -> Event {
    let Event::Service(mut row) = begun("web", phase, is_executed) else {
        unreachable!()
    };
    (row.replica, row.replicas) = (2, 2);
    Event::Service(row)
}

#[tokio::test]
async fn a_start_waits_for_the_replica_that_it_concerns_and_no_other() {
    let fake = Fake::with_consequences(
        16,
        |_| Act::AnswerForSecond,
        |_| vec![second(Phase::Starting, true)],
    );
    let mut project = Project::running(&fake);
    let web = ServicesArgs {
        services: vec![name("web")],
    };
    let code = start::run(&mut project.context(), &web).await.unwrap();
    assert_eq!(code, ExitCode::Done);
    assert_eq!(project.said.messages, ["started web-2"]);
}

#[tokio::test]
async fn a_replica_that_does_not_start_is_named_by_its_number() {
    let fake = Fake::with_consequences(
        16,
        |_| Act::AnswerForSecond,
        |_| vec![second(Phase::Failed, false)],
    );
    let mut project = Project::running(&fake);
    let code = restart::run(&mut project.context(), &STOP).await.unwrap();
    assert_eq!(code, ExitCode::Failed);
    assert_eq!(project.said.messages, ["error: web-2: it did not start"]);
}

#[tokio::test]
async fn ps_has_a_row_for_each_replica() {
    let fake = Fake::with_script(16, |_| Act::AnswerForSecond);
    let mut project = Project::running(&fake);
    for format in [ListFormat::Table, ListFormat::Json] {
        ps::run(&mut project.context(), &PsArgs { format }, table)
            .await
            .unwrap();
    }
    let names: Vec<&str> = project.said.data[0]
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(names, ["SERVICE", "web-1", "web-2", "api"]);
    let rows: Vec<ServiceSnapshot> = serde_json::from_str(&project.said.data[1]).unwrap();
    let units: Vec<_> = rows.iter().map(ServiceSnapshot::unit).collect();
    let expected = [replica("web", 1), replica("web", 2), replica("api", 1)];
    assert_eq!(units, expected);
}

#[tokio::test]
async fn ps_says_that_there_is_nothing_rather_than_an_empty_line() {
    let mut project = Project::past(&StackSnapshot {
        services: Vec::new(),
        ..snapshot()
    });
    for format in [ListFormat::Table, ListFormat::Json] {
        ps::run(&mut project.context(), &PsArgs { format }, table)
            .await
            .unwrap();
    }
    assert_eq!(project.said.data, ["[]"]);
    let said = ["no service of this stack has a replica"];
    assert_eq!(project.said.messages, said);
}

/// Writes a log without an index, which the reader takes for one block of the time of its file.
fn write(project: &Project, file: &str, text: &str) {
    use std::io::Write;
    let path = project.instance.log_dir().join(file);
    let mut file = open_private_append(&path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[tokio::test]
async fn logs_of_a_service_are_those_of_all_its_replicas() {
    let mut project = Project::idle();
    project.instance.create().unwrap();
    write(&project, "web.log", "first\n");
    write(&project, "web@2.log", "second\n");
    write(&project, "api.log", "other\n");
    let arguments = LogsArgs {
        services: vec![name("web")],
        ..logs_of(Tail::All, false)
    };
    logs::run(&mut project.context(), &arguments).await.unwrap();
    let mut units: Vec<_> = project.said.blocks.iter().map(|b| b.unit.clone()).collect();
    units.sort();
    assert_eq!(units, [replica("web", 1), replica("web", 2)]);
    project.said.blocks.clear();
    let arguments = LogsArgs {
        services: vec![name("web-2")],
        ..logs_of(Tail::All, false)
    };
    logs::run(&mut project.context(), &arguments).await.unwrap();
    let units: Vec<_> = project.said.blocks.iter().map(|b| b.unit.clone()).collect();
    assert_eq!(units, [replica("web", 2)], "one of them by its name");
    // So that the first is called `web-1` before the second has printed.
    assert!(project.said.introduced.contains(&replica("web", 2)));
}

#[tokio::test]
async fn the_shown_name_of_a_replica_is_no_service_and_the_way_is_told() {
    let fake = Fake::with_script(16, |_| Act::AnswerForSecond);
    let mut project = Project::running(&fake);
    let mut arguments = PortArgs {
        service: name("web-2"),
        name: None,
        index: 1,
    };
    let error = port::run(&mut project.context(), &arguments).await;
    assert_hint(
        &error.unwrap_err(),
        "`web-2` names a replica of `web`: write `stack port web --index 2`",
    );
    arguments.name = Some(PortName::new("ADMIN").unwrap());
    let error = port::run(&mut project.context(), &arguments).await;
    assert_hint(
        &error.unwrap_err(),
        "`web-2` names a replica of `web`: write `stack port web ADMIN --index 2`",
    );
}
