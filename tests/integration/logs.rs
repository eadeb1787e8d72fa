//! Every byte that a service prints is in its log file, and shown.

use std::os::unix::fs::symlink;

use crate::harness::{TestStack, Up, binary};

/// What `misbehave spam` prints.
pub(crate) fn spam(bytes: usize) -> impl Iterator<Item = Vec<u8>> {
    let text = "the quick brown fox jumps over the lazy dog, again and again, until the pipe is \
                full of foxes";
    (0..bytes.div_ceil(100))
        .map(move |number| format!("{number:010} {}\n", &text[..88]).into_bytes())
}

#[test]
fn a_hundred_megabytes_arrive_complete() {
    let bytes = 100_000_000;
    let stack = TestStack::new(&format!(
        "services: {{ it: {{ command: MISBEHAVE spam {bytes}, logging: {{ max-size: 200m }} }} }}"
    ));
    stack.run(&["up", "--progress", "quiet"]).ok();
    let log = stack.log("it");
    assert_eq!(log.len(), bytes);
    for (number, (found, expected)) in log.chunks(100).zip(spam(bytes)).enumerate() {
        assert!(
            found == expected,
            "line {number}: {}",
            String::from_utf8_lossy(found)
        );
    }
}

#[test]
fn both_streams_are_captured_at_once() {
    let stack = TestStack::new(
        "services: { it: { command: 'MISBEHAVE spam 5000000 & MISBEHAVE spam 5000000 --stderr & wait' } }",
    );
    stack.run(&["up", "--progress", "quiet"]).ok();
    let log = stack.log("it");
    assert_eq!(log.len(), 10_000_000);
    // Whole lines of either stream, never a piece of one in another.
    let next = |line: &[u8]| -> usize {
        let number = std::str::from_utf8(&line[..10]).expect("a line begins with its number");
        number.parse().expect("a number")
    };
    let mut expected = [0, 0];
    for line in log.chunks(100) {
        let number = next(line);
        let stream = expected.iter().position(|&wanted| wanted == number);
        let stream = stream.unwrap_or_else(|| panic!("line {number}, wanted one of {expected:?}"));
        expected[stream] += 1;
    }
    assert_eq!(expected, [50_000, 50_000]);
}

#[test]
fn the_last_line_before_an_abort_is_there() {
    let stack = TestStack::new(
        "services: { it: { command: [MISBEHAVE, abort-after-line, 'fatal: the reactor is on fire'] } }",
    );
    stack
        .up()
        .wait()
        .expect(1)
        .says(&["it", "fatal: the reactor is on fire"]);
    assert_eq!(stack.log("it"), b"fatal: the reactor is on fire");
    let it = stack.service("it").expect("ps lists what ended");
    assert_eq!(it.exit_signal(), Some(6));
}

#[test]
fn a_huge_line_is_kept_byte_for_byte() {
    let stack = TestStack::new("services: { it: { command: MISBEHAVE long-line 20000000 } }");
    stack.run(&["up", "--progress", "quiet"]).ok();
    let log = stack.log("it");
    assert_eq!(log.len(), 20_000_001);
    assert!(log[..20_000_000].iter().all(|&byte| byte == b'x'));
}

#[test]
fn bytes_of_every_value_are_kept() {
    let stack = TestStack::new("services: { it: { command: MISBEHAVE binary 1000000 } }");
    stack.run(&["up", "--progress", "quiet"]).ok();
    let expected: Vec<u8> = (0..1_000_000_u32)
        .map(|position| position.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    assert!(stack.log("it") == expected);
}

#[test]
fn a_character_in_two_writes_is_shown_whole() {
    let stack = TestStack::new("services: { it: { command: MISBEHAVE half-utf8 } }");
    let output = stack.up().wait().ok();
    assert!(output.stdout.contains("café"), "{output}");
    assert_eq!(stack.log("it"), b"caf\xc3\xa9\ncaf\xc3");
}

#[test]
fn lines_are_shown_with_the_padded_name() {
    let stack = TestStack::new(
        "services: { a: { command: echo from a }, longer: { command: echo from longer } }",
    );
    let output = stack.up().wait().ok();
    let column = |text: &str| {
        let line = output.stdout.lines().find(|line| line.ends_with(text));
        line.unwrap_or_else(|| panic!("no `{text}`: {output}"))
            .len()
            - text.len()
    };
    assert_eq!(column("from a"), column("from longer"), "{output}");
    let plain = stack.run(&["up", "--no-log-prefix"]).ok();
    assert!(plain.stdout.lines().any(|line| line == "from a"), "{plain}");
}

#[test]
fn logs_shows_the_last_run_after_it_has_ended() {
    let stack =
        TestStack::new("services: { a: { command: 'echo run $(cat n)' }, b: { command: echo b } }");
    for run in ["first", "second"] {
        stack.write("n", run);
        stack.up().wait().ok();
    }
    let logs = stack.run(&["logs", "a"]).ok();
    assert!(logs.stdout.contains("run second"), "{logs}");
    assert!(!logs.stdout.contains("run first"), "{logs}");
    // The file has both.
    assert_eq!(stack.log("a"), b"run first\nrun second\n");
}

#[test]
fn logs_n_shows_the_last_lines() {
    let stack = TestStack::new("services: { a: { command: 'seq 1 100' } }");
    stack.up().wait().ok();
    let logs = stack.run(&["logs", "-n", "3"]).ok();
    let last: Vec<&str> = logs
        .stdout
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .collect();
    assert_eq!(last, ["98", "99", "100"], "{logs}");
}

#[test]
fn logs_f_follows_until_the_stack_ends() {
    let stack = TestStack::new("services: { a: { command: MISBEHAVE lines 5 100 } }");
    stack.run(&["up", "-d"]).ok();
    let mut logs = stack.start(&["logs", "-f"]);
    logs.wait_for_line("line 5");
    stack.down();
    let output = logs.wait().ok();
    for line in 1..=5 {
        assert!(output.stdout.contains(&format!("line {line}")), "{output}");
    }
}

#[test]
fn logs_into_a_reader_that_leaves_is_no_panic() {
    let stack = TestStack::new("services: { it: { command: MISBEHAVE spam 10000000 } }");
    stack.run(&["up", "--progress", "quiet"]).ok();
    let mut command = std::process::Command::new("sh");
    stack.world().prepare(&mut command);
    let stack_binary = binary();
    command
        .args(["-c", "\"$0\" logs | head -1"])
        .arg(stack_binary)
        .current_dir(stack.path(""));
    let output = Up::start(stack.world(), command).wait().ok();
    assert_eq!(output.stdout.lines().count(), 1);
    assert!(!output.stderr.contains("panic"), "{output}");
}

#[test]
fn output_in_the_foreground_appears_while_the_service_runs() {
    let stack = TestStack::new("services: { a: { command: MISBEHAVE lines 3 10 } }");
    let mut up = stack.up();
    up.wait_for_line("line 3");
    assert_eq!(stack.service("a").expect("it runs").phase(), "running");
    stack.down();
    up.wait();
    let log = String::from_utf8_lossy(&stack.log("a")).into_owned();
    let mut lines: Vec<&str> = log.lines().collect();
    // The second is on the other stream, whose order to this one is not promised.
    lines.sort_unstable();
    assert_eq!(lines, ["line 1", "line 2", "line 3"]);
}

#[test]
fn what_no_file_takes_is_shown_all_the_same() {
    let stack =
        TestStack::new("{ name: shop, services: { web: { command: MISBEHAVE lines 5 50 } } }");
    // Where its log belongs is something that is not opened.
    fs_err::create_dir_all(stack.path(".stack/shop/logs")).expect("it is ours");
    symlink("nowhere", stack.path(".stack/shop/logs/web.log")).expect("nothing is there");
    let mut up = stack.up();
    up.wait_for_line("web | line 5");
    let mut follower = stack.start(&["logs", "-f"]);
    follower.wait_for_line("web | line 5");
    let lines = |arguments: &[&str]| {
        let output = stack.run(arguments).ok();
        output.stdout.matches("line").count()
    };
    assert_eq!(lines(&["logs"]), 5);
    assert_eq!(lines(&["logs", "-n", "2"]), 2);
    assert_eq!(lines(&["logs", "-n", "0"]), 0);
    stack.down();
    for viewer in [up.wait(), follower.wait().ok()] {
        assert_eq!(viewer.stdout.matches("line").count(), 5, "{viewer}");
    }
}

#[test]
fn the_last_run_is_the_last_one_though_it_has_printed_nothing() {
    let stack = TestStack::new(
        "services: { it: { command: 'test -e flag || echo of the first run; sleep 100' } }",
    );
    stack.run(&["up", "-d"]).ok();
    stack.wait_for_log("it", "first run");
    stack.down();
    stack.write("flag", "");
    stack.run(&["up", "-d"]).ok();
    let said = |arguments: &[&str]| stack.run(arguments).ok().stdout;
    assert_eq!(said(&["logs"]), "");
    assert_eq!(said(&["logs", "-n", "5"]), "");
    let mut joined = stack.up();
    joined.wait_for_line("Ctrl-C stops");
    stack.down();
    assert_eq!(joined.wait().ok().stdout, "");
    assert_eq!(said(&["logs"]), "");
}
