//! Directories and stacks that belong to other users of the machine; and what an ordinary one can do.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::Command;

use fs_err as fs;
use nix::sys::signal::Signal;
use nix::unistd::geteuid;

use super::leftovers::lease_heading;
use crate::harness::{Output, Process, TestStack, Up, World, binary, lacks, misbehave};

const ONE: &str = "services: { it: { command: sleep 1000 } }";

/// A project that everybody may write to, and how `nobody` calls `stack` in it.
struct Shared {
    stack: TestStack,
    home: std::path::PathBuf,
}

impl Shared {
    /// `None` where nobody can be somebody else.
    fn new() -> Option<Self> {
        if !geteuid().is_root() {
            lacks("root, who can be somebody else");
            return None;
        }
        let world = World::new();
        let stack = TestStack::in_world(&world, "shared", ONE);
        let bin = world.path().join("bin");
        fs::create_dir(&bin).expect("it is new");
        fs::copy(binary(), bin.join("stack")).expect("there is room");
        let home = world.path().join("home");
        fs::create_dir(&home).expect("it is new");
        chown(&home, Some(65534), Some(65534)).expect("root may");
        for (path, mode) in [
            (world.path().to_path_buf(), 0o755),
            (world.path().join("tmp"), 0o1777),
            (stack.path(""), 0o777),
        ] {
            fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("root may");
        }
        Some(Self { stack, home })
    }

    fn as_nobody(&self, arguments: &[&str], home: Option<&str>) -> Output {
        Up::start(self.stack.world(), self.command(arguments, home)).wait()
    }

    fn command(&self, arguments: &[&str], home: Option<&str>) -> Command {
        let inner = self.stack.command(arguments);
        let mut command = Command::new(misbehave());
        command
            .args(["as-nobody", "--"])
            .arg(self.stack.world().path().join("bin/stack"))
            .args(arguments)
            .current_dir(self.stack.path(""));
        for (key, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        command.env_remove("XDG_STATE_HOME");
        match home {
            Some(home) => command.env("HOME", home),
            None => command.env_remove("HOME"),
        };
        command
    }

    fn nobody(&self, arguments: &[&str]) -> Output {
        self.as_nobody(arguments, self.home.to_str())
    }
}

#[test]
fn a_stack_of_another_user_is_named_and_not_started_again() {
    let Some(shared) = Shared::new() else { return };
    shared.stack.run(&["up", "-d"]).ok();
    let message = "a stack of root runs in this directory; only root can see and stop it";
    for (arguments, code) in [
        (&["ps"][..], 5),
        (&["logs"], 5),
        (&["stop"], 5),
        (&["down"], 1),
        (&["up", "-d"], 3),
    ] {
        shared.nobody(arguments).expect(code).says(&[message]);
    }
    let output = shared.nobody(&[]).ok();
    assert!(output.stdout.contains(message), "{output}");
    // Its end is none of his business, but its files are in his way.
    shared.stack.down();
    shared.nobody(&["up", "-d"]).ok().says(&[
        "`.stack` belongs to root",
        "home/.local/state/stack/instances",
    ]);
    shared.nobody(&["ps"]).ok();
    shared.nobody(&["down"]).ok().says(&["stopped everything"]);
}

#[test]
fn root_sees_and_stops_what_a_user_runs() {
    let Some(shared) = Shared::new() else { return };
    shared.nobody(&["up", "-d"]).ok();
    let output = shared.stack.run(&["ps"]).ok();
    assert!(output.stdout.contains("running"), "{output}");
    shared.stack.down();
}

#[test]
fn the_leases_of_a_user_name_nothing_of_roots() {
    let Some(shared) = Shared::new() else { return };
    let stack = &shared.stack;
    shared.nobody(&["up", "-d"]).ok();
    shared.nobody(&["down"]).ok();
    let mut foreign = stack.helper(&["ignore-term"]);
    foreign.wait_for_line("deaf");
    let pid = foreign.pid();
    let started = Process::of(pid).expect("it runs").started();
    let lease = format!("{pid:>10} {started:>14} {started:>14} it@1");
    let lease = format!("{}\n{lease}\n", lease_heading(pid));
    let leases_of = |user: u32| {
        let path = ".stack/shop/leases";
        stack.write(path, &lease);
        chown(stack.path(path), Some(user), Some(user)).expect("root may");
        stack.run(&["down"]).ok();
    };
    leases_of(65534);
    assert!(!foreign.has_ended());
    assert!(!foreign.stdout().contains("heard"), "{}", foreign.stdout());
    // In one of root's the same line counts.
    leases_of(0);
    assert!(foreign.has_ended());
}

/// A tree of each kind.
const TREE: &str = "
services:
  polite: { command: MISBEHAVE record TERM clean, stop_grace_period: 1s }
  deaf: { command: MISBEHAVE ignore-term, stop_grace_period: 1s }
  daemon: { command: MISBEHAVE double-fork --stay --deaf, stop_grace_period: 1s }
  session: { command: MISBEHAVE gc-setsid --deaf, stop_grace_period: 1s }
  tree: { command: MISBEHAVE fork-tree 20 --refork, stop_grace_period: 1s }
";

#[test]
fn no_privilege_is_needed_to_leave_nothing() {
    let Some(shared) = Shared::new() else { return };
    let stack = &shared.stack;
    let helper = stack.world().path().join("bin/misbehave");
    fs::copy(misbehave(), &helper).expect("there is room");
    stack.write_yaml(&TREE.replace("MISBEHAVE", &helper.display().to_string()));
    for is_killed in [false, true] {
        shared.nobody(&["up", "-d"]).ok();
        for (service, says) in [
            ("polite", "recording"),
            ("deaf", "deaf"),
            ("daemon", "deaf"),
            ("session", "deaf"),
            ("tree", "the tree stands"),
        ] {
            stack.wait_for_log(service, says);
        }
        stack.world().processes();
        let supervisor = stack.own_process("supervisor_pid");
        if is_killed {
            supervisor.signal(Signal::SIGKILL);
        } else {
            shared.nobody(&["down"]).ok();
        }
        stack.world().wait_until_nothing_is_left();
        fs::remove_dir_all(stack.path(".stack/shop/logs")).expect("root may");
    }
    assert_eq!(stack.read("clean"), "SIGTERM\nSIGTERM\n");
}

#[test]
fn a_directory_that_somebody_else_has_made_is_not_used() {
    let Some(shared) = Shared::new() else { return };
    let temp = shared.stack.world().path().join("tmp");
    // Where he has no home, nor one in the user database: the name can be foreseen.
    let state = temp.join("stack-state-65534");
    fs::create_dir(&state).expect("it is new");
    shared
        .as_nobody(&["ps"], None)
        .expect(1)
        .says(&["stack-state-65534` belongs to somebody else", "set HOME"]);
    // For a socket another name is found, and goes with it.
    let deep = shared.stack.path(&"deep/".repeat(20));
    fs::create_dir_all(&deep).expect("it is new");
    fs::set_permissions(&deep, PermissionsExt::from_mode(0o777)).expect("root may");
    fs::write(deep.join("stack.yaml"), ONE).expect("root may");
    let sockets = temp.join("stack-65534");
    fs::create_dir(&sockets).expect("it is new");
    let file = deep.join("stack.yaml").display().to_string();
    let run = |verb: &[&str]| shared.nobody(&[&["-f", &file], verb].concat()).ok();
    run(&["up", "-d"]);
    let output = run(&["ps"]);
    assert!(output.stdout.contains("running"), "{output}");
    run(&["down"]);
    let left = fs::read_dir(&temp).expect("it is there").flatten();
    let mut left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    left.sort();
    assert_eq!(left, ["stack-65534", "stack-state-65534"]);
}

#[test]
fn a_file_above_that_somebody_else_has_put_there_is_not_followed() {
    let Some(shared) = Shared::new() else { return };
    let below = shared.stack.path("below");
    fs::create_dir(&below).expect("it is new");
    chown(&below, Some(65534), Some(65534)).expect("root may");
    chown(shared.stack.path("stack.yaml"), Some(65533), None).expect("root may");
    let in_there = |arguments: &[&str]| {
        let mut command = shared.command(arguments, shared.home.to_str());
        command.current_dir(&below);
        Up::start(shared.stack.world(), command).wait()
    };
    in_there(&["config"])
        .expect(2)
        .says(&["belongs to another user (uid 65533)", "hint: `-f "]);
    let named = shared.stack.path("stack.yaml").display().to_string();
    in_there(&["-f", &named, "config"]).ok();
    // One's own, root's, and that of whoever owns the directory are followed.
    for owner in [65534, 0] {
        chown(shared.stack.path("stack.yaml"), Some(owner), None).expect("root may");
        in_there(&["config"]).ok();
    }
}

#[test]
fn values_that_a_repository_brings_along_steer_no_loader() {
    let stack = TestStack::new(ONE);
    stack.run(&["up", "-d"]).ok();
    stack.down();
    let last = stack.path(".stack/shop/last.json");
    let text = fs::read_to_string(&last).expect("it is there");
    let mut word: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    word["values"] = serde_json::json!([["LD_PRELOAD", "/evil.so"], ["A_PORT", "8000"]]);
    fs::write(&last, word.to_string()).expect("it is ours");
    let output = stack.run(&["run", "--", "env"]).ok();
    assert!(output.stdout.contains("A_PORT=8000"), "{output}");
    assert!(!output.stdout.contains("LD_PRELOAD"), "{output}");
}

#[test]
fn root_keeps_nobody_from_files_of_theirs() {
    let Some(shared) = Shared::new() else {
        return;
    };
    let stack = &shared.stack;
    stack.write_yaml("services: { it: { command: 'sleep 1000; : $<PORT:auto>' } }");
    stack.write(".env", "MINE=1\n");
    chown(stack.path(".env"), Some(65534), Some(65534)).expect("root may");
    stack.run(&["up", "-d"]).ok();
    stack.down();
    let there = fs::metadata(stack.path(".env")).expect("it is there");
    assert_eq!((there.uid(), there.gid()), (65534, 65534));
    assert!(stack.read(".env").contains("IT_PORT="));
}

#[test]
fn root_begins_nothing_where_the_files_are_somebody_elses() {
    let Some(shared) = Shared::new() else {
        return;
    };
    shared.as_nobody(&["up", "-d"], None).ok();
    shared.as_nobody(&["down"], None).ok();
    let refused = shared.stack.run(&["up", "-d"]).expect(1);
    refused.says(&["is not private"]);
    shared.as_nobody(&["up", "-d"], None).ok();
    shared.as_nobody(&["down"], None).ok();
}
