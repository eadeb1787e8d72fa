//! Events and output, as they happen.

use tokio::time::timeout;

use super::fake::{Fake, GENEROUS, block, name, replica, service, snapshot};
use crate::api::client::{ClientError, EventStream, LogFollow};
use crate::api::frame::Frame;
use crate::api::messages::{Update, code};
use crate::api::server::MAX_STREAMS;
use crate::run::snapshot::{Event, Notice, NoticeLevel, Phase};

async fn next_update(stream: &mut EventStream) -> Option<Update> {
    timeout(GENEROUS, stream.next()).await.unwrap().unwrap()
}

async fn next_frame(stream: &mut LogFollow) -> Option<Frame> {
    timeout(GENEROUS, stream.next()).await.unwrap().unwrap()
}

fn notice(message: &str) -> Event {
    Event::Notice(Notice {
        service: None,
        replica: None,
        level: NoticeLevel::Info,
        message: message.to_owned(),
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
    let mut logs = fake.client().logs(&[]).await.unwrap();
    fake.events.send(notice("last words")).unwrap();
    fake.logs.send(block("web", 1, b"last line\n")).unwrap();
    fake.shut_down();
    assert_eq!(next_update(&mut events).await, Some(whole()));
    assert_eq!(
        next_update(&mut events).await,
        Some(notice("last words").into())
    );
    assert_eq!(next_update(&mut events).await, None);
    assert!(matches!(
        next_frame(&mut logs).await,
        Some(Frame::Start { .. })
    ));
    assert_eq!(
        next_frame(&mut logs).await,
        Some(Frame::Block(block("web", 1, b"last line\n")))
    );
    assert_eq!(next_frame(&mut logs).await, None);
    timeout(GENEROUS, fake.server).await.unwrap().unwrap();
}

#[tokio::test]
async fn output_arrives_byte_for_byte_for_whom_it_was_asked() {
    let fake = Fake::start();
    let mut all = fake.client().logs(&[]).await.unwrap();
    let mut one = fake.client().logs(&[name("web")]).await.unwrap();
    let start = Some(Frame::Start {
        log_dir: "/p/shop/.stack/shop/logs".into(),
    });
    assert_eq!(next_frame(&mut all).await, start);
    assert_eq!(next_frame(&mut one).await, start);
    let odd = block("web", 1, b"caf\xc3\n\0\x1b[31m{\"frame\":\"block\"}\r\n");
    let other = block("api", 2, b"\n");
    let second = crate::run::logs::LogBlock {
        unit: replica("web", 2),
        ..block("web", 2, b"of the second replica\n")
    };
    let last = crate::run::logs::LogBlock {
        is_partial: true,
        ..block("web", 3, b"no end")
    };
    for block in [&odd, &other, &second, &last] {
        fake.logs.send(block.clone()).unwrap();
    }
    for block in [&odd, &other, &second, &last] {
        assert_eq!(
            next_frame(&mut all).await,
            Some(Frame::Block(block.clone()))
        );
    }
    assert_eq!(next_frame(&mut one).await, Some(Frame::Block(odd)));
    // A service that is asked for means all its replicas.
    assert_eq!(next_frame(&mut one).await, Some(Frame::Block(second)));
    assert_eq!(next_frame(&mut one).await, Some(Frame::Block(last)));
}

#[tokio::test]
async fn a_slow_follower_is_told_how_many_blocks_it_missed() {
    let fake = Fake::with_script(4, |_| super::fake::Act::Answer);
    let mut stream = fake.client().logs(&[]).await.unwrap();
    assert!(matches!(
        next_frame(&mut stream).await,
        Some(Frame::Start { .. })
    ));
    for time in 0..7 {
        fake.logs.send(block("web", time, b"x\n")).unwrap();
    }
    assert_eq!(
        next_frame(&mut stream).await,
        Some(Frame::Lagged { missed: 3 })
    );
    for time in 3..7 {
        let expected = Frame::Block(block("web", time, b"x\n"));
        assert_eq!(next_frame(&mut stream).await, Some(expected));
    }
}

/// 100 MB through one follower that reads as fast as it can: whatever it does not get, it is told.
#[tokio::test]
async fn blocks_are_received_or_counted() {
    const BLOCKS: u64 = 1_600;
    static BYTES: [u8; 65_536] = [b'x'; 65_536];
    let fake = Fake::with_script(64, |_| super::fake::Act::Answer);
    let mut stream = fake.client().logs(&[]).await.unwrap();
    let sender = fake.logs.clone();
    let flood = tokio::spawn(async move {
        for time in 0..BLOCKS {
            sender.send(block("web", time, &BYTES)).unwrap();
            if time % 16 == 0 {
                tokio::task::yield_now().await;
            }
        }
    });
    let (mut received, mut missed) = (0, 0);
    while received + missed < BLOCKS {
        match next_frame(&mut stream).await {
            Some(Frame::Start { .. }) => {}
            Some(Frame::Block(block)) => {
                assert_eq!(block.time, received + missed, "torn or out of order");
                assert_eq!(block.bytes.len(), BYTES.len());
                received += 1;
            }
            Some(Frame::Lagged { missed: count }) => missed += count,
            None => panic!("the stream ended after {received} and {missed}"),
        }
    }
    flood.await.unwrap();
    assert!(received > 0);
}

#[tokio::test]
async fn a_stream_too_many_is_refused_and_a_command_is_not() {
    let fake = Fake::start();
    let client = fake.client();
    let mut streams = Vec::new();
    for _ in 0..MAX_STREAMS {
        streams.push(client.events().await.unwrap());
    }
    match client.logs(&[]).await {
        Err(ClientError::Refused(body)) => assert_eq!(body.code, code::TOO_MANY_STREAMS),
        other => panic!("{other:?}"),
    }
    client.stack().await.unwrap();
    // A place is free again as soon as its client has gone.
    streams.pop();
    timeout(GENEROUS, async {
        while client.logs(&[]).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}
