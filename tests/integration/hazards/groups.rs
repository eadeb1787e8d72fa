//! The control group of a stack, on a machine where one can be made: what nothing else leads to is
//! found by it. All other tests of processes hold without one as well, and CI runs them so.

use std::path::PathBuf;

use fs_err as fs;

use super::deaths::kill_both;
use crate::harness::{Process, TestStack, wait_until};

/// A service, and a process that it leaves with a session and an environment of its own.
const STRAY: &str = "
services:
  it:
    command: |
      env -i PATH=\"$PATH\" setsid sh -c 'echo $$ > new; mv new stray; exec sleep 1000' &
      exec sleep 1000
";

/// The group in which a process is, if that is one of a stack.
#[expect(
    clippy::print_stdout,
    reason = "a skip must be seen in the output of the tests"
)]
fn group_of(process: &Process) -> Option<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{}/cgroup", process.pid)).ok()?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
    let group = roots.map(|root| PathBuf::from(root).join(own));
    let group = group
        .into_iter()
        .find(|group| group.join("cgroup.kill").exists());
    let group = group.filter(|group| {
        group
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("stack-shop-"))
    });
    if group.is_none() {
        println!("skipped: no control group can be made here");
    }
    group
}

/// A stack of these services, each of which has a process; and its group.
#[track_caller]
fn start(yaml: &str) -> Option<(TestStack, PathBuf)> {
    let stack = TestStack::new(yaml);
    stack.run(&["up", "-d"]).ok();
    let group = group_of(stack.service_processes().first().expect("a service"));
    if group.is_none() {
        stack.down();
    }
    Some((stack, group?))
}

/// The process that a service has left.
#[track_caller]
fn stray(stack: &TestStack) -> Process {
    let path = stack.path("stray");
    let pid = wait_until("the stray", || fs::read_to_string(&path).ok());
    fs::remove_file(path).expect("it is ours");
    Process::of(pid.trim().parse().expect("a pid")).expect("it runs")
}

#[test]
fn what_nothing_else_leads_to_is_found_by_its_group() {
    let Some((stack, group)) = start(STRAY) else {
        return;
    };
    let first = stray(&stack);
    kill_both(&stack);
    // No lease, no mark, no session, no parent.
    fs::remove_dir_all(stack.path(".stack")).expect("it is ours");
    let output = stack.run(&["up", "-d"]).ok();
    output.says(&["ended 2 processes left over from an earlier run"]);
    assert!(!first.is_alive());
    let second = stray(&stack);
    kill_both(&stack);
    fs::remove_dir_all(stack.path(".stack")).expect("it is ours");
    stack.run(&["down"]).ok().says(&["ended 2 processes"]);
    assert!(!second.is_alive());
    assert!(!group.exists(), "{}", group.display());
}

#[test]
fn a_group_goes_with_its_stack() {
    let Some((stack, group)) = start(STRAY) else {
        return;
    };
    let first = stray(&stack);
    stack.down();
    assert!(!first.is_alive());
    assert!(!group.exists(), "{}", group.display());
    stack.run(&["up", "-d"]).ok();
    let second = stray(&stack);
    stack
        .own_process("supervisor_pid")
        .signal(nix::sys::signal::Signal::SIGKILL);
    wait_until("the end of its group", || (!group.exists()).then_some(()));
    assert!(!second.is_alive());
}

#[test]
fn a_group_below_that_a_service_has_made_is_in_nobodys_way() {
    let Some((stack, group)) = start("services: { it: { command: sleep 1000 } }") else {
        return;
    };
    let below = group.join("below");
    fs::create_dir(&below).expect("it is ours");
    let pid = stack.service_processes()[0].pid.to_string();
    fs::write(below.join("cgroup.procs"), pid).expect("it may move");
    kill_both(&stack);
    fs::remove_dir_all(stack.path(".stack")).expect("it is ours");
    stack
        .run(&["up", "-d"])
        .ok()
        .says(&["ended 1 process left over"]);
    fs::create_dir_all(&below).expect("it is ours");
    stack.down();
    assert!(!group.exists(), "{}", group.display());
}
