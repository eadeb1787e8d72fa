//! The control group of a stack, on a machine where one can be made: what nothing else leads to is
//! found by it. All other tests of processes hold without one as well, and CI runs them so.

use std::path::PathBuf;
use std::sync::LazyLock;

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

/// Where groups of stacks are made, if one can be made here.
#[expect(
    clippy::print_stdout,
    reason = "a skip must be seen in the output of the tests"
)]
fn place() -> Option<PathBuf> {
    static PLACE: LazyLock<Option<PathBuf>> = LazyLock::new(find_place);
    if PLACE.is_none() {
        println!("skipped: no control group can be made here");
    }
    PLACE.clone()
}

fn find_place() -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
    let places = roots.map(|root| PathBuf::from(root).join(own));
    let place = places
        .into_iter()
        .find(|place| place.join("cgroup.procs").exists());
    place.filter(|place| {
        let attempt = place.join(format!("attempt-{}", std::process::id()));
        let is_made = fs::create_dir(&attempt).is_ok() && attempt.join("cgroup.kill").exists();
        drop(fs::remove_dir(attempt));
        is_made && cfg!(target_arch = "x86_64")
    })
}

/// The group in which the services of a stack are.
#[track_caller]
fn group_of(stack: &TestStack) -> PathBuf {
    let service = &stack.service_processes()[0];
    let text = fs::read_to_string(format!("/proc/{}/cgroup", service.pid)).expect("it runs");
    let own = text.lines().find(|line| line.starts_with("0::"));
    let name = own
        .and_then(|own| own.rsplit('/').next())
        .expect("its group");
    assert!(name.starts_with("stack-shop-"), "{text}");
    place().expect("there is one").join(name)
}

/// A stack of these services, each of which has a process; and its group.
#[track_caller]
fn start(yaml: &str) -> Option<(TestStack, PathBuf)> {
    place()?;
    let stack = TestStack::new(yaml);
    stack.run(&["up", "-d"]).ok();
    let group = group_of(&stack);
    Some((stack, group))
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
    // Nor is another one left.
    let name = group
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let (instance, _) = name.rsplit_once('-').expect("instance and run");
    let beside = fs::read_dir(group.parent().expect("a place")).expect("it is there");
    let mut names = beside.map(|entry| entry.expect("an entry").file_name());
    assert!(names.all(|name| !name.to_string_lossy().starts_with(instance)));
}

#[test]
fn what_starts_others_faster_than_it_is_looked_at_ends_all_the_same() {
    let yaml = "
services:
  it:
    command: |
      cat > again <<'END'
      sleep 0.002; env -i PATH=\"$PATH\" setsid sh \"$0\" &
      END
      env -i PATH=\"$PATH\" setsid sh again & exec sleep 1000
    stop_grace_period: 200ms
";
    let Some((stack, group)) = start(yaml) else {
        return;
    };
    wait_until("some of them", || {
        stack.path("again").exists().then_some(())
    });
    kill_both(&stack);
    stack.down();
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
    let (second, group) = (stray(&stack), group_of(&stack));
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
    assert!(!group.exists(), "{}", group.display());
    let group = group_of(&stack);
    fs::create_dir(group.join("below")).expect("it is ours");
    stack.down();
    assert!(!group.exists(), "{}", group.display());
}

#[test]
fn what_the_whole_stack_has_used_is_told() {
    let Some((stack, _)) = start("services: { it: { command: MISBEHAVE sleep } }") else {
        return;
    };
    let output = stack.run(&[]).ok();
    let first = output.stdout.lines().next().unwrap_or_default();
    assert!(first.contains("s of processor time"), "{output}");
    stack.down();
    let output = stack.run(&[]).ok();
    assert!(!output.stdout.contains("processor time"), "{output}");
}
