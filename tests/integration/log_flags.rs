//! What `stack logs` can be asked for.

use crate::harness::TestStack;

/// What is shown, without names.
fn shown(stack: &TestStack, arguments: &[&str]) -> Vec<String> {
    let arguments = [&["logs", "--no-log-prefix"], arguments].concat();
    let output = stack.run(&arguments).ok();
    output.stdout.lines().map(str::to_owned).collect()
}

/// Runs a stack to its end.
fn run(stack: &TestStack) {
    stack.run(&["up", "--progress", "quiet"]).ok();
}

#[test]
fn a_pattern_leaves_the_lines_that_match_and_n_the_last_of_them() {
    let stack = TestStack::new(
        "services: { a: { command: 'seq 1 100' }, b: { command: 'seq 101 200 >&2' } }",
    );
    run(&stack);
    let sorted = |arguments: &[&str]| {
        let mut lines = shown(&stack, arguments);
        lines.sort();
        lines
    };
    assert_eq!(sorted(&["--grep", "^.?9$", "a"]).len(), 10);
    assert_eq!(
        sorted(&["--grep", "9$", "-n", "2"]),
        ["189", "199", "89", "99"]
    );
    assert_eq!(sorted(&["--grep", "(?i)NOTHING"]), [""; 0]);
    assert_eq!(sorted(&["--stream", "stderr", "-n", "2"]), ["199", "200"]);
    assert_eq!(sorted(&["--stream", "stdout", "b"]), [""; 0]);
    stack
        .run(&["logs", "--grep", "a("])
        .expect(2)
        .says(&["unclosed group"]);
}

#[test]
fn a_time_leaves_what_was_printed_in_it_in_whatever_run() {
    let stack = TestStack::new("services: { a: { command: cat n }, b: { command: cat m } }");
    // Both as `stack` sees it: the time before a run is not that of its first line.
    let now = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let since = since.expect("it is later than 1970");
        format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
    };
    let mut times = vec![now()];
    for round in ["one", "two", "three"] {
        stack.write("n", &format!("a {round}\n"));
        stack.write("m", &format!("b {round}\n"));
        run(&stack);
        times.push(now());
    }
    let rounds = |arguments: &[&str]| {
        let mut lines = shown(&stack, arguments);
        // The order of two services that print at once is that of their time.
        lines.chunks_mut(2).for_each(<[String]>::sort);
        lines
    };
    let one = ["a one", "b one"];
    let two = ["a two", "b two"];
    let three = ["a three", "b three"];
    assert_eq!(rounds(&[]), three);
    assert_eq!(rounds(&["--since", &times[1]]), [two, three].concat());
    assert_eq!(rounds(&["--until", &times[2]]), [one, two].concat());
    assert_eq!(rounds(&["--since", &times[1], "--until", &times[2]]), two);
    assert_eq!(rounds(&["--since", "10m"]), [one, two, three].concat());
    assert_eq!(
        rounds(&["--since", "2000-01-01T00:00:00Z", "-n", "1"]),
        three
    );
    assert_eq!(rounds(&["--since", "0", "--until", "10m"]), [""; 0]);
    stack
        .run(&["logs", "--since", "soon"])
        .expect(2)
        .says(&["10m"]);
}

#[test]
fn who_follows_gets_only_what_matches_until_a_time() {
    let stack = TestStack::new(
        "services: { a: { command: 'echo early error; MISBEHAVE wait-file go; echo fine; echo an error; sleep 100' } }",
    );
    stack.run(&["up", "-d"]).ok();
    stack.wait_for_log("a", "early");
    let mut follower = stack.start(&["logs", "-f", "--grep", "error$"]);
    follower.wait_for_line("early error");
    stack.write("go", "");
    follower.wait_for_line("an error");
    // A time that has passed ends it at once.
    let output = stack.run(&["logs", "-f", "--until", "0s"]).ok();
    assert!(output.stdout.contains("fine"), "{output}");
    stack.down();
    let output = follower.wait().ok();
    assert_eq!(output.stdout.lines().count(), 2, "{output}");
}

#[test]
fn one_replica_is_shown_by_its_name() {
    let stack = TestStack::new(
        "services: { web: { command: 'echo of $<replica>', replicas: 2 }, db: { command: echo of db } }",
    );
    run(&stack);
    assert_eq!(shown(&stack, &["web-2"]), ["of 2"]);
    let mut both = shown(&stack, &["web-1", "db"]);
    both.sort();
    assert_eq!(both, ["of 1", "of db"]);
    stack.run(&["logs", "web-3"]).expect(2).says(&["web-3"]);
}

#[test]
fn no_colour_is_used_where_none_is_wanted() {
    let stack = TestStack::new("services: { a: { command: echo plain } }");
    run(&stack);
    let said = |arguments: &[&str]| stack.run(arguments).ok().stdout;
    assert!(said(&["--color", "always", "logs"]).contains('\u{1b}'));
    assert!(!said(&["--color", "always", "logs", "--no-color"]).contains('\u{1b}'));
}

#[test]
fn logs_are_removed_while_the_stack_runs_and_after_it() {
    let stack = TestStack::new(
        "services: { a: { command: 'echo before; MISBEHAVE wait-file go; echo after; sleep 100' }, b: { command: echo of b } }",
    );
    stack.run(&["up", "-d"]).ok();
    stack.wait_for_log("a", "before");
    stack.wait_for_log("b", "of b");
    let mut follower = stack.start(&["logs", "-f", "a"]);
    follower.wait_for_line("before");
    stack.run(&["logs", "--clear", "a"]).ok();
    assert_eq!(stack.log("a"), b"");
    assert_eq!(shown(&stack, &[]), ["of b"]);
    stack.write("go", "");
    follower.wait_for_line("after");
    stack.wait_for_log("a", "after");
    stack.down();
    let output = follower.wait().ok();
    assert!(!output.stderr.contains("missing"), "{output}");
    assert_eq!(shown(&stack, &["a"]), ["after"]);
    stack.run(&["logs", "--clear"]).ok();
    assert_eq!(
        fs_err::read_dir(stack.path(".stack/shop/logs"))
            .expect("it is there")
            .count(),
        0
    );
    stack.run(&["logs", "--clear", "nobody"]).expect(2);
}

#[test]
fn a_time_before_which_nothing_can_be_is_a_mistake() {
    let stack = TestStack::new("services: { it: { command: echo hello } }");
    stack.run(&["up", "-d"]).ok();
    let output = stack
        .run(&["logs", "--since", "1m", "--until", "5m"])
        .expect(2);
    output.says(&["`--since` is later than `--until`"]);
}
