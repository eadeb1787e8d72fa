use std::fs::File;
use std::io::{Read, Seek};
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::timeout;

use super::super::page::CAPACITY;
use super::*;
use crate::api::messages::Update;
use crate::cli::printer::Failure;
use crate::cli::printer::options::{Progress, Terminals};
use crate::cli::printer::testing::{
    Screen, failed, healthy, left_behind, replica, stack, starting, unit, waiting,
};
use crate::run::logs::LogBlock;
use crate::run::news::{Notice, NoticeLevel};
use crate::run::snapshot::{LogStream, ServiceSnapshot};

/// Every look at it is a second later.
fn ticking() -> u64 {
    static NOW: AtomicU64 = AtomicU64::new(0);
    NOW.fetch_add(1_000, Ordering::Relaxed)
}

fn size() -> Size {
    Size {
        columns: 80,
        rows: 24,
    }
}

fn options(progress: Progress, stdout_is_terminal: bool) -> PrinterOptions {
    PrinterOptions {
        progress,
        log_prefix: true,
        units: vec![unit("api"), unit("worker")],
        terminals: Terminals {
            stdout: stdout_is_terminal,
            no_color: true,
            ..Terminals::default()
        },
        log_dir: Some("/shop/.stack/shop/logs".into()),
        working_dir: Some("/shop".into()),
        has_the_stack: true,
        ..PrinterOptions::default()
    }
}

const WORLD: World = World { now: ticking, size };

/// Where a stream leads, so that it can be read.
struct Written(File);

impl Written {
    fn new() -> Self {
        Self(tempfile::tempfile().unwrap())
    }

    /// Another way to the same place, as both streams of one screen are.
    fn stream(&self) -> OwnedFd {
        self.0.try_clone().unwrap().into()
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut file = &self.0;
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    }
}

/// A printer, and where its two streams lead.
fn start(options: PrinterOptions) -> (Printer, Written, Written) {
    let (out, err) = (Written::new(), Written::new());
    let streams = [out.stream(), err.stream()];
    (Printer::with(options, streams, WORLD), out, err)
}

/// A printer whose streams are one screen.
fn on_screen(options: PrinterOptions) -> (Printer, Written) {
    let screen = Written::new();
    let streams = [screen.stream(), screen.stream()];
    let printer = Printer::with(options, streams, WORLD);
    (printer, screen)
}

/// A printer whose stdout leads through a pipe.
fn on_pipe() -> (Printer, io::PipeReader, Written) {
    let (reader, writer) = io::pipe().unwrap();
    let err = Written::new();
    let streams = [writer.into(), err.stream()];
    let options = options(Progress::Plain, false);
    let printer = Printer::with(options, streams, WORLD);
    (printer, reader, err)
}

/// Says what `work` says, and prints all of it.
async fn print(printer: &Printer, work: impl FnOnce()) {
    printer.run(async { work() }).await;
    assert!(printer.page.borrow().outlet.is_empty());
}

async fn finish(printer: &Printer) {
    printer.finish(None).await;
    assert!(printer.page.borrow().outlet.is_empty());
}

fn block(service: &str, text: impl Into<bytes::Bytes>) -> LogBlock {
    LogBlock {
        unit: unit(service),
        stream: LogStream::Stdout,
        time: 0,
        attempt: 1,
        bytes: text.into(),
        continues: true,
    }
}

fn send(printer: &Printer, service: &str, text: impl Into<bytes::Bytes>) {
    printer.page().logs(&block(service, text));
}

#[tokio::test]
async fn a_slow_reader_makes_the_caller_wait_and_gets_everything() {
    let (printer, mut reader, err) = on_pipe();
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text.lines().count()
    });
    let lines = "0123456789abcdef\n".repeat(1_000);
    let work = async {
        let (mut waits, mut most) = (0, 0);
        for _ in 0..200 {
            waits += u32::from(!printer.has_room());
            printer.room().await;
            send(&printer, "api", lines.clone());
            most = most.max(printer.page.borrow().outlet.len(Target::Out));
        }
        (waits, most)
    };
    let (waits, most) = printer.run(work).await;
    assert!(waits > 0);
    assert!(most < 2 * CAPACITY, "{most}");
    drop(printer);
    assert_eq!(reading.join().unwrap(), 200 * 1_000);
    assert_eq!(err.text(), "");
}

#[tokio::test]
async fn whoever_prints_to_a_terminal_that_takes_nothing_goes_on_and_ends() {
    let (printer, _reader, err) = on_pipe();
    let work = async {
        send(&printer, "api", vec![b'\n'; 2 * CAPACITY]);
        let room = timeout(Duration::from_millis(10), printer.room()).await;
        assert!(room.is_err() && !printer.has_room());
    };
    printer.beside(work).await;
    printer.finish(Some(Duration::from_millis(1))).await;
    // Nothing is kept of what nobody reads, and it is said how much that is.
    assert!(printer.has_room());
    let text = err.text();
    assert!(text.starts_with("warning: "), "{text}");
    assert!(text.contains(" lines were not shown"), "{text}");
}

#[tokio::test]
async fn messages_do_not_wait_behind_a_stdout_that_leads_elsewhere() {
    let (printer, reader, err) = on_pipe();
    let work = async {
        send(&printer, "api", vec![b'\n'; 2 * CAPACITY]);
        assert!(!printer.has_room() && printer.has_room_for_news());
        printer.page().line_err("error: something");
        while err.text().is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(!printer.has_room());
    };
    printer.beside(work).await;
    printer.finish(Some(Duration::from_millis(1))).await;
    assert!(err.text().starts_with("error: something\n"));
    drop(reader);
}

#[tokio::test]
async fn a_reader_that_has_gone_is_no_error() {
    let (printer, reader, err) = on_pipe();
    drop(reader);
    let work = async {
        // Even before anything is printed.
        printer.output_gone().await;
        // Neither full nor a memory of what nobody reads.
        for _ in 0..1_000 {
            send(&printer, "api", vec![b'\n'; 64 * 1024]);
            printer.room().await;
        }
        printer.page().line_err("still said");
    };
    printer.run(work).await;
    assert!(!printer.has_output_failed());
    assert_eq!(err.text(), "still said\n");
}

#[tokio::test]
async fn a_full_disk_is_said_once() {
    let err = Written::new();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let options = options(Progress::Quiet, false);
    let streams = [full.into(), err.stream()];
    let printer = Printer::with(options, streams, WORLD);
    print(&printer, || {
        printer.page().line_out("data");
        printer.page().line_out("more data");
    })
    .await;
    assert!(printer.has_output_failed());
    assert_eq!(err.text().lines().count(), 1);
    let expected = "error: cannot write to stdout: No space left";
    assert!(err.text().starts_with(expected), "{}", err.text());
}

#[tokio::test]
async fn both_streams_of_a_screen_are_written_in_order() {
    let (printer, screen) = on_screen(options(Progress::Plain, true));
    print(&printer, || {
        for _ in 0..3 {
            printer.page().line_out("data");
            printer.page().line_err("a message");
        }
    })
    .await;
    assert_eq!(screen.text(), "data\na message\n".repeat(3));
}

/// One start with everything in it, whichever way progress is shown. `cut` stands in the middle of
/// what `api` prints.
fn tell(printer: &Printer, cut: &str) {
    let service =
        |snapshot: ServiceSnapshot| printer.page().update(&Update::Service(Box::new(snapshot)));
    service(waiting("worker", &["api"]));
    service(starting("api", 8_001, 0));
    send(printer, "api", format!("listening{cut}"));
    service(healthy("api", 8_001, 300));
    send(printer, "api", " on 8001\n");
    let migrate = failed("worker", 1, crate::cli::printer::testing::exited());
    service(migrate.clone());
    printer
        .page()
        .summary(&stack(vec![healthy("api", 8_001, 300), migrate.clone()]));
    printer.page().failure(&Failure {
        service: migrate,
        tail: vec!["no such table: users".to_owned()],
        blocked: Vec::new(),
    });
}

#[tokio::test]
async fn plain_progress_on_one_screen_with_the_logs() {
    let (printer, screen) = on_screen(options(Progress::Plain, true));
    tell(&printer, "");
    finish(&printer).await;
    insta::assert_snapshot!(screen.text());
}

#[tokio::test]
async fn a_live_region_leaves_only_what_is_worth_keeping() {
    let (printer, written) = on_screen(options(Progress::Tty, true));
    // A region that came between the parts of a line would tear it, and when it is drawn is a
    // matter of time.
    tell(&printer, "\n");
    finish(&printer).await;
    let mut screen = Screen::new(80);
    screen.feed(written.text().as_bytes());
    insta::assert_snapshot!(screen.text());
}

#[tokio::test]
async fn the_echo_of_ctrl_c_is_wiped_off_before_the_next_line() {
    let (printer, screen) = on_screen(options(Progress::Tty, true));
    send(&printer, "api", "up\n");
    printer.page().draining(false);
    printer.page().draining(true);
    send(&printer, "api", "bye\n");
    finish(&printer).await;
    assert_eq!(screen.text(), "api    | up\n\r\x1b[Kapi    | bye\n");
}

#[tokio::test]
async fn paragraphs_are_set_off_by_one_empty_line_and_none_at_the_ends() {
    let (printer, screen) = on_screen(options(Progress::Plain, true));
    let summary = stack(vec![healthy("api", 8_001, 300)]);
    printer.page().summary(&summary);
    printer.page().summary(&summary);
    send(&printer, "api", "bye\n");
    printer.page().summary(&summary);
    finish(&printer).await;
    let text = screen.text();
    assert!(text.starts_with("shop is up\n\n  api"), "{text}");
    assert!(text.ends_with("Ctrl-C stops the stack\n"), "{text}");
    assert_eq!(text.matches("stops the stack\n\nshop is up").count(), 1);
    assert_eq!(
        text.matches("stops the stack\n\napi    | bye\n\nshop is up")
            .count(),
        1
    );
}

#[tokio::test]
async fn units_that_are_introduced_are_numbered_from_the_first_line_on() {
    let (printer, out, err) = start(options(Progress::Plain, false));
    printer
        .page()
        .introduce(&[replica("api", 1), replica("api", 2)]);
    send(&printer, "api", "one\n");
    let second = replica("api", 2);
    printer.page().update(&Update::Notice(Notice::about(
        Some(second.clone()),
        NoticeLevel::Warning,
        left_behind(),
    )));
    let block = LogBlock {
        unit: second,
        ..block("api", "two\n")
    };
    printer.page().logs(&block);
    let failed = ServiceSnapshot {
        replica: 2,
        replicas: 2,
        ..failed("api", 1, crate::cli::printer::testing::exited())
    };
    printer.page().failure(&Failure {
        service: failed,
        tail: vec!["out of cheese".to_owned()],
        blocked: Vec::new(),
    });
    finish(&printer).await;
    assert_eq!(out.text(), "api-1  | one\napi-2  | two\n");
    let err = err.text();
    assert!(
        err.starts_with(
            "api-2   warning: it ended and left pid 413 (redis-server *:6379) and 1 more"
        ),
        "{err}"
    );
    assert!(err.contains("service `api-2` failed"), "{err}");
    assert!(err.contains(".stack/shop/logs/api@2.log"), "{err}");
}

#[tokio::test]
async fn quiet_says_only_what_failed() {
    let (printer, out, err) = start(options(Progress::Quiet, false));
    tell(&printer, "");
    finish(&printer).await;
    assert_eq!(out.text(), "api    | listening on 8001\n");
    insta::assert_snapshot!(err.text(), @r"
    worker  failed: exited with code 1

    error: service `worker` failed: exited with code 1
      its last line:
      │ no such table: users
      all of them: .stack/shop/logs/worker.log
    ");
}

#[tokio::test]
async fn json_progress_is_one_object_a_line() {
    let (printer, _, err) = start(options(Progress::Json, false));
    tell(&printer, "");
    printer.page().line_err("error: something\nhint: else");
    finish(&printer).await;
    let kinds: Vec<String> = err
        .text()
        .lines()
        .map(|line| {
            let object: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(object["time"].is_string() && object["text"].is_string());
            object["kind"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "service", "service", "service", "service", "summary", "failure", "message", "message"
        ]
    );
}
