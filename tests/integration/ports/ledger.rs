//! A ledger that does not work: one warning, and no port twice.

use std::path::PathBuf;

use fs_err as fs;

use crate::harness::{Output, TestStack, World, lacks, require};

const TWO: &str = "
services:
  api: { command: MISBEHAVE bind $<PORT:auto> --http }
  web: { command: MISBEHAVE bind $<PORT:auto> --http }
";

/// Starts a stack and another one beside it, both with the same trouble: each is warned this often,
/// and all have different ports.
#[track_caller]
fn two_stacks_with(
    expected: usize,
    trouble: impl Fn(&World),
    start: impl Fn(&TestStack) -> Output,
) {
    let world = World::new();
    let stacks = ["one", "other"].map(|copy| TestStack::in_world(&world, copy, TWO));
    let mut ports = Vec::new();
    for stack in &stacks {
        trouble(&world);
        let output = start(stack).ok();
        let warnings = output.stderr.matches("warning").count();
        assert_eq!(warnings, expected, "{output}");
        ports.extend(["api", "web"].map(|service| stack.port_of(service)));
    }
    assert_eq!(
        ports,
        [8000, 8001, 8002, 8003].map(|port| stacks[0].port(port))
    );
    for stack in &stacks {
        stack.down();
    }
}

/// The same, for trouble with nothing but files.
#[track_caller]
fn two_stacks_with_files(trouble: impl Fn(&World)) {
    two_stacks_with(1, trouble, |stack| stack.run(&["up", "--wait"]));
}

/// Writes a file of the ledger.
#[track_caller]
fn write(world: &World, name: &str, bytes: &[u8]) -> PathBuf {
    let directory = world.state_dir().join("ports");
    fs::create_dir_all(&directory).expect("the world is writable");
    let path = directory.join(name);
    fs::write(&path, bytes).expect("it is writable");
    path
}

#[test]
fn a_state_directory_that_cannot_be_made() {
    two_stacks_with_files(|world| {
        // A file stands where it should be; that stops root as well.
        fs::write(world.state_dir(), "").expect("the world is writable");
    });
}

#[test]
fn no_home_and_no_state_directory() {
    // What is left is a place in the temporary directory, which does as well.
    two_stacks_with(
        0,
        |_| {},
        |stack| {
            let mut command = stack.command(&["up", "--wait"]);
            command.env_remove("XDG_STATE_HOME").env_remove("HOME");
            stack.run_command(command)
        },
    );
}

#[test]
fn garbage_in_the_ledger() {
    two_stacks_with_files(|world| {
        write(world, "stacks", b"\0\xffgarbage");
    });
}

#[test]
fn a_ledger_that_was_cut_short() {
    // A real one, of a stack that has come and gone.
    let stack = TestStack::new(TWO);
    stack.up_detached();
    stack.down();
    let row = stack.ledger_row().to_string();
    two_stacks_with_files(|world| {
        write(world, "stacks", &row.as_bytes()[..row.len() / 2]);
    });
}

#[test]
fn a_ledger_that_is_locked_for_ever() {
    let locks = std::cell::RefCell::new(Vec::new());
    two_stacks_with_files(|world| {
        let path = write(world, "lock", b"");
        let lock = fs::File::open(path).expect("it was just written");
        // The second of them finds it locked by the first.
        if lock.file().try_lock().is_ok() {
            locks.borrow_mut().push(lock);
        }
    });
}

/// Starts two stacks that see their state directory as `mount` makes it.
fn two_stacks_with_mount(mount: &str) {
    let is_possible = require("unshare")
        && (std::process::Command::new("unshare")
            .args(["--mount", "true"])
            .output()
            .is_ok_and(|output| output.status.success())
            || lacks("mount namespaces"));
    if !is_possible {
        return;
    }
    let script =
        format!("S=\"$XDG_STATE_HOME/stack\" && mkdir -p \"$S\" && {mount} && exec \"$0\" \"$@\"");
    let wrapper = ["unshare", "--mount", "sh", "-c", &script];
    two_stacks_with(
        1,
        |_| {},
        |stack| stack.run_command(stack.wrapped(&wrapper, &["up", "--wait"])),
    );
}

#[test]
fn a_state_directory_that_is_read_only() {
    two_stacks_with_mount("mount -t tmpfs -o ro tmpfs \"$S\"");
}

#[test]
fn a_disk_that_is_full() {
    two_stacks_with_mount(
        "mount -t tmpfs -o size=64k tmpfs \"$S\" && ! dd if=/dev/zero of=\"$S/filler\" bs=4k 2>/dev/null",
    );
}
