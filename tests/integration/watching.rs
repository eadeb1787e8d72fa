//! Files that change, with real processes: `up --watch` and `stack watch`.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::{Process, TestStack, Up, wait_until};

pub(crate) const STACK: &str = "
services:
  web:
    command: MISBEHAVE sleep
    watch: [src]
  db: { command: MISBEHAVE sleep }
";

/// A project with a directory `src`.
pub(crate) fn project(yaml: &str) -> TestStack {
    let stack = TestStack::new(yaml);
    make(&stack, "src");
    stack.write("src/app", "1");
    stack
}

#[track_caller]
pub(crate) fn make(stack: &TestStack, dir: &str) {
    fs_err::create_dir_all(stack.path(dir)).expect("the directory is ours");
}

/// `up --watch` once it watches.
#[track_caller]
pub(crate) fn watched(stack: &TestStack) -> Up {
    let mut up = stack.start(&["up", "--watch"]);
    up.wait_for_line("watching files for");
    up
}

#[track_caller]
pub(crate) fn pid(stack: &TestStack, service: &str) -> i32 {
    wait_until("a process", || stack.service(service)?.pid())
}

/// Waits until a service has another process.
#[track_caller]
pub(crate) fn wait_for_another(stack: &TestStack, service: &str, before: i32) -> i32 {
    wait_until("another process", || {
        stack.service(service)?.pid().filter(|&pid| pid != before)
    })
}

pub(crate) fn says(up: &Up, part: &str) -> usize {
    up.stderr().matches(part).count()
}

#[track_caller]
pub(crate) fn end(up: Up) {
    up.signal(Signal::SIGINT);
    up.wait().expect(130);
}

#[test]
fn a_change_restarts_its_service_and_a_burst_does_once() {
    let stack = project(STACK);
    let mut up = watched(&stack);
    let (before, db) = (pid(&stack, "web"), pid(&stack, "db"));
    stack.write("src/app", "2");
    up.wait_for_line("`src/app` changed; restarting web");
    let second = wait_for_another(&stack, "web", before);
    // As editors save: beside it, then under its name.
    stack.write("src/4913", "");
    stack.write("src/.app.swp", "");
    stack.write("src/new~", "3");
    fs_err::rename(stack.path("src/new~"), stack.path("src/app")).expect("both are ours");
    let third = wait_for_another(&stack, "web", second);
    assert_eq!(says(&up, "`src/app` changed"), 2, "{}", up.stderr());
    for at in 0..20 {
        stack.write(&format!("src/file{at}"), "x");
    }
    up.wait_for_line("`src/file0` and 19 more changed; restarting web");
    wait_for_another(&stack, "web", third);
    assert_eq!(says(&up, "restarting web"), 3, "{}", up.stderr());
    assert_eq!(pid(&stack, "db"), db);
    end(up);
}

#[test]
fn own_files_and_what_git_ignores_are_no_changes() {
    let yaml = STACK.replace("[src]", "[{path: ., ignore: [docs/], action: restart}]");
    let stack = project(&yaml);
    stack.write(".gitignore", "*.log\n");
    make(&stack, ".git");
    make(&stack, "docs");
    let mut up = watched(&stack);
    pid(&stack, "web");
    for file in [
        ".git/HEAD",
        ".env",
        "docs/a.md",
        "a.log",
        "src/b.log",
        ".stack/x",
    ] {
        stack.write(file, "never");
    }
    stack.write("src/app", "2");
    let line = up.wait_for_line("changed; restarting web");
    assert!(line.contains("`src/app` changed;"), "{line}");
    assert_eq!(says(&up, "changed;"), 1);
    end(up);
}

#[test]
fn a_rebuild_runs_in_the_environment_of_its_service_and_a_failure_leaves_it_alone() {
    let yaml = "
services:
  web:
    command: MISBEHAVE sleep
    environment: { MODE: fast }
    watch:
      - path: src
        action: rebuild
        command: 'echo building $MODE $STACK_SERVICE; echo done > built; test ! -e broken'
";
    let stack = project(yaml);
    let mut up = watched(&stack);
    let before = pid(&stack, "web");
    stack.write("src/app", "2");
    up.wait_for_line("`src/app` changed");
    // The marks are those of what the supervisor runs.
    up.wait_for_line("web | building fast");
    assert_eq!(says(&up, "building fast web"), 0);
    let after = wait_for_another(&stack, "web", before);
    assert_eq!(stack.read("built"), "done\n");
    stack.write("broken", "");
    stack.write("src/app", "3");
    up.wait_for_line("error: web: the command ended with exit status: 1; it was not restarted");
    assert_eq!(pid(&stack, "web"), after);
    end(up);
}

#[test]
fn what_changes_during_a_rebuild_is_built_once_more_and_never_beside_it() {
    let yaml = "
services:
  web:
    command: MISBEHAVE sleep
    watch: [{ path: src, command: 'echo begin >> built; while test ! -e go; do sleep 0.05; done; echo end >> built' }]
";
    let stack = project(yaml);
    let mut up = watched(&stack);
    let before = pid(&stack, "web");
    stack.write("src/app", "2");
    up.wait_for_line("running `echo begin");
    for text in ["3", "4"] {
        stack.write("src/app", text);
    }
    stack.write("go", "");
    wait_until("both builds", || {
        let built = fs_err::read_to_string(stack.path("built")).ok()?;
        (built == "begin\nend\nbegin\nend\n").then_some(())
    });
    wait_for_another(&stack, "web", before);
    end(up);
    assert_eq!(stack.read("built"), "begin\nend\nbegin\nend\n");
}

#[test]
fn a_rebuild_ends_with_whoever_has_begun_it() {
    let yaml = "
services:
  web:
    command: MISBEHAVE sleep
    watch: [{ path: src, command: 'echo $$ > builder; sleep 200; true' }]
";
    let stack = project(yaml);
    let up = watched(&stack);
    pid(&stack, "web");
    stack.write("src/app", "2");
    let builder = wait_until("a command", || {
        let pid = fs_err::read_to_string(stack.path("builder")).ok()?;
        pid.trim().parse().ok()
    });
    assert!(Process::of(builder).is_some());
    end(up);
    wait_until("its end", || {
        Process::of(builder)
            .is_none_or(|it| !it.is_alive())
            .then_some(())
    });
}

#[test]
fn a_signal_is_sent_and_nothing_restarts() {
    let yaml = r#"
services:
  web:
    command: 'trap "echo got it > heard" HUP; echo ready; while :; do sleep 0.05; done'
    watch: [{ path: src, action: signal, signal: HUP }]
"#;
    let stack = project(yaml);
    let mut up = watched(&stack);
    stack.wait_for_log("web", "ready");
    let before = pid(&stack, "web");
    stack.write("src/app", "2");
    up.wait_for_line("`src/app` changed; sending SIGHUP to web");
    stack.wait_for_file("heard");
    assert_eq!(pid(&stack, "web"), before);
    end(up);
}

#[test]
fn a_service_that_writes_what_it_watches_is_slowed_down() {
    let yaml = "
services:
  web: { command: 'date +%N > src/started; exec sleep 200', watch: [src] }
";
    let stack = project(yaml);
    let mut up = watched(&stack);
    stack.write("src/app", "2");
    up.wait_for_line("`src/started` keeps changing; waiting for a second without changes");
    assert_eq!(says(&up, "restarting web"), 5, "{}", up.stderr());
    end(up);
}

#[test]
fn what_somebody_has_stopped_stays_so() {
    let stack = project(STACK);
    let mut up = watched(&stack);
    pid(&stack, "web");
    stack.run(&["stop", "web"]).ok();
    stack.write("src/app", "2");
    // Nothing says that nothing happens.
    std::thread::sleep(Duration::from_millis(300));
    stack.run(&["start", "web"]).ok();
    let started = pid(&stack, "web");
    stack.write("src/app", "3");
    up.wait_for_line("restarting web");
    wait_for_another(&stack, "web", started);
    assert_eq!(says(&up, "restarting web"), 1, "{}", up.stderr());
    end(up);
}

#[test]
fn watch_starts_the_stack_and_leaves_it_running() {
    let stack = project(STACK);
    stack.run(&["watch", "--no-up"]).expect(4);
    let mut watch = stack.start(&["watch"]);
    watch.wait_for_line("watching files for web");
    let before = pid(&stack, "web");
    stack.write("src/app", "2");
    watch.wait_for_line("`src/app` changed; restarting web");
    wait_for_another(&stack, "web", before);
    end(watch);
    pid(&stack, "web");
    let mut watch = stack.start(&["watch", "--no-up", "web"]);
    watch.wait_for_line("watching files for web");
    stack.down();
    watch.wait_for_line("the stack has ended");
    watch.wait().ok();
}

#[test]
fn who_watches_nothing_is_told_how() {
    let stack = project("services: { web: { command: MISBEHAVE sleep } }");
    let output = stack.run(&["watch"]).expect(2);
    output.says(&["no service says what to watch", "watch: [{path: src"]);
    // Before anything is started.
    stack.run(&["restart"]).expect(4);
    stack.write_yaml(STACK);
    let output = stack.run(&["watch", "web", "db"]).expect(2);
    output.says(&["`db` has no `watch`"]);
    stack.run(&["restart"]).expect(4);
    stack.write_yaml("services: { web: { command: MISBEHAVE sleep } }");
    let mut up = stack.start(&["up", "--watch"]);
    up.wait_for_line("no service says what to watch");
    end(up);
}

/// What is measured here is printed, and held to a limit that a busy machine keeps.
#[test]
fn a_hundred_thousand_files_cost_nothing_while_nothing_changes() {
    let stack = project(STACK);
    for dir in 0..200 {
        make(&stack, &format!("src/d{dir}"));
        for file in 0..500 {
            stack.write(&format!("src/d{dir}/f{file}"), "");
        }
    }
    let up = watched(&stack);
    let before = pid(&stack, "web");
    let used = || {
        let stat = fs_err::read_to_string(format!("/proc/{}/stat", up.pid())).expect("it runs");
        let fields = stat
            .rsplit(") ")
            .next()
            .into_iter()
            .flat_map(|rest| rest.split(' '));
        let times = fields.skip(11).take(2);
        times
            .filter_map(|time| time.parse::<u64>().ok())
            .sum::<u64>()
    };
    // Whatever was printed is printed.
    std::thread::sleep(Duration::from_millis(500));
    let ticks = used();
    std::thread::sleep(Duration::from_secs(2));
    assert!(used() <= ticks + 1, "{} ticks", used() - ticks);
    // Reading is no change, and not seen at all.
    for file in 0..500 {
        stack.read(&format!("src/d7/f{file}"));
    }
    let mode = std::fs::Permissions::from_mode(0o600);
    fs_err::set_permissions(stack.path("src/d7/f7"), mode).expect("it is ours");
    assert!(used() <= ticks + 1);
    let saved = Instant::now();
    stack.write("src/d199/f499", "x");
    wait_for_another(&stack, "web", before);
    assert!(saved.elapsed() < Duration::from_secs(2));
    end(up);
}

#[test]
fn a_stack_that_ends_at_once_ends_the_watching_without_a_word() {
    let stack = project("services: { job: { command: 'true', watch: [src] } }");
    let output = stack.run(&["up", "--watch"]).ok();
    assert!(!output.stderr.contains("error"), "{output}");
}
