//! A stack runs on while its files, or its name, are gone.

use std::os::unix::fs::PermissionsExt;

use fs_err as fs;
use nix::sys::signal::Signal;

use super::doctor::alone;
use crate::harness::{Process, TestStack, World, misbehave, wait_until};

const WITH_PORT: &str = "services: { it: { command: MISBEHAVE bind $<PORT:auto> } }";

const ONE: &str = "services: { it: { command: MISBEHAVE sleep } }";

#[test]
fn files_that_are_gone_are_put_back_and_the_stack_is_found_meanwhile() {
    // As `git clean` does it, and as somebody may who wants to start afresh.
    for remove in [true, false] {
        let stack = TestStack::new(WITH_PORT);
        stack.run(&["up", "--wait"]).ok();
        let before = stack.read(".env");
        let lose = || {
            fs::remove_file(stack.path(".env")).expect("it is ours");
            if remove {
                fs::remove_dir_all(stack.path(".stack")).expect("it is ours");
            } else {
                fs::rename(stack.path(".stack"), stack.path("old")).expect("it is ours");
            }
        };
        // Whoever asks at once finds it.
        lose();
        let output = stack.run(&["ps"]).ok();
        assert!(output.stdout.contains("healthy"), "{output}");
        // Nobody has asked it for its state.
        let log = fs::read_to_string(stack.path(".stack/shop/supervisor.log"));
        assert!(!log.expect("it is there").contains("attempt"));
        fs::remove_dir_all(stack.path("old")).ok();
        // It comes back by itself as well.
        lose();
        wait_until("the .env", || fs::read_to_string(stack.path(".env")).ok());
        assert_eq!(stack.read(".env"), before);
        for arguments in [
            &["up", "-d"][..],
            &["restart"],
            &["logs"],
            &["stop"],
            &["start"],
        ] {
            stack.run(arguments).ok();
        }
        assert_eq!(stack.service_processes().len(), 1);
        let output = stack.down();
        assert!(output.stderr.contains("stopped everything"), "{output}");
        // Nothing is in the way of the next one.
        stack.run(&["up", "-d"]).ok();
        stack.down();
    }
}

#[test]
fn files_that_cannot_be_put_back_leave_the_stack_to_be_stopped() {
    let stack = TestStack::new(ONE);
    stack.run(&["up", "-d"]).ok();
    fs::remove_dir_all(stack.path(".stack")).expect("it is ours");
    // Somebody's own file is nothing that is put away.
    stack.write(".stack", "mine");
    let output = stack.run(&["ps"]).expect(5);
    assert!(output.stderr.contains("this stack is running"), "{output}");
    fs::remove_file(stack.path(".stack")).expect("it is ours");
    stack.down();
    assert_eq!(stack.service_processes().len(), 0);
}

#[test]
fn a_dotenv_that_cannot_be_written_keeps_nobody_from_finding_the_stack() {
    let stack = TestStack::new(WITH_PORT);
    stack.run(&["up", "--wait"]).ok();
    fs::remove_file(stack.path(".env")).expect("it is ours");
    fs::create_dir(stack.path(".env")).expect("it is new");
    fs::remove_dir_all(stack.path(".stack")).expect("it is ours");
    let output = stack.run(&["ps"]).ok();
    assert!(output.stdout.contains("healthy"), "{output}");
    let log = fs::read_to_string(stack.path(".stack/shop/supervisor.log")).expect("it is there");
    assert!(log.contains("`./.env` is not a regular file"), "{log}");
    stack.down();
}

#[test]
fn a_stack_from_standard_input_puts_its_files_back_too() {
    let stack = TestStack::new(ONE);
    let up = "\"$0\" -f - up -d < stack.yaml";
    let wrapped = stack.wrapped(&["sh", "-c", up], &[]);
    stack.run_command(wrapped).ok();
    fs::remove_dir_all(stack.path(".stack")).expect("it is ours");
    wait_until("the lock", || {
        stack.path(".stack/shop/lock").exists().then_some(())
    });
    stack.down();
}

#[test]
fn a_guardian_at_work_is_found_though_the_files_were_put_back() {
    let stack = TestStack::new(
        "services: { it: { command: MISBEHAVE ignore-term, stop_grace_period: 2s } }",
    );
    stack.run(&["up", "-d"]).ok();
    stack.wait_for_log("it", "deaf");
    fs::remove_dir_all(stack.path(".stack")).expect("it is ours");
    stack.run(&["ps"]).ok();
    stack.own_process("supervisor_pid").signal(Signal::SIGKILL);
    // It waits for the old copy to end.
    stack.run(&["up", "-d"]).ok();
    assert_eq!(stack.service_processes().len(), 1);
    stack.down();
}

#[test]
fn a_renamed_directory_is_followed() {
    let stack = TestStack::new(
        "services: { it: { command: '../run', working_dir: sub, healthcheck: { test: 'test -e up' } } }",
    );
    fs::create_dir(stack.path("sub")).expect("it is new");
    let script = format!(
        "#!/bin/sh\necho here: $(cat ../mark); : > up; exec {} sleep\n",
        misbehave().display()
    );
    stack.write("run", &script);
    fs::set_permissions(stack.path("run"), PermissionsExt::from_mode(0o755)).expect("it is ours");
    stack.write("mark", "marked");
    stack.run(&["up", "--wait"]).ok();
    let moved = stack.path("").with_file_name("moved");
    fs::rename(stack.path(""), &moved).expect("it is ours");
    fs::remove_file(moved.join("sub/up")).expect("the service has made it");
    let run = |arguments: &[&str]| {
        let mut command = stack.command(arguments);
        command.current_dir(&moved);
        stack.run_command(command)
    };
    // Its name came from the directory, and it is the same stack.
    let output = run(&["restart"]).ok();
    assert!(output.stderr.contains("under the name `shop`"), "{output}");
    let output = run(&["up", "--wait"]).ok();
    assert!(output.stderr.contains("running already"), "{output}");
    let output = run(&["logs"]).ok();
    assert_eq!(output.stdout.matches("here: marked").count(), 2, "{output}");
    fs::remove_dir_all(moved.join(".stack")).expect("it is ours");
    run(&["ps"]).ok();
    run(&["down"]).ok();
    assert_eq!(stack.service_processes().len(), 0);
    fs::rename(&moved, stack.path("")).expect("it is ours");
}

#[test]
fn a_stack_ends_when_its_directory_is_gone_for_good() {
    let stack = TestStack::new(ONE);
    let mut up = stack.up();
    up.wait_for_line("started");
    fs::remove_dir_all(stack.path("")).expect("it is ours");
    // Nobody has asked for its end.
    let output = up.wait().expect(1);
    assert!(
        output.stderr.contains("the project directory was removed"),
        "{output}"
    );
    fs::create_dir_all(stack.path("")).expect("it is new");
}

#[test]
fn a_stack_in_a_directory_that_was_removed_and_made_anew_is_stopped_before_another_begins() {
    // It has a moment of its own for its end.
    let yaml = "services: { it: { command: 'MISBEHAVE record TERM heard --takes 300', working_dir: '..' } }";
    let stack = TestStack::new(yaml);
    let renew = || {
        fs::remove_dir_all(stack.path("")).expect("it is ours");
        fs::create_dir(stack.path("")).expect("it is new");
        stack.write_yaml(yaml);
    };
    stack.run(&["up", "-d"]).ok();
    stack.wait_for_log("it", "recording");
    let old = stack.own_process("supervisor_pid");
    renew();
    for (command, code) in [(&["ps"][..], 5), (&["stop"], 5), (&["-p", "else", "ps"], 4)] {
        let output = stack.run(command).expect(code);
        let said = format!(
            "stack `shop` (pid {}) is still running, but its directory was removed",
            old.pid
        );
        assert_eq!(output.stderr.contains(&said), code == 5, "{output}");
    }
    let output = stack.run(&["up", "-d"]).ok();
    assert!(
        output.stderr.contains("was removed: stopping it first"),
        "{output}"
    );
    assert!(!old.is_alive());
    assert_eq!(stack.service_processes().len(), 1);
    stack.wait_for_log("it", "recording");
    renew();
    let output = stack.down();
    let said = "stopped everything; the directory in which it ran had been removed";
    assert!(output.stderr.contains(said), "{output}");
    stack.world().assert_nothing_is_left();
    let heard = fs::read_to_string(stack.path("../heard")).expect("both have written");
    assert_eq!(heard, "SIGTERM\nSIGTERM\n");
}

#[test]
fn a_stack_is_found_without_its_file() {
    let stack = TestStack::new(ONE);
    stack.run(&["up", "-d"]).ok();
    fs::rename(stack.path("stack.yaml"), stack.path("old.yaml")).expect("it is ours");
    let output = stack.run(&["ps"]).ok();
    assert!(output.stdout.contains("running"), "{output}");
    fs::create_dir(stack.path("sub")).expect("it is new");
    let mut command = stack.command(&["down"]);
    command.current_dir(stack.path("sub"));
    stack.run_command(command).ok();
    assert_eq!(stack.service_processes().len(), 0);
}

#[test]
fn a_stack_without_files_that_lost_its_guardian_is_stopped_too() {
    let stack = TestStack::new(
        "services: { it: { command: MISBEHAVE ignore-term, stop_grace_period: 2s } }",
    );
    stack.run(&["up", "-d"]).ok();
    stack.wait_for_log("it", "deaf");
    let guardian = stack.own_process("guardian_pid");
    fs::remove_dir_all(stack.path(".stack")).expect("it is ours");
    guardian.signal(Signal::SIGKILL);
    stack.down();
}

#[test]
fn of_several_stacks_without_a_file_each_is_named() {
    let stack = TestStack::new(ONE);
    stack.run(&["up", "-d"]).ok();
    stack.run(&["-p", "second", "up", "-d"]).ok();
    fs::remove_file(stack.path("stack.yaml")).expect("it is ours");
    for verb in ["ps", "down"] {
        let output = stack.run(&[verb]).expect(3);
        assert!(output.stderr.contains("several stacks run"), "{output}");
        assert!(output.stderr.contains("`second`"), "{output}");
    }
    for name in ["shop", "second"] {
        stack.run(&["-p", name, "down"]).ok();
    }
    assert_eq!(stack.service_processes().len(), 0);
}

#[test]
fn a_stack_whose_file_gives_it_another_name_is_the_same() {
    let stack = TestStack::new(ONE);
    stack.run(&["up", "-d"]).ok();
    stack.write_yaml(&format!("name: other\n{ONE}"));
    for arguments in [&["ps"][..], &["up", "-d"], &["down"]] {
        let output = stack.run(arguments).ok();
        assert!(output.stderr.contains("under the name `shop`"), "{output}");
        assert!(stack.service_processes().len() <= 1);
    }
    assert_eq!(stack.service_processes().len(), 0);
}

#[test]
fn what_was_named_by_its_caller_is_another_stack_and_named() {
    let stack = TestStack::new(ONE);
    stack.run(&["-p", "second", "up", "-d"]).ok();
    for (verb, code) in [("ps", 4), ("down", 0)] {
        let output = stack.run(&[verb]).expect(code);
        assert!(output.stderr.contains("`stack -p second down`"), "{output}");
    }
    let output = stack.run(&["up", "-d"]).ok();
    assert!(
        output.stderr.contains("under another name: `second`"),
        "{output}"
    );
    // Whoever gives names knows.
    let output = stack.run(&["-p", "third", "up", "-d"]).ok();
    assert!(!output.stderr.contains("another name"), "{output}");
    for name in ["shop", "second", "third"] {
        stack.run(&["-p", name, "down"]).ok();
    }
}

#[test]
fn the_reason_why_a_file_cannot_be_written_reaches_whoever_called() {
    // In blocks of 512 bytes; whoever ignores the signal gets an error, as from a full disk.
    for (limit, file) in [("0", ".gitignore"), ("1", "lock"), ("4", "leases")] {
        let stack = TestStack::new(ONE);
        let script = "trap '' XFSZ; ulimit -f $0; exec \"$@\"";
        let output = stack.run_command(stack.wrapped(&["sh", "-c", script, limit], &["up", "-d"]));
        let output = output.expect(1);
        let reason = format!("{file}`: File too large");
        assert!(output.stderr.contains(&reason), "{output}");
        // What it has left is no hindrance later, nor does git see what is generated.
        stack.run(&["up", "-d"]).ok();
        assert_eq!(stack.read(".stack/.gitignore"), "*\n");
        stack.down();
    }
}

#[test]
fn every_stack_of_the_user_is_stopped_at_once() {
    let world = World::new();
    let [one, two] = ["one", "two"].map(|copy| TestStack::in_world(&world, copy, ONE));
    let script = format!(
        "stack up -d; cd {}; stack up -d; rm -rf \"$PWD\"; cd /; stack down --all",
        two.path("").display()
    );
    // Other tests have stacks as well.
    let Some(output) = alone(&one, &script) else {
        return;
    };
    let output = output.ok();
    let stopped = output.stderr.matches(": stopped everything").count();
    assert_eq!(stopped, 2, "{output}");
    fs::create_dir_all(two.path("")).expect("it is new");
}

#[test]
fn a_stack_whose_directory_was_renamed_is_not_left_over_from_the_one_at_its_old_place() {
    let stack = TestStack::new(ONE);
    stack.run(&["up", "-d"]).ok();
    let old = stack.service_processes();
    let moved = stack.path("").with_file_name("moved");
    fs::rename(stack.path(""), &moved).expect("it is ours");
    fs::create_dir(stack.path("")).expect("it is new");
    fs::copy(moved.join("stack.yaml"), stack.path("stack.yaml")).expect("it is ours");
    // Once by its group, and once by the leases of a killed run as well.
    stack.run(&["up", "-d"]).ok();
    super::deaths::kill_both(&stack);
    let output = stack.run(&["up", "-d"]).ok();
    assert!(output.stderr.contains("left over"), "{output}");
    assert!(old.iter().all(Process::is_alive));
    stack.run(&["down"]).ok();
    assert!(old.iter().all(Process::is_alive));
    let mut command = stack.command(&["down"]);
    command.current_dir(&moved);
    stack.run_command(command).ok();
}
