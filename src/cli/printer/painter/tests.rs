use proptest::prelude::*;

use super::*;
use crate::cli::printer::options::Color;
use crate::cli::printer::testing::{replica, unit};

fn pipe() -> PrinterOptions {
    PrinterOptions {
        log_prefix: true,
        color: Color::Never,
        ..PrinterOptions::default()
    }
}

fn terminal() -> PrinterOptions {
    let mut options = pipe();
    options.terminals.stdout = true;
    options
}

fn block(service: &str, bytes: impl Into<Bytes>) -> LogBlock {
    LogBlock {
        unit: unit(service),
        stream: LogStream::Stdout,
        time: 1_795_000_000_123_456_789,
        attempt: 1,
        bytes: bytes.into(),
        continues: false,
    }
}

/// One that goes on with the line before it.
fn rest(service: &str, bytes: impl Into<Bytes>) -> LogBlock {
    LogBlock {
        continues: true,
        ..block(service, bytes)
    }
}

fn painted(options: &PrinterOptions, blocks: &[LogBlock]) -> String {
    let mut painter = Painter::new(options);
    let mut roster = Roster::new(&[unit("api"), unit("worker")]);
    let mut out = Vec::new();
    for block in blocks {
        painter.paint(block, &mut roster, &mut out);
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn every_line_begins_with_the_padded_name() {
    let blocks = [block("api", "one\n\ntwo\n"), block("worker", "three\r\n")];
    assert_eq!(
        painted(&pipe(), &blocks),
        "api    | one\napi    | \napi    | two\nworker | three\r\n"
    );
}

#[test]
fn replicas_are_numbered_as_soon_as_there_are_two_of_them() {
    let second = LogBlock {
        unit: replica("worker", 2),
        ..block("worker", "two\n")
    };
    let blocks = [
        block("worker", "one\n"),
        second,
        block("worker", "three\n"),
        block("api", "four\n"),
    ];
    assert_eq!(
        painted(&pipe(), &blocks),
        "worker | one\nworker-2 | two\nworker-1 | three\napi      | four\n"
    );
}

#[test]
fn names_are_coloured_and_times_follow_them() {
    let style = PrinterOptions {
        timestamps: true,
        color: Color::Always,
        ..pipe()
    };
    assert_eq!(
        painted(&style, &[block("api", "one\n")]),
        "\x1b[36mapi    |\x1b[0m 2026-11-18T11:06:40.123Z one\n"
    );
}

#[test]
fn a_line_in_parts_stays_one_line_unless_somebody_else_prints() {
    let alone = [block("api", "Build"), rest("api", "ing\nnext")];
    assert_eq!(painted(&pipe(), &alone), "api    | Building\napi    | next");
    let disturbed = [
        block("api", "Build"),
        block("worker", "x\n"),
        rest("api", "ing\n"),
    ];
    assert_eq!(
        painted(&pipe(), &disturbed),
        "api    | Build\nworker | x\napi    | ing\n"
    );
}

#[test]
fn the_other_stream_and_the_next_attempt_or_run_are_somebody_else() {
    let stderr = LogBlock {
        stream: LogStream::Stderr,
        ..block("api", "err\n")
    };
    assert_eq!(
        painted(&pipe(), &[block("api", "out"), stderr]),
        "api    | out\napi    | err\n"
    );
    let again = LogBlock {
        attempt: 2,
        ..block("api", "again\n")
    };
    assert_eq!(
        painted(&pipe(), &[block("api", "last"), again]),
        "api    | last\napi    | again\n"
    );
    // The first attempt of the next run.
    assert_eq!(
        painted(&pipe(), &[block("api", "last"), block("api", "again\n")]),
        "api    | last\napi    | again\n"
    );
}

#[test]
fn without_prefix_lines_are_raw() {
    let style = PrinterOptions {
        log_prefix: false,
        ..pipe()
    };
    let bytes = b"a\x1b[2J\r\nb\0".as_slice();
    assert_eq!(painted(&style, &[block("api", bytes)]).as_bytes(), bytes);
}

#[test]
fn a_terminal_gets_colour_but_no_cursor_movement() {
    let style = terminal();
    let blocks = [
        block("api", "\x1b[2J\x1b[31mred\nplain\r\n"),
        block("api", "\x1b[1mbo"),
        rest("api", "ld\x1b]0;x"),
        block("worker", "x\n"),
        rest("api", "y\n"),
    ];
    assert_eq!(
        painted(&style, &blocks),
        "api    | \x1b[31mred\x1b[0m\napi    | plain\napi    | \x1b[1mbold\x1b[0m\nworker | x\napi    | y\n"
    );
}

/// Lines of arbitrary bytes from two services and two streams, cut anywhere.
fn blocks() -> impl Strategy<Value = Vec<LogBlock>> {
    let bytes = prop::collection::vec(
        prop_oneof![
            Just(b'\n'),
            Just(b'\r'),
            Just(0x1b),
            Just(b'|'),
            any::<u8>()
        ],
        0..30,
    );
    let one = (any::<bool>(), any::<bool>(), bytes).prop_map(|(is_api, is_stdout, bytes)| {
        let stream = if is_stdout {
            LogStream::Stdout
        } else {
            LogStream::Stderr
        };
        LogBlock {
            stream,
            ..rest(if is_api { "api" } else { "worker" }, bytes)
        }
    });
    prop::collection::vec(one, 0..20)
}

fn without_newlines(bytes: impl IntoIterator<Item = u8>) -> Vec<u8> {
    bytes.into_iter().filter(|&byte| byte != b'\n').collect()
}

proptest! {
    #[test]
    fn one_service_alone_gets_its_bytes_back(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..10),
    ) {
        let mut painter = Painter::new(&pipe());
        let mut roster = Roster::new(&[unit("api")]);
        let mut out = Vec::new();
        for part in &parts {
            painter.paint(&rest("api", part.clone()), &mut roster, &mut out);
        }
        let mut lines: Vec<&[u8]> = out.split_inclusive(|&byte| byte == b'\n').collect();
        for line in &mut lines {
            prop_assert!(line.starts_with(b"api | "));
            *line = &line[6..];
        }
        prop_assert_eq!(lines.concat(), parts.concat());
    }

    #[test]
    fn no_byte_is_lost_and_no_line_mixes_two_services(blocks in blocks()) {
        let mut painter = Painter::new(&pipe());
        let mut roster = Roster::new(&[unit("api"), unit("worker")]);
        let mut out = Vec::new();
        for block in &blocks {
            painter.paint(block, &mut roster, &mut out);
        }
        for (service, prefix) in [("api", b"api    | "), ("worker", b"worker | ")] {
            // Only line ends may be added, where another service came between.
            let shown = out
                .split(|&byte| byte == b'\n')
                .filter_map(|line| line.strip_prefix(prefix))
                .flatten()
                .copied();
            let printed = blocks
                .iter()
                .filter(|block| block.unit.service.as_str() == service)
                .flat_map(|block| block.bytes.iter().copied());
            prop_assert_eq!(without_newlines(shown), without_newlines(printed));
        }
    }
}
