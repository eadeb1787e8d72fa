//! A stack runs on while its files, or its name, are gone.

use fs_err as fs;
use nix::sys::signal::Signal;

use crate::harness::TestStack;

const ONE: &str = "services: { it: { command: MISBEHAVE sleep } }";

#[test]
fn a_stack_whose_files_are_gone_is_found_and_stopped() {
    // As `git clean` does it, and as somebody may who wants to start afresh.
    for remove in [true, false] {
        let stack = TestStack::new(ONE);
        stack.run(&["up", "-d"]).ok();
        stack.world().processes();
        if remove {
            fs::remove_dir_all(stack.path(".stack")).expect("it is ours");
        } else {
            fs::rename(stack.path(".stack"), stack.path("old")).expect("it is ours");
        }
        for (verb, code) in [("ps", 4), ("up", 3)] {
            let output = stack.run(&[verb]).expect(code);
            assert!(output.stderr.contains("this stack is running"), "{output}");
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
fn what_runs_under_another_name_is_named() {
    let stack = TestStack::new(ONE);
    stack.run(&["up", "-d"]).ok();
    stack.write_yaml(&format!("name: other\n{ONE}"));
    for verb in ["ps", "down"] {
        let output = stack.run(&[verb]);
        assert!(output.stderr.contains("`stack -p shop down`"), "{output}");
    }
    let output = stack.run(&["up", "-d"]).ok();
    assert!(
        output.stderr.contains("under another name: `shop`"),
        "{output}"
    );
    // Whoever gives names knows.
    let output = stack.run(&["-p", "third", "up", "-d"]).ok();
    assert!(!output.stderr.contains("another name"), "{output}");
    for name in ["shop", "other", "third"] {
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
    }
}
