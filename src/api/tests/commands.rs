//! Questions and commands.

use std::time::Duration;

use super::fake::{Act, Fake, name, snapshot};
use crate::api::client::{Client, ClientError};
use crate::api::messages::{API_VERSION, code};
use crate::run::control::{Command, CommandError};
use crate::support::testing::alone_async;

fn refusal(error: &ClientError) -> (&str, Option<&str>) {
    match error {
        ClientError::Refused(body) => (&body.code, body.hint.as_deref()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_state_of_everything_comes_whole() {
    let fake = Fake::start();
    assert_eq!(fake.client().stack().await.unwrap(), snapshot());
    assert_eq!(fake.client().version().await.unwrap().api, API_VERSION);
}

#[tokio::test]
async fn every_command_arrives_as_it_was_sent() {
    let mut fake = Fake::start();
    let services = vec![name("web"), name("skin-ai.api")];
    let grace = Some(Duration::from_millis(1_500));
    for command in [
        Command::Up {
            services: services.clone(),
            no_deps: true,
        },
        Command::Start {
            services: Vec::new(),
        },
        Command::Stop {
            services: services.clone(),
            grace,
        },
        Command::Restart {
            services,
            grace: None,
        },
        Command::Down { grace },
        Command::Kill {},
    ] {
        let reply = fake.client().command(&command).await.unwrap();
        assert_eq!(reply.affected, [name("web")]);
        assert_eq!(fake.commands.recv().await, Some(command));
    }
}

#[tokio::test]
async fn down_is_answered_before_the_supervisor_goes() {
    for _ in 0..50 {
        let mut fake = Fake::start();
        let client = fake.client();
        let call =
            tokio::spawn(async move { client.command(&Command::Down { grace: None }).await });
        // The moment at which it is accepted is the worst one to go.
        fake.commands.recv().await.unwrap();
        fake.shut_down();
        assert_eq!(call.await.unwrap().unwrap().affected, [name("web")]);
        fake.server.await.unwrap();
    }
}

#[tokio::test]
async fn refusals_are_typed_and_carry_their_hint() {
    let unknown = Fake::with_script(1, |_| {
        Act::Refuse(CommandError::UnknownService {
            name: "wbe".to_owned(),
            suggestion: Some(name("web")),
        })
    });
    let command = Command::Start {
        services: vec![name("wbe")],
    };
    let error = unknown.client().command(&command).await.unwrap_err();
    assert_eq!(
        refusal(&error),
        (code::UNKNOWN_SERVICE, Some("did you mean `web`?"))
    );
    assert_eq!(
        error.to_string(),
        "there is no service `wbe` in the running stack"
    );

    let replica = Fake::with_script(1, |_| {
        Act::Refuse(CommandError::UnknownService {
            name: "web-2".to_owned(),
            suggestion: Some(name("web")),
        })
    });
    let error = replica.client().command(&command).await.unwrap_err();
    assert_eq!(
        refusal(&error).1,
        Some("`web-2` names a replica of `web`: write `web`")
    );

    let draining = Fake::with_script(1, |_| Act::Refuse(CommandError::Draining));
    let error = draining.client().command(&command).await.unwrap_err();
    assert_eq!(refusal(&error).0, code::DRAINING);

    let gone = Fake::with_script(1, |_| Act::Drop);
    let error = gone.client().stack().await.unwrap_err();
    assert_eq!(refusal(&error).0, code::GONE);
}

#[test]
fn without_a_supervisor_nothing_is_running() {
    alone_async(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let error = Client::new(&path).stack().await.unwrap_err();
        assert!(matches!(error, ClientError::NotRunning), "{error:?}");
        // What a killed supervisor leaves: a name with nobody behind it.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let error = Client::new(&path).stack().await.unwrap_err();
        assert!(matches!(error, ClientError::NotRunning), "{error:?}");
    });
}

#[tokio::test]
async fn a_supervisor_that_hangs_is_named_after_the_deadline() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    let client = Client::new(&path).with_deadline(Duration::from_millis(50));
    // Stopped as a whole: the kernel lets clients in, nobody reads.
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let error = client.stack().await.unwrap_err();
    assert!(
        matches!(error, ClientError::NotAnswering { .. }),
        "{error:?}"
    );
    // The same with a full backlog, where not even `connect` succeeds.
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(
        Duration::from_millis(50),
        tokio::net::UnixStream::connect(&path),
    )
    .await
    {
        waiting.push(stream);
        assert!(waiting.len() < 10_000, "the backlog has no end");
    }
    let error = client.stack().await.unwrap_err();
    assert!(
        matches!(error, ClientError::NotAnswering { .. }),
        "{error:?}"
    );
    drop(listener);
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_does_not_answer_its_server_is_named_too() {
    let fake = Fake::with_script(1, |_| Act::Hang);
    let error = fake.client().stack().await.unwrap_err();
    assert_eq!(refusal(&error).0, code::NOT_ANSWERING);
}

#[tokio::test]
async fn the_supervisor_may_die_during_a_call() {
    let mut fake = Fake::with_script(1, |_| Act::Hang);
    let client = fake.client();
    let call = tokio::spawn(async move { client.stack().await });
    fake.asked.recv().await.unwrap();
    fake.server.abort();
    let error = call.await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Closed), "{error:?}");
}

#[tokio::test]
async fn a_command_may_leave_out_what_has_a_default() {
    let mut fake = Fake::start();
    for (body, command) in [
        (r#"{"command":"down"}"#, Command::Down { grace: None }),
        (
            r#"{"command":"stop","services":["web"]}"#,
            Command::Stop {
                services: vec![name("web")],
                grace: None,
            },
        ),
        (r#"{"command":"kill"}"#, Command::Kill {}),
    ] {
        let answer = fake.raw(post(body).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(fake.commands.recv().await, Some(command));
    }
}

#[tokio::test]
async fn what_is_not_known_is_refused_and_not_carried_out() {
    let mut fake = Fake::start();
    for body in [
        r#"{"command":"down","force":true}"#,
        r#"{"command":"kill","now":1}"#,
        r#"{"command":"explode"}"#,
        r#"{"command":"stop","services":["../x"]}"#,
        r#"{"command":"stop","services":[1]}"#,
        r#"{"command":"stop","grace_ms":-1}"#,
        r#"{"command":"stop","grace_ms":1,"grace_ms":2}"#,
        r#"{"command":"down"} {"command":"down"}"#,
        r#"{"services":[]}"#,
        "[]",
        "",
        "\u{0}\u{1}",
    ] {
        let answer = fake.raw(post(body).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{body}: {answer}");
        assert!(answer.contains(code::BAD_REQUEST), "{body}: {answer}");
    }
    // The server lets go of the supervisor only now; nothing may have come through.
    fake.shut_down();
    (&mut fake.server).await.unwrap();
    assert!(fake.commands.try_recv().is_err());
}

fn post(body: &str) -> String {
    format!(
        "POST /v1/commands HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn other_paths_methods_and_versions_get_an_error_with_a_code() {
    let fake = Fake::start();
    for (request, status, code) in [
        ("GET /", 404, code::UNKNOWN_ENDPOINT),
        ("GET /v1/secrets", 404, code::UNKNOWN_ENDPOINT),
        ("GET /v1/../../etc/passwd", 404, code::UNKNOWN_ENDPOINT),
        ("GET /v2/stack", 404, code::UNKNOWN_VERSION),
        ("GET /v0/stack", 404, code::UNKNOWN_VERSION),
        ("POST /v1/stack", 405, code::WRONG_METHOD),
        ("GET /v1/commands", 405, code::WRONG_METHOD),
        ("GET /v1/logs?color=red", 400, code::BAD_REQUEST),
        ("GET /v1/events?for=fun", 400, code::BAD_REQUEST),
    ] {
        let answer = fake
            .raw(format!("{request} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes())
            .await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{request}: {answer}"
        );
        assert!(answer.contains(code), "{request}: {answer}");
        assert!(
            answer.contains("stack-api-version: 1"),
            "{request}: {answer}"
        );
    }
}
