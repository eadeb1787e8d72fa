//! Logs stay small, and readers do not notice.

use fs_err as fs;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::harness::{TestStack, Up, binary, wait_until};
use crate::logs::spam;

const MIB: u64 = 1024 * 1024;

/// The numbers of the lines that `misbehave spam` has printed, none of them torn.
fn numbers(text: &[u8]) -> Vec<usize> {
    let lines = text.split_inclusive(|&byte| byte == b'\n');
    lines
        .map(|line| {
            let number = std::str::from_utf8(&line[..10]).expect("a line begins with its number");
            let number: usize = number.parse().expect("a number");
            assert_eq!(line.len(), 100, "line {number} is torn");
            number
        })
        .collect()
}

fn assert_in_sequence(numbers: &[usize], last: usize) {
    let first = last + 1 - numbers.len();
    assert!(numbers.iter().copied().eq(first..=last), "{first}..={last}");
}

#[test]
fn a_flood_leaves_five_files_of_whole_lines_and_none_between_them_is_lost() {
    let stack = TestStack::new("services: { it: { command: MISBEHAVE spam 80000000 } }");
    stack.run(&["up", "-d"]).ok();
    stack.wait_for("it", "it has ended", |it| it.phase() == "completed");
    let files = stack.log_files("it");
    assert_eq!(files.len(), 5);
    assert!(files.iter().all(|file| file.len() as u64 <= 10 * MIB));
    let kept = numbers(&files.concat());
    assert_in_sequence(&kept, 799_999);
    assert!(kept.len() as u64 > 40 * MIB / 100);
    let logs = fs::read_dir(stack.path(".stack/shop/logs")).expect("it is there");
    let sizes = logs.map(|file| {
        file.expect("it is read")
            .metadata()
            .expect("it is there")
            .len()
    });
    assert!(sizes.sum::<u64>() < 60 * MIB);
    // Readers make one log of them, from either end.
    let shown = |arguments: &[&str]| {
        let output = stack.run(arguments).ok();
        numbers(output.stdout.as_bytes())
    };
    assert_eq!(shown(&["logs", "--no-log-prefix"]), kept);
    let tail = shown(&["logs", "--no-log-prefix", "-n", "150000"]);
    assert_eq!(tail.len(), 150_000);
    assert_in_sequence(&tail, 799_999);
}

#[test]
fn how_much_is_kept_is_said_in_the_file_in_either_way() {
    for logging in [
        "{ max-size: 1m, max-file: 2 }",
        "{ driver: json-file, options: { max-size: '1m', max-file: '2' } }",
    ] {
        let stack = TestStack::new(&format!(
            "services: {{ it: {{ command: MISBEHAVE spam 5000000, logging: {logging} }} }}"
        ));
        stack.run(&["up", "-d"]).ok();
        stack.wait_for("it", "it has ended", |it| it.phase() == "completed");
        let files = stack.log_files("it");
        assert_eq!(files.len(), 2, "{logging}");
        assert!(
            files.iter().all(|file| file.len() as u64 <= MIB),
            "{logging}"
        );
        assert_in_sequence(&numbers(&files.concat()), 49_999);
    }
}

#[test]
fn a_follower_sees_every_line_of_one_file_after_another() {
    let stack = TestStack::new(
        "services: { it: { command: 'MISBEHAVE wait-file go; MISBEHAVE spam 30000000', logging: { max-size: 1m, max-file: 200 } } }",
    );
    stack.run(&["up", "-d"]).ok();
    let follower = stack.start(&["logs", "-f", "--no-log-prefix"]);
    stack.write("go", "");
    let output = follower.wait().ok();
    assert_in_sequence(&numbers(output.stdout.as_bytes()), 299_999);
    let expected: Vec<u8> = spam(30_000_000).flatten().collect();
    assert!(output.stdout.as_bytes() == expected);
}

#[test]
fn a_terminal_that_stands_still_misses_nothing_of_a_service_that_does_not() {
    let stack = TestStack::new(
        "services: { it: { command: MISBEHAVE spam 50000000, logging: { max-size: 1m, max-file: 2 } } }",
    );
    mkfifo(&stack.path("go"), Mode::S_IRWXU).expect("it is new");
    let mut command = std::process::Command::new("sh");
    stack.world().prepare(&mut command);
    command
        .args([
            "-c",
            "\"$0\" up --no-log-prefix --progress quiet | (read go < go; cat)",
        ])
        .arg(binary())
        .current_dir(stack.path(""));
    let up = Up::start(stack.world(), command);
    // The service is not held up, and what nobody has read is kept for the one who began to.
    stack.wait_for("it", "it has ended", |it| it.phase() == "completed");
    fs::write(stack.path("go"), "\n").expect("somebody reads it");
    let output = up.wait().ok();
    assert_in_sequence(&numbers(output.stdout.as_bytes()), 499_999);
    assert_eq!(output.stdout.len(), 50_000_000);
    // The next run keeps no more than it should.
    assert!(stack.log_files("it").len() > 2);
    stack.run(&["up", "-d"]).ok();
    stack.wait_for("it", "it has ended", |it| it.phase() == "completed");
    assert_eq!(stack.log_files("it").len(), 2);
}

#[test]
fn a_reader_that_does_not_follow_ends_though_the_flood_does_not() {
    let stack = TestStack::new(
        "services: { it: { command: MISBEHAVE spam 100000000000000, logging: { max-size: 256k, max-file: 3 } } }",
    );
    stack.run(&["up", "-d"]).ok();
    stack.wait_for_log("it", "fox");
    let output = stack.run(&["logs", "--no-log-prefix"]).ok();
    let shown = numbers(output.stdout.as_bytes());
    assert!(!shown.is_empty());
    // What is not there is said to be missing.
    let gaps = shown.windows(2).map(|pair| (pair[1] - pair[0] - 1) * 100);
    let missing = output.stderr.lines().map(|line| {
        let bytes = line
            .strip_prefix("warning: ")
            .and_then(|it| it.split_once(" bytes of it"));
        bytes.map_or(0, |(bytes, _)| bytes.parse().expect("a number"))
    });
    let (gaps, missing): (usize, usize) = (gaps.sum(), missing.sum());
    // The last of it may have been gone before the end that was aimed at.
    assert!(missing >= gaps, "{gaps}: {}", output.stderr);
    stack.down();
}

#[test]
fn what_the_supervisor_says_of_itself_stays_small_too() {
    let stack = TestStack::new("services: { it: { command: sleep 100 } }");
    let path = stack.path(".stack/shop/supervisor.log");
    let aside = stack.path(".stack/shop/supervisor.log.1");
    fs::create_dir_all(stack.path(".stack/shop")).expect("it is ours");
    let old = "old\n".repeat(3_000_000);
    fs::write(&path, &old).expect("it is ours");
    stack.run(&["up", "-d"]).ok();
    assert_eq!(fs::read_to_string(&aside).expect("it was kept"), old);
    // While it runs, with what it says next.
    fs::write(&path, old.replace("old", "new")).expect("it is ours");
    stack.own_process("guardian_pid").signal(Signal::SIGUSR1);
    wait_until("the log is set aside", || {
        let kept = fs::read_to_string(&aside).ok()?;
        let is_small = fs::metadata(&path).ok()?.len() < MIB;
        (kept.starts_with("new") && is_small).then_some(())
    });
    stack.down();
}
