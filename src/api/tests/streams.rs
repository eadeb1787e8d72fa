//! Events and output, as they happen.

use tokio::time::timeout;

use super::fake::{Fake, GENEROUS, name, replica, service, snapshot};
use crate::api::client::{Client, ClientError, EventStream, LogStream};
use crate::api::messages::{Update, code};
use crate::api::server::{MAX_VIEWERS, MAX_WAITERS};
use crate::run::logs::{LogNews, Position};
use crate::run::news::News;
use crate::run::news::{Event, Notice, NoticeLevel};
use crate::run::snapshot::Phase;
use crate::support::name::UnitId;
use crate::support::testing::alone_async;

async fn next_update(stream: &mut EventStream) -> Option<Update> {
    timeout(GENEROUS, stream.next()).await.unwrap().unwrap()
}

async fn next_news(stream: &mut LogStream) -> Option<LogNews> {
    timeout(GENEROUS, stream.next()).await.unwrap().unwrap()
}

fn grown(unit: UnitId, offset: u64) -> LogNews {
    let segment = 0;
    LogNews::Grown {
        unit,
        position: Position { segment, offset },
    }
}

fn current() -> LogNews {
    LogNews::Current {
        log_dir: "/p/shop/.stack/shop/logs".to_owned(),
    }
}

/// Output of a unit has come so far.
fn grow(fake: &Fake, unit: &UnitId, offset: u64) {
    fake.logs.grown(unit, Position { segment: 0, offset });
}

fn notice(message: &str) -> Event {
    Event::Notice(Notice {
        service: None,
        replica: None,
        level: NoticeLevel::Info,
        news: News::LogNotRead {
            error: message.to_owned(),
        },
    })
}

fn state(phase: Phase, since: u64) -> Event {
    Event::Service(Box::new(service("web", phase, since)))
}

fn whole() -> Update {
    Update::Snapshot {
        stack: Box::new(snapshot()),
    }
}

#[tokio::test]
async fn a_watcher_sees_the_state_and_then_every_change() {
    let fake = Fake::start();
    let mut stream = fake.client().events().await.unwrap();
    assert_eq!(next_update(&mut stream).await, Some(whole()));
    let sent = [
        state(Phase::Stopping, 60),
        notice("web is being stopped"),
        state(Phase::Stopped, 70),
        Event::Ended {
            failed: vec![name("api")],
        },
    ];
    for event in &sent {
        fake.events.send(event.clone()).unwrap();
    }
    for event in sent {
        assert_eq!(next_update(&mut stream).await, Some(event.into()));
    }
    assert_eq!(
        next_update(&mut stream).await,
        None,
        "`ended` is the last line"
    );
}

#[tokio::test]
async fn a_slow_watcher_is_told_what_it_missed_and_how_things_stand() {
    let fake = Fake::with_script(4, |_| super::fake::Act::Answer);
    let mut stream = fake.client().events().await.unwrap();
    assert_eq!(next_update(&mut stream).await, Some(whole()));
    // Without a pause between them the server's task cannot run: 10 events, room for 4.
    for number in 0..10 {
        fake.events.send(notice(&number.to_string())).unwrap();
    }
    assert_eq!(
        next_update(&mut stream).await,
        Some(Update::Lagged { missed: 6 })
    );
    assert_eq!(next_update(&mut stream).await, Some(whole()));
    for number in 6..10 {
        let expected = notice(&number.to_string()).into();
        assert_eq!(next_update(&mut stream).await, Some(expected));
    }
}

#[tokio::test]
async fn nobody_sees_a_service_go_backwards() {
    let fake = Fake::start();
    // Lets the question for the snapshot wait until these are queued behind the subscription.
    let sender = fake.events.clone();
    let race = tokio::spawn(async move {
        while sender.receiver_count() == 0 {
            tokio::task::yield_now().await;
        }
        sender.send(state(Phase::Starting, 40)).unwrap();
        sender.send(notice("started")).unwrap();
    });
    let mut stream = fake.client().events().await.unwrap();
    race.await.unwrap();
    fake.events.send(state(Phase::Stopping, 60)).unwrap();
    assert_eq!(next_update(&mut stream).await, Some(whole()));
    let mut phases = Vec::new();
    while let Some(update) = next_update(&mut stream).await {
        match update {
            Update::Service(service) => phases.push(service.phase),
            Update::Notice(_) => {}
            other => panic!("{other:?}"),
        }
        if phases.last() == Some(&Phase::Stopping) {
            break;
        }
    }
    // The old state may come only if it came after the snapshot, which this race allows.
    assert!(phases.len() <= 2, "{phases:?}");
}

#[tokio::test]
async fn streams_get_what_is_queued_before_the_socket_goes() {
    let mut fake = Fake::start();
    let mut events = fake.client().events().await.unwrap();
    let mut logs = fake.client().logs().await.unwrap();
    fake.events.send(notice("last words")).unwrap();
    assert_eq!(next_news(&mut logs).await, Some(current()));
    grow(&fake, &replica("web", 1), 10);
    fake.shut_down();
    assert_eq!(next_update(&mut events).await, Some(whole()));
    assert_eq!(
        next_update(&mut events).await,
        Some(notice("last words").into())
    );
    assert_eq!(next_update(&mut events).await, None);
    assert_eq!(
        next_news(&mut logs).await,
        Some(grown(replica("web", 1), 10))
    );
    assert_eq!(next_news(&mut logs).await, None);
    timeout(GENEROUS, fake.server).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_follower_is_told_what_is_so_and_then_what_changes() {
    let fake = Fake::start();
    let (first, second) = (replica("web", 1), replica("web", 2));
    grow(&fake, &first, 5);
    let mut stream = fake.client().logs().await.unwrap();
    assert_eq!(next_news(&mut stream).await, Some(grown(first.clone(), 5)));
    assert_eq!(next_news(&mut stream).await, Some(current()));
    for (unit, offset) in [(second, 9), (first, 7)] {
        grow(&fake, &unit, offset);
        assert_eq!(next_news(&mut stream).await, Some(grown(unit, offset)));
    }
}

#[tokio::test]
async fn a_slow_follower_gets_the_newest_position_and_no_backlog() {
    let fake = Fake::start();
    let web = replica("web", 1);
    let mut stream = fake.client().logs().await.unwrap();
    assert_eq!(next_news(&mut stream).await, Some(current()));
    for offset in 1..=1_000_000 {
        grow(&fake, &web, offset);
        // The server gets its turn now and then; it does not make a line of each change.
        if offset % 1_000 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let mut lines = 0;
    let mut last = None;
    while last != Some(grown(web.clone(), 1_000_000)) {
        last = next_news(&mut stream).await;
        lines += 1;
    }
    assert!(lines < 1_000, "{lines}");
}

#[tokio::test]
async fn a_viewer_too_many_is_refused_and_a_command_is_not() {
    let fake = Fake::start();
    let client = fake.client();
    let mut viewers = Vec::new();
    for _ in 0..MAX_VIEWERS {
        viewers.push(client.events().await.unwrap());
    }
    match client.logs().await {
        Err(ClientError::Refused(body)) => assert_eq!(body.code, code::TOO_MANY_STREAMS),
        other => panic!("{other:?}"),
    }
    let mut waiters = Vec::new();
    for _ in 0..MAX_WAITERS {
        waiters.push(client.outcome().await.unwrap());
    }
    client.stack().await.unwrap();
    waiters.pop();
    let command = client.clone().for_command();
    timeout(GENEROUS, async {
        while command.logs().await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    // A place is free again as soon as its client has gone.
    viewers.pop();
    timeout(GENEROUS, async {
        while client.logs().await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

/// A supervisor that is suspended while somebody waits for what a command does.
#[test]
fn who_waits_is_told_that_nobody_answers_any_more() {
    alone_async(async {
        use tokio::io::AsyncWriteExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let client = Client::new(&path).with_deadline(std::time::Duration::from_millis(50));
        let speak = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let line = serde_json::to_string(&whole()).unwrap();
            let head = "HTTP/1.1 200 OK\r\nstack-api-version: 1\r\n\r\n";
            let answer = format!("{head}{line}\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream
        };
        let (stream, _suspended) = tokio::join!(client.outcome(), speak);
        let mut stream = stream.unwrap();
        assert_eq!(next_update(&mut stream).await, Some(whole()));
        let error = timeout(GENEROUS, stream.next()).await.unwrap().unwrap_err();
        assert!(
            matches!(error, ClientError::NotAnswering { .. }),
            "{error:?}"
        );
    });
}
