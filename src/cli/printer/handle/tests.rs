use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::cli::printer::item::CAPACITY;
use crate::cli::printer::options::{Progress, Terminals};
use crate::cli::printer::testing::{
    Screen, failed, healthy, replica, stack, starting, unit, waiting,
};
use crate::run::reason::News;
use crate::run::snapshot::{LogStream, NoticeLevel, ServiceSnapshot};

/// What was written, by whichever stream.
type Written = Arc<Mutex<Vec<u8>>>;

/// A stream that takes a write only when the test lets it, and every one once the test let go.
struct Gate {
    permits: mpsc::Receiver<()>,
    written: Written,
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // An error says that the test holds nothing back any more.
        let _ = self.permits.recv();
        self.written.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stream that fails.
struct Broken(fn() -> io::Error);

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn gate(written: &Written) -> (mpsc::Sender<()>, Box<dyn Write + Send>) {
    let (permit_tx, permits) = mpsc::channel();
    let written = Arc::clone(written);
    (permit_tx, Box::new(Gate { permits, written }))
}

fn open(written: &Written) -> Box<dyn Write + Send> {
    gate(written).1
}

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

fn start(options: PrinterOptions, streams: [Box<dyn Write + Send>; 2]) -> Printer {
    let world = World { now: ticking, size };
    // Long enough for a loaded machine, as only one test is meant to see its end.
    let patience = Duration::from_secs(60);
    Printer::start_with(options, streams, [4096, 4096], world, patience)
}

fn block(service: &str, text: impl Into<bytes::Bytes>) -> LogBlock {
    LogBlock {
        unit: unit(service),
        stream: LogStream::Stdout,
        time: 0,
        attempt: 1,
        bytes: text.into(),
        is_partial: false,
    }
}

fn send(printer: &Printer, service: &str, text: impl Into<bytes::Bytes>) {
    printer.logs(block(service, text));
}

fn text(written: &Written) -> String {
    String::from_utf8(written.lock().unwrap().clone()).unwrap()
}

#[tokio::test]
async fn a_slow_reader_makes_the_caller_wait_and_gets_everything() {
    let (out, err) = (Written::default(), Written::default());
    let (permit_tx, stdout) = gate(&out);
    let printer = start(options(Progress::Plain, true), [stdout, open(&err)]);
    let lines = "0123456789abcdef\n".repeat(1_000);
    let (mut waits, mut most) = (0, 0);
    for _ in 0..200 {
        if !printer.has_room() {
            waits += 1;
            for _ in 0..1_000 {
                permit_tx.send(()).unwrap();
            }
            printer.room().await;
        }
        send(&printer, "api", lines.clone());
        most = most.max(printer.flow.pending());
    }
    drop(permit_tx);
    assert!(printer.finish());
    assert!(waits > 0);
    assert!(most < 2 * CAPACITY, "{most}");
    assert_eq!(text(&out).lines().count(), 200 * 1_000);
    assert_eq!(text(&err), "");
}

#[tokio::test]
async fn who_waits_for_a_terminal_that_takes_nothing_is_told_so() {
    let (out, err) = (Written::default(), Written::default());
    let (permit_tx, stdout) = gate(&out);
    let world = World { now: ticking, size };
    let printer = Printer::start_with(
        options(Progress::Plain, true),
        [stdout, open(&err)],
        [4096, 4096],
        world,
        Duration::from_millis(1),
    );
    send(&printer, "api", vec![b'\n'; 2 * CAPACITY]);
    printer.room().await;
    assert!(!printer.has_room());
    drop(permit_tx);
}

#[test]
fn where_no_thread_is_to_be_had_everything_is_printed_at_once() {
    let world = World { now: ticking, size };
    let flow = Arc::new(Flow::default());
    let sink = |written: &Written| Sink::new(open(written), LARGE, Arc::clone(&flow));
    let (out, err) = (Written::default(), Written::default());
    let worker = Worker::new(
        options(Progress::Plain, false),
        sink(&out),
        sink(&err),
        Arc::clone(&flow),
        world,
    );
    let way = Way::Direct(Mutex::new(Box::new(worker)));
    let flow = Arc::default();
    let printer = Printer {
        way,
        flow,
        patience: Duration::ZERO,
    };
    printer.line_out("data");
    printer.line_err("a message");
    assert_eq!(
        (text(&out), text(&err)),
        ("data\n".to_owned(), "a message\n".to_owned())
    );
    assert!(printer.has_room() && printer.finish());
}

#[test]
fn finish_does_not_wait_for_a_terminal_that_takes_nothing() {
    let (out, err) = (Written::default(), Written::default());
    let (permit_tx, stdout) = gate(&out);
    let world = World { now: ticking, size };
    let printer = Printer::start_with(
        options(Progress::Plain, true),
        [stdout, open(&err)],
        [4096, 4096],
        world,
        Duration::from_millis(1),
    );
    send(&printer, "api", "never seen\n");
    assert!(!printer.finish());
    assert_eq!(text(&out), "");
    drop(permit_tx);
}

#[tokio::test]
async fn a_reader_that_has_gone_is_no_error() {
    let err = Written::default();
    let broken = Box::new(Broken(|| io::Error::from_raw_os_error(nix::libc::EPIPE)));
    let printer = start(options(Progress::Plain, false), [broken, open(&err)]);
    send(&printer, "api", "x\n");
    while !printer.is_output_gone() {
        tokio::task::yield_now().await;
    }
    // Neither full nor a memory of what nobody reads.
    for _ in 0..1_000 {
        send(&printer, "api", vec![b'\n'; 64 * 1024]);
        while !printer.has_room() {
            printer.room().await;
        }
    }
    printer.line_err("still said");
    assert!(printer.finish());
    assert_eq!(text(&err), "still said\n");
}

#[test]
fn a_full_disk_is_said_once() {
    let err = Written::default();
    let full = Box::new(Broken(|| io::Error::from_raw_os_error(nix::libc::ENOSPC)));
    let printer = start(options(Progress::Quiet, false), [full, open(&err)]);
    printer.line_out("data");
    printer.line_out("more data");
    assert!(printer.finish());
    assert_eq!(text(&err).lines().count(), 1);
    assert!(text(&err).starts_with("error: cannot write to stdout: No space left"));
}

/// One start with everything in it, whichever way progress is shown. `cut` stands in the middle of
/// what `api` prints.
fn tell(printer: &Printer, cut: &str) {
    let service = |snapshot: ServiceSnapshot| printer.event(&Event::Service(Box::new(snapshot)));
    service(waiting("worker", &["api"]));
    service(starting("api", 8_001, 0));
    send(printer, "api", format!("listening{cut}"));
    service(healthy("api", 8_001, 300));
    send(printer, "api", " on 8001\n");
    let migrate = failed("worker", 1, crate::cli::printer::testing::exited());
    service(migrate.clone());
    printer.summary(&stack(vec![healthy("api", 8_001, 300), migrate.clone()]));
    printer.failure(Failure {
        service: migrate,
        tail: vec!["no such table: users".to_owned()],
        blocked: Vec::new(),
    });
}

#[test]
fn plain_progress_on_one_screen_with_the_logs() {
    let screen = Written::default();
    let printer = start(
        options(Progress::Plain, true),
        [open(&screen), open(&screen)],
    );
    tell(&printer, "");
    assert!(printer.finish());
    insta::assert_snapshot!(text(&screen));
}

#[test]
fn a_live_region_leaves_only_what_is_worth_keeping() {
    let written = Written::default();
    let printer = start(
        options(Progress::Tty, true),
        [open(&written), open(&written)],
    );
    // A region that came between the parts of a line would tear it, and when it is drawn is a
    // matter of time.
    tell(&printer, "\n");
    assert!(printer.finish());
    let mut screen = Screen::new(80);
    screen.feed(&written.lock().unwrap());
    insta::assert_snapshot!(screen.text());
}

#[test]
fn the_echo_of_ctrl_c_is_wiped_off_before_the_next_line() {
    let screen = Written::default();
    let printer = start(options(Progress::Tty, true), [open(&screen), open(&screen)]);
    send(&printer, "api", "up\n");
    printer.draining(false);
    printer.draining(true);
    send(&printer, "api", "bye\n");
    assert!(printer.finish());
    assert_eq!(text(&screen), "api    | up\n\r\x1b[Kapi    | bye\n");
}

#[test]
fn paragraphs_are_set_off_by_one_empty_line_and_none_at_the_ends() {
    let screen = Written::default();
    let printer = start(
        options(Progress::Plain, true),
        [open(&screen), open(&screen)],
    );
    let summary = stack(vec![healthy("api", 8_001, 300)]);
    printer.summary(&summary);
    printer.summary(&summary);
    send(&printer, "api", "bye\n");
    printer.summary(&summary);
    assert!(printer.finish());
    let text = text(&screen);
    assert!(text.starts_with("shop is up\n\n  api"), "{text}");
    assert!(text.ends_with("Ctrl-C stops the stack\n"), "{text}");
    assert_eq!(text.matches("stops the stack\n\nshop is up").count(), 1);
    assert_eq!(
        text.matches("stops the stack\n\napi    | bye\n\nshop is up")
            .count(),
        1
    );
}

#[test]
fn units_that_are_introduced_are_numbered_from_the_first_line_on() {
    let (out, err) = (Written::default(), Written::default());
    let printer = start(options(Progress::Plain, false), [open(&out), open(&err)]);
    printer.introduce(vec![replica("api", 1), replica("api", 2)]);
    send(&printer, "api", "one\n");
    let second = replica("api", 2);
    printer.notice(Notice::about(
        Some(second.clone()),
        NoticeLevel::Warning,
        News::LeftBehind { processes: 2 },
    ));
    let block = LogBlock {
        unit: second,
        ..block("api", "two\n")
    };
    printer.logs(block);
    let failed = ServiceSnapshot {
        replica: 2,
        replicas: 2,
        ..failed("api", 1, crate::cli::printer::testing::exited())
    };
    printer.failure(Failure {
        service: failed,
        tail: vec!["out of cheese".to_owned()],
        blocked: Vec::new(),
    });
    assert!(printer.finish());
    assert_eq!(text(&out), "api-1  | one\napi-2  | two\n");
    let err = text(&err);
    assert!(
        err.starts_with("api-2   warning: it ended and left 2 processes behind; ending them\n"),
        "{err}"
    );
    assert!(err.contains("service `api-2` failed"), "{err}");
    assert!(err.contains(".stack/shop/logs/api@2.log"), "{err}");
}

#[test]
fn quiet_says_only_what_failed() {
    let (out, err) = (Written::default(), Written::default());
    let printer = start(options(Progress::Quiet, false), [open(&out), open(&err)]);
    tell(&printer, "");
    assert!(printer.finish());
    assert_eq!(text(&out), "api    | listening on 8001\n");
    insta::assert_snapshot!(text(&err), @r"
    worker  failed: exited with code 1

    error: service `worker` failed: exited with code 1
      its last line:
      │ no such table: users
      all of them: .stack/shop/logs/worker.log
    ");
}

#[test]
fn json_progress_is_one_object_a_line() {
    let (out, err) = (Written::default(), Written::default());
    let printer = start(options(Progress::Json, false), [open(&out), open(&err)]);
    tell(&printer, "");
    printer.line_err("error: something\nhint: else");
    assert!(printer.finish());
    let kinds: Vec<String> = text(&err)
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

#[test]
fn finishing_twice_is_as_good_as_once() {
    let (out, err) = (Written::default(), Written::default());
    let printer = start(options(Progress::Plain, false), [open(&out), open(&err)]);
    printer.line_out("a");
    assert!(printer.finish());
    assert!(printer.finish());
    drop(printer);
    assert_eq!(text(&out), "a\n");
}
