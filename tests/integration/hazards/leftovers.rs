//! What two killed processes have left, a supervisor and its guardian: who finds it, and that nothing
//! else is taken for it.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use fs_err as fs;

use super::deaths::{kill_both, tree_started};
use crate::harness::{Process, TestStack, wait_until};

#[test]
fn down_ends_what_is_left_when_both_are_killed() {
    let stack = tree_started();
    kill_both(&stack);
    assert!(!stack.service_processes().is_empty());
    let output = stack.down();
    assert!(output.stderr.contains("ended 6 processes"), "{output}");
    assert_eq!(stack.read("clean"), "SIGTERM\n");
}

#[test]
fn what_is_left_ends_as_its_own_service_wants_it() {
    // Longer than anybody's patience; the last one has a session and a lease of nobody.
    let yaml = "
services:
  int: { command: 'MISBEHAVE record INT,TERM int', stop_signal: SIGINT, stop_grace_period: 5m }
  slow: { command: 'MISBEHAVE record TERM slow --takes 2500', stop_grace_period: 5m }
  deaf: { command: MISBEHAVE ignore-term, stop_grace_period: 1s }
  child: { command: MISBEHAVE gc-setsid --deaf, stop_grace_period: 1s }
";
    let started = |stack: &TestStack| {
        stack.run(&["up", "-d"]).ok();
        for (service, says) in [
            ("int", "recording"),
            ("slow", "recording"),
            ("deaf", "deaf"),
            ("child", "deaf"),
        ] {
            stack.wait_for_log(service, says);
        }
        kill_both(stack);
    };
    let stack = TestStack::new(yaml);
    started(&stack);
    let output = stack.down();
    let said = "of an earlier run to end, for 5 m 0 s at most";
    assert!(output.stderr.contains(said), "{output}");
    assert_eq!(
        (stack.read("int"), stack.read("slow")),
        ("SIGINT\n".to_owned(), "SIGTERM\n".to_owned())
    );
    // Whoever says how long counts.
    let stack = TestStack::new(&yaml.replace("1s", "5m"));
    started(&stack);
    stack.run(&["down", "-t", "1"]).ok();
    stack.world().wait_until_nothing_is_left();
}

#[test]
fn up_after_both_are_killed_runs_one_copy() {
    let stack = TestStack::new("services: { it: { command: MISBEHAVE bind $<PORT:auto> --http } }");
    stack.up_detached();
    let (port, old) = (stack.port_of("it"), stack.service("it").expect("it runs"));
    kill_both(&stack);
    stack.up_detached();
    let new = stack.service("it").expect("it runs");
    assert_ne!(old.pid(), new.pid());
    assert_eq!(stack.port_of("it"), port);
    assert_eq!(stack.service_processes().len(), 1);
    stack.down();
}

/// The first line of a lease file that is good for processes of this boot and in the pid namespace
/// of `pid`.
pub(super) fn lease_heading(pid: i32) -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("Linux has it");
    let namespace = fs::metadata(format!("/proc/{pid}/ns/pid")).expect("it runs");
    format!("boot {} pids {}", boot.trim(), namespace.ino())
}

#[test]
fn a_lease_names_one_process_and_harms_nobody_else() {
    let stack = TestStack::new("services: { it: { command: MISBEHAVE sleep } }");
    let mut foreign = stack.helper(&["ignore-term"]);
    foreign.wait_for_line("deaf");
    stack.run(&["up", "-d"]).ok();
    stack.down();
    let pid = foreign.pid();
    let heading = lease_heading(pid);
    let started = Process::of(pid).expect("it runs").started();
    let down_with = |heading: &str, (from, to): (u64, u64)| {
        let lease = format!("{pid:>10} {from:>14} {to:>14} it@1");
        stack.write(".stack/shop/leases", &format!("{heading}\n{lease}\n"));
        stack.run(&["down"]).ok();
    };
    // Another start, a window that fits every start, another boot.
    down_with(&heading, (started - 2, started - 1));
    down_with(&heading, (0, u64::MAX));
    down_with("boot another pids 1", (started, started));
    assert!(!foreign.has_ended());
    assert!(!foreign.stdout().contains("heard"), "{}", foreign.stdout());
    // What it does name is ended.
    down_with(&heading, (started, started));
    assert!(foreign.has_ended());
}

#[test]
fn a_lease_that_names_whoever_called_is_not_followed() {
    let stack = TestStack::new("services: { it: { command: MISBEHAVE sleep } }");
    stack.run(&["up", "-d"]).ok();
    stack.down();
    let pid = i32::try_from(std::process::id()).expect("a pid");
    stack.write(".stack/shop/leases", &format!("{}\n", lease_heading(pid)));
    let script = r#"
        set -- "$@"; started=$(cut -d' ' -f22 /proc/$$/stat)
        printf '%10d %14d %14d it@1\n' $$ "$started" "$started" >> .stack/shop/leases
        "$@"; echo "it ended with $?""#;
    let output = stack.run_command(stack.wrapped(&["sh", "-c", script, "sh"], &["down"]));
    assert!(output.stdout.contains("it ended with 0"), "{output}");
}

/// Where no control group can be made nothing but the registry leads to what is left.
#[test]
fn what_is_left_without_any_files_is_ended_before_up_starts_anything() {
    let yaml =
        "services: { it: { command: 'MISBEHAVE record INT,TERM heard', stop_signal: SIGINT } }";
    for rename in [false, true] {
        let stack = TestStack::new(yaml);
        stack.run(&["up", "-d"]).ok();
        stack.wait_for_log("it", "recording");
        let old = stack
            .service("it")
            .expect("it runs")
            .pid()
            .expect("it has one");
        kill_both(&stack);
        leave_group(&stack);
        let said = if rename {
            // The leases still tell how it is to be ended.
            stack.write_yaml(&format!("name: other\n{yaml}"));
            "SIGINT\n"
        } else {
            fs::remove_dir_all(stack.path(".stack")).expect("it is ours");
            "SIGTERM\n"
        };
        for command in [&["ps"][..], &["stop"], &["logs"]] {
            let output = stack.run(command);
            assert_ne!(output.code, 0, "{output}");
            let left = format!(
                "1 process of stack `shop` is still running without a supervisor: pid {old}"
            );
            assert!(output.stderr.contains(&left), "{output}");
        }
        let output = stack.run(&[]).ok();
        assert!(output.stdout.starts_with("1 process of"), "{output}");
        let output = stack.up_detached();
        assert!(
            output.stderr.contains("ended 1 process left over"),
            "{output}"
        );
        assert_eq!(stack.read("heard"), said);
        assert_eq!(stack.service_processes().len(), 1);
        stack.down();
        assert!(!stack.path(".stack/shop/leases").exists());
        let runs = fs::read_dir(stack.world().state_dir().join("runs")).expect("it is there");
        assert_eq!(runs.count(), 0);
    }
}

#[test]
fn what_is_left_under_another_name_is_ended_by_down_too() {
    let yaml = "services: { it: { command: MISBEHAVE sleep } }";
    let stack = TestStack::new(yaml);
    stack.run(&["up", "-d"]).ok();
    kill_both(&stack);
    leave_group(&stack);
    stack.write_yaml(&format!("name: other\n{yaml}"));
    // Whoever gives a name means no other.
    let output = stack.run(&["-p", "third", "down"]).ok();
    assert!(output.stderr.contains("nothing is running"), "{output}");
    let output = stack.down();
    assert!(output.stderr.contains("ended 1 process"), "{output}");
    stack.world().assert_nothing_is_left();
}

/// Containers that share a home directory leave links that nobody there comes back for.
#[test]
fn runs_of_elsewhere_are_forgotten_once_nothing_can_be_left_of_them() {
    let stack = TestStack::new("services: { it: { command: MISBEHAVE sleep } }");
    let runs = stack.world().state_dir().join("runs");
    stack.run(&["up", "-d"]).ok();
    let own = fs::read_dir(&runs).expect("it is there").flatten().next();
    let own = own
        .expect("it runs")
        .file_name()
        .into_string()
        .expect("text");
    let (_, boot) = own.rsplit_once('.').expect("it ends with the boot");
    stack.down();
    let link = |run: u64, scope: &str, age: &str| {
        let name = format!("shop-0123456789abcdef-{run:016x}.{scope}");
        let link = runs.join(&name);
        std::os::unix::fs::symlink("/a/shop", &link).expect("it is ours");
        let date = format!("--date={age} ago");
        let touched = Command::new("touch").args(["-h", &date]).arg(link).status();
        assert!(touched.expect("it is there").success());
        name
    };
    let elsewhere = format!("4711.{boot}");
    let young = link(1, &elsewhere, "360 days");
    let foreign = link(2, "4711.01234567", "360 days");
    let old = link(3, &elsewhere, "367 days");
    let older = link(4, "4711.01234567", "367 days");
    stack.run(&["up", "-d"]).ok();
    wait_until("what is too old is gone", || {
        let is_gone = |name: &&String| !runs.join(name).is_symlink();
        [&old, &older].iter().all(is_gone).then_some(())
    });
    assert!(
        runs.join(foreign).is_symlink(),
        "it may be another machine's"
    );
    // Only who sees all processes knows that there are none.
    let here = fs::read_link("/proc/self/ns/pid").expect("it can be read");
    if here.to_str() != Some("pid:[4026531836]") {
        assert!(runs.join(young).is_symlink());
    }
    stack.down();
}

/// Takes everything out of the control group, as if there had been none.
fn leave_group(stack: &TestStack) {
    for process in stack.world().processes() {
        let text = fs::read_to_string(format!("/proc/{}/cgroup", process.pid)).unwrap_or_default();
        let group = text.lines().find_map(|line| line.strip_prefix("0::/"));
        let Some((parent, _)) = group.and_then(|group| group.rsplit_once("/stack-shop-")) else {
            continue;
        };
        for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
            let procs = std::path::Path::new(root).join(parent).join("cgroup.procs");
            if procs.exists() {
                fs::write(procs, process.pid.to_string()).expect("this user has made the group");
            }
        }
    }
}
