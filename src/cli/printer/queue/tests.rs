use super::*;
use crate::cli::printer::samples::unit;
use crate::run::snapshot::LogStream;

/// A queue that holds ten of the blocks below.
const TEN: usize = 10 * (1_000 + ITEM_WEIGHT);

fn block(service: &str, lines: usize) -> LogBlock {
    // Always 1,000 bytes, so that only the count of lines differs.
    let mut bytes = vec![b'x'; 1_000];
    bytes[1_000 - lines..].fill(b'\n');
    LogBlock {
        unit: unit(service),
        stream: LogStream::Stdout,
        time: 0,
        attempt: 1,
        bytes: bytes.into(),
        is_partial: false,
    }
}

/// Offers a block that is expected to be taken, be it to be printed or to be counted.
fn accepted(queue: &mut Queue, service: &str, lines: usize, progress: u64) {
    assert!(matches!(
        queue.offer(block(service, lines), progress),
        Delivery::Accepted
    ));
}

fn fill(queue: &mut Queue) {
    for _ in 0..10 {
        accepted(queue, "api", 1, 0);
    }
}

/// Prints everything, and returns what it was, in short.
fn drain(queue: &mut Queue) -> Vec<String> {
    let mut shown = Vec::new();
    loop {
        queue.finish_batch();
        let batch = queue.take();
        if batch.is_empty() {
            return shown;
        }
        shown.extend(batch.iter().map(|item| match item {
            Item::Logs(block) => format!("block of {}", block.unit.label(1)),
            Item::Dropped(dropped) => {
                let lines: Vec<String> = dropped
                    .lines
                    .iter()
                    .map(|(unit, count)| format!("{count} of {}", unit.label(1)))
                    .collect();
                format!("dropped {} and {} events", lines.join(", "), dropped.events)
            }
            other => format!("{other:?}"),
        }));
    }
}

#[test]
fn a_terminal_that_is_too_slow_costs_lines_that_are_counted() {
    let mut queue = Queue::new(Policy::Drop, TEN);
    fill(&mut queue);
    accepted(&mut queue, "api", 3, 0);
    accepted(&mut queue, "web", 1, 0);
    accepted(&mut queue, "api", 4, 0);
    let shown = drain(&mut queue);
    assert_eq!(shown.len(), 11);
    assert_eq!(shown[10], "dropped 7 of api, 1 of web and 0 events");
    // And from there on everything is shown again.
    accepted(&mut queue, "web", 1, 0);
    assert_eq!(drain(&mut queue), ["block of web"]);
}

#[test]
fn dropping_goes_on_until_half_is_printed_so_that_notes_are_few() {
    let mut queue = Queue::new(Policy::Drop, 1_000 * (1_000 + ITEM_WEIGHT));
    for _ in 0..1_001 {
        accepted(&mut queue, "api", 1, 0);
    }
    // A batch is on its way, which leaves room for many blocks, but not half the queue.
    let taken = queue.take().len();
    queue.finish_batch();
    assert!((100..500).contains(&taken));
    accepted(&mut queue, "api", 1, 0);
    while !queue.has_room() {
        assert!(!queue.take().is_empty());
        queue.finish_batch();
    }
    accepted(&mut queue, "web", 1, 0);
    let shown = drain(&mut queue);
    let place = shown.iter().position(|item| item.starts_with("dropped"));
    // The note stands where the lines would have stood: before what came later.
    assert_eq!(place, Some(shown.len() - 2));
    assert_eq!(shown[shown.len() - 2], "dropped 2 of api and 0 events");
    assert_eq!(shown[shown.len() - 1], "block of web");
}

#[test]
fn a_pipe_makes_the_caller_wait_and_loses_nothing() {
    let mut queue = Queue::new(Policy::Wait, TEN);
    fill(&mut queue);
    let Delivery::Full(returned) = queue.offer(block("web", 1), 0) else {
        panic!("there is no room");
    };
    assert_eq!(returned.unit, unit("web"));
    assert!(!queue.has_room());
    assert_eq!(drain(&mut queue).len(), 10);
    assert!(queue.has_room());
    assert!(matches!(queue.offer(returned, 1), Delivery::Accepted));
    assert_eq!(drain(&mut queue), ["block of web"]);
}

#[test]
fn a_stalled_pipe_is_treated_like_a_slow_terminal_until_it_takes_something() {
    let mut queue = Queue::new(Policy::Wait, TEN);
    fill(&mut queue);
    queue.mark_stalled(5);
    accepted(&mut queue, "api", 2, 5);
    // The reader took something, though not enough to make room: waiting makes sense again.
    assert!(matches!(queue.offer(block("api", 1), 6), Delivery::Full(_)));
    assert_eq!(drain(&mut queue)[10], "dropped 2 of api and 0 events");
}

#[test]
fn a_block_larger_than_the_queue_still_gets_through() {
    for policy in [Policy::Drop, Policy::Wait] {
        let mut queue = Queue::new(policy, 100);
        accepted(&mut queue, "api", 1, 0);
        assert_eq!(drain(&mut queue), ["block of api"]);
    }
}

#[test]
fn messages_are_never_dropped_and_changes_only_far_beyond_the_limit() {
    let mut queue = Queue::new(Policy::Drop, TEN);
    fill(&mut queue);
    let ended = || Event::Ended { failed: Vec::new() };
    for _ in 0..1_000 {
        queue.push_event(ended());
    }
    queue.append(Item::Err("error: why".to_owned()));
    let shown = drain(&mut queue);
    assert!(shown.contains(&"Err(\"error: why\")".to_owned()));
    let events = shown
        .iter()
        .filter(|item| item.starts_with("Event"))
        .count();
    assert!(events >= 10, "{events}");
    let note = format!("dropped  and {} events", 1_000 - events);
    assert_eq!(shown.last(), Some(&note));
}

#[test]
fn nothing_is_kept_for_a_reader_that_has_gone() {
    let mut queue = Queue::new(Policy::Wait, TEN);
    fill(&mut queue);
    queue.append(Item::Err("kept".to_owned()));
    queue.discard_logs();
    assert_eq!(drain(&mut queue), ["Err(\"kept\")"]);
    assert_eq!(queue.weight, 0);
}

#[test]
fn the_last_line_is_kept_only_while_it_is_wanted() {
    let mut queue = Queue::new(Policy::Drop, TEN);
    let note = |queue: &mut Queue, text: &'static str| {
        queue.note_last_line(&unit("api"), &Bytes::from_static(text.as_bytes()));
    };
    note(&mut queue, "early\n");
    assert!(queue.take_last_lines(true).is_empty());
    note(&mut queue, "one\ntwo\n\n");
    note(&mut queue, "10%\r20%\r\n");
    note(&mut queue, "\n");
    let lines = queue.take_last_lines(false);
    assert_eq!(lines[&unit("api")], b"20%");
}

#[tokio::test(start_paused = true)]
async fn waiting_for_room_ends_when_the_reader_has_stalled() {
    let shared = Shared::new(Policy::Wait, TEN, PATIENCE);
    for _ in 0..10 {
        assert!(matches!(
            shared.offer(block("api", 1), true),
            Delivery::Accepted
        ));
    }
    let Delivery::Full(block) = shared.offer(block("api", 1), true) else {
        panic!("there is no room");
    };
    let start = tokio::time::Instant::now();
    shared.room().await;
    assert_eq!(start.elapsed(), PATIENCE);
    assert!(matches!(shared.offer(block, true), Delivery::Accepted));
    // Found to be stalled once, it is not waited for again until it takes something.
    shared.room().await;
    assert_eq!(start.elapsed(), PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_room_goes_on_while_the_reader_is_only_slow() {
    let shared = Shared::new(Policy::Wait, TEN, PATIENCE);
    for _ in 0..10 {
        assert!(matches!(
            shared.offer(block("api", 1), true),
            Delivery::Accepted
        ));
    }
    let slow_reader = async {
        for _ in 0..5 {
            tokio::time::sleep(PATIENCE * 3 / 4).await;
            shared.note_progress();
        }
        tokio::time::sleep(PATIENCE / 2).await;
        let now = std::time::Instant::now();
        let taken = shared.next(Some(now), None).map(|items| items.len());
        // The batch is printed when the next one is asked for.
        assert_eq!(
            shared.next(Some(now), None).map(|items| items.len()),
            Some(0)
        );
        taken
    };
    let start = tokio::time::Instant::now();
    let ((), taken) = tokio::join!(shared.room(), slow_reader);
    assert_eq!(taken, Some(10));
    assert_eq!(start.elapsed(), PATIENCE * 15 / 4 + PATIENCE / 2);
}
