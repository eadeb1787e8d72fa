//! Watching files beside what else happens: another `up`, another who watches, another user, branches.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, Instant};

use crate::harness::{TestStack, Up, lacks, require, wait_until};
use crate::process_keys::as_nobody;
use crate::watching::{STACK, end, make, pid, project, says, wait_for_another, watched};

#[test]
fn a_path_that_goes_comes_back_or_leads_elsewhere_is_still_watched() {
    let stack = project(&STACK.replace("[src]", "[pkg/src, current, app.conf]"));
    for release in ["1", "2"] {
        make(&stack, &format!("releases/{release}"));
    }
    symlink("releases/1", stack.path("current")).expect("it is ours");
    symlink("releases/1/conf", stack.path("app.conf")).expect("it is ours");
    let mut up = watched(&stack);
    assert_eq!(
        says(&up, "`pkg/src` does not exist yet"),
        1,
        "{}",
        up.stderr()
    );
    let mut before = pid(&stack, "web");
    let mut expect = |file: &str, line: &str| {
        stack.write(file, "x");
        up.wait_for_line(line);
        before = wait_for_another(&stack, "web", before);
    };
    for _ in 0..2 {
        make(&stack, "pkg/src");
        expect("pkg/src/a", "`pkg/src/a` changed; restarting web");
        fs_err::remove_dir_all(stack.path("pkg")).expect("it is ours");
        expect("src/other", "`pkg/src");
    }
    expect("releases/1/conf", "`app.conf` and 1 more changed");
    symlink("releases/2", stack.path("new")).expect("it is ours");
    fs_err::rename(stack.path("new"), stack.path("current")).expect("both are ours");
    expect("releases/2/b", "`current` and 1 more changed");
    expect("releases/2/c", "`current/c` changed; restarting web");
    end(up);
}

#[test]
fn another_up_changes_what_is_watched() {
    let stack = project(STACK);
    make(&stack, "lib");
    let mut up = watched(&stack);
    let before = pid(&stack, "web");
    stack.write_yaml(&STACK.replace("[src]", "[lib]"));
    stack.write("src/app", "2");
    // What is in the file and nobody has taken over is not in force.
    let after = wait_for_another(&stack, "web", before);
    let output = stack.run(&["up", "-d"]).ok();
    output.says(&["`web`: watch changed; not restarted"]);
    let watching = || says(&up, "watching files for web") == 2;
    wait_until("the watching of another path", || watching().then_some(()));
    stack.write("src/app", "3");
    stack.write("lib/new", "1");
    up.wait_for_line("`lib/new` changed; restarting web");
    wait_for_another(&stack, "web", after);
    // Somebody else's files, and nobody's.
    let other = STACK.replace("    watch: [src]\n", "");
    stack.write_yaml(&other.replace("sleep }", "sleep, watch: [src] }"));
    stack.run(&["up", "-d"]).ok();
    up.wait_for_line("watching files for db");
    stack.write("lib/new", "2");
    stack.write("src/app", "4");
    up.wait_for_line("`src/app` changed; restarting db");
    stack.write_yaml(&other);
    stack.run(&["up", "-d"]).ok();
    up.wait_for_line("no service says what to watch");
    assert_eq!(says(&up, "restarting web"), 2, "{}", up.stderr());
    end(up);
}

#[test]
fn what_nobody_watched_at_first_is_watched_once_the_file_says_so() {
    let stack = project(&STACK.replace("    watch: [src]\n", ""));
    let mut up = stack.start(&["up", "--watch"]);
    up.wait_for_line("no service says what to watch");
    stack.write_yaml(STACK);
    stack.run(&["up", "-d"]).ok();
    up.wait_for_line("watching files for web");
    stack.write("src/app", "2");
    up.wait_for_line("`src/app` changed; restarting web");
    end(up);
}

#[test]
fn whoever_watches_what_somebody_watches_is_told() {
    let stack = project(&STACK.replace("sleep }", "sleep, watch: [src] }"));
    let up = watched(&stack);
    let mut watch = stack.start(&["watch", "--no-up", "web"]);
    watch.wait_for_line("another `stack` also watches the files of web");
    watch.wait_for_line("watching files for web");
    end(watch);
    assert_eq!(says(&up, "another `stack`"), 0, "{}", up.stderr());
    end(up);
    let mut watch = stack.start(&["watch"]);
    watch.wait_for_line("watching files for web, db");
    assert_eq!(says(&watch, "another `stack`"), 0, "{}", watch.stderr());
    end(watch);
    stack.down();
}

#[test]
fn a_path_that_is_never_watched_is_told() {
    let stack = project(&STACK.replace("[src]", "[src, .env]"));
    let up = watched(&stack);
    let told = "web: `.env` is never watched: `stack` writes it itself";
    assert_eq!(says(&up, told), 1, "{}", up.stderr());
    end(up);
}

#[test]
fn a_directory_that_cannot_be_looked_into_is_told() {
    if !(nix::unistd::geteuid().is_root() || lacks("root")) || !require("setpriv") {
        return;
    }
    let stack = project(STACK);
    make(&stack, "src/closed");
    let state = stack.world().state_dir();
    fs_err::create_dir_all(&state).expect("it is ours");
    for (path, mode) in [
        (stack.path("src/closed"), 0o700),
        (stack.path(""), 0o777),
        (state, 0o777),
    ] {
        let mode = std::fs::Permissions::from_mode(mode);
        fs_err::set_permissions(path, mode).expect("it is ours");
    }
    let command = as_nobody(&stack, &["up", "--watch"]);
    let mut up = Up::start(stack.world(), command);
    up.wait_for_line("warning: `src/closed` is not watched: permission denied");
    up.wait_for_line("watching files for web");
    end(up);
}

#[test]
fn a_rebuild_has_the_rights_of_its_service() {
    if !(nix::unistd::geteuid().is_root() || lacks("root")) {
        return;
    }
    let yaml = "
services:
  web:
    command: MISBEHAVE sleep
    user: nobody
    umask: 027
    watch: [{ path: src, command: 'echo it is $(id -un), $(umask), $USER; exit 3' }]
";
    let stack = project(yaml);
    let mut up = watched(&stack);
    pid(&stack, "web");
    stack.write("src/app", "2");
    up.wait_for_line("web | it is nobody, 0027, nobody");
    up.wait_for_line("the command ended with exit status: 3");
    end(up);
}

#[test]
fn who_is_attached_is_taken_over_while_it_is_shown() {
    let yaml = "
services:
  it: { command: 'while :; do echo line; sleep 0.02; done' }
";
    let stack = TestStack::new(yaml);
    let mut up = stack.start(&["up"]);
    up.wait_for_line("line");
    stack.write_yaml(&yaml.replace("done'", "done', attach: false"));
    let output = stack.run(&["up", "-d"]).ok();
    output.says(&["`it`: attach changed; not restarted"]);
    up.wait_for_line("applied the changed file");
    let shown = || up.stdout().matches("line").count();
    let quiet = || {
        let before = shown();
        std::thread::sleep(std::time::Duration::from_millis(300));
        (shown() == before).then_some(before)
    };
    let before = wait_until("quiet", quiet);
    stack.write_yaml(yaml);
    stack.run(&["up", "-d"]).ok();
    wait_until("output again", || (shown() > before).then_some(()));
    end(up);
}

#[test]
fn a_file_of_several_services_that_is_saved_without_a_change_restarts_each_at_once() {
    let yaml = "
services:
  a: { command: MISBEHAVE sleep, env_file: all.env, watch: [all.env] }
  b: { command: MISBEHAVE sleep, env_file: all.env, watch: [all.env] }
  c: { command: MISBEHAVE sleep, env_file: all.env, watch: [all.env] }
  d: { command: MISBEHAVE sleep }
";
    let stack = project(yaml);
    stack.write("all.env", "MODE=one\n");
    let mut up = watched(&stack);
    let pids = || ["a", "b", "c", "d"].map(|service| pid(&stack, service));
    let restarted = |before: [i32; 4]| {
        let saved = Instant::now();
        stack.write("all.env", "MODE=one\n");
        for (service, before) in ["a", "b", "c"].into_iter().zip(before) {
            wait_for_another(&stack, service, before);
        }
        assert_eq!(pid(&stack, "d"), before[3]);
        saved.elapsed()
    };
    // Each waits a proposal's time for the one before where they do not become others together.
    let took = restarted(pids());
    assert!(took < Duration::from_secs(3), "{took:?}");
    // What has changed of another service, and nobody has applied, is not applied by that.
    stack.write_yaml(&yaml.replace("d: { ", "d: { environment: { X: y }, "));
    restarted(pids());
    assert_eq!(says(&up, "applied the changed file"), 0, "{}", up.stderr());
    up.wait_for_line("restarting c");
    end(up);
}

#[test]
fn a_restart_for_what_a_service_is_given_gives_it_what_there_is_now() {
    let yaml = "
configs: { c: { file: app.conf } }
secrets: { s: { file: token } }
services:
  web:
    command: 'cat $<configs.c> $<secrets.s>; echo $MODE; exec sleep 200'
    env_file: web.env
    watch: [app.conf, token, { path: web.env, action: signal, signal: HUP }, src]
  db: { command: MISBEHAVE sleep }
";
    let stack = project(yaml);
    stack.write("app.conf", "first ");
    stack.write("token", "one");
    stack.write("web.env", "MODE=slow\n");
    let mut up = watched(&stack);
    stack.wait_for_log("web", "first oneslow");
    let db = pid(&stack, "db");
    stack.write("app.conf", "second ");
    up.wait_for_line("`app.conf` changed; restarting web");
    stack.wait_for_log("web", "second oneslow");
    stack.write("token", "two");
    stack.wait_for_log("web", "second twoslow");
    // It has it from its start alone.
    stack.write("web.env", "MODE=fast\n");
    up.wait_for_line("`web.env` changed; restarting web");
    stack.wait_for_log("web", "second twofast");
    let before = pid(&stack, "web");
    // Saved without a change.
    stack.write("token", "two");
    let before = wait_for_another(&stack, "web", before);
    fs_err::remove_file(stack.path("app.conf")).expect("it is ours");
    up.wait_for_line("error: web was not restarted: the changed file cannot be applied");
    assert_eq!(pid(&stack, "web"), before);
    stack.write("app.conf", "third ");
    stack.wait_for_log("web", "third twofast");
    assert_eq!(pid(&stack, "db"), db);
    end(up);
}
