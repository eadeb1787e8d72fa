//! `stack doctor`: what it finds, and that it mends it and nothing else.

use fs_err as fs;
use nix::unistd::geteuid;

use crate::harness::{TestStack, World, lacks, require};

/// Runs a script among processes, and in a control group, of its own, as the doctor looks at all of the
/// user's. In it `stack`
/// is the program, and `kill_both` what ends guardian and supervisor at once.
#[track_caller]
pub(super) fn alone(stack: &TestStack, script: &str) -> Option<crate::harness::Output> {
    if !geteuid().is_root() {
        lacks("a pid namespace, which needs root");
        return None;
    }
    if !require("unshare") {
        return None;
    }
    let script = format!(
        "stack() {{ \"$0\" \"$@\"; }}
groups=/sys/fs/cgroup; [ -e $groups/cgroup.procs ] || groups=$groups/unified
own=$(mktemp -d $groups/alone-XXXXXX 2>/dev/null) && echo 0 > $own/cgroup.procs && trap 'echo 0 > $groups/cgroup.procs; rmdir $own' EXIT
kill_both() {{
  pids=$(grep -o '_pid\": *[0-9]*' .stack/*/lock | grep -o '[0-9]*$')
  kill -STOP $pids; kill -KILL $pids
  for pid in $pids; do while kill -0 $pid 2>/dev/null && ! grep -q '^State:.Z' /proc/$pid/status; do :; done; done
}}
{script}"
    );
    let namespace = [
        "unshare",
        "--pid",
        "--fork",
        "--mount-proc",
        "bash",
        "-c",
        &script,
    ];
    let arguments: &[&str] = &[];
    Some(stack.run_command(stack.wrapped(&namespace, arguments)))
}

#[test]
fn nothing_is_wrong_while_all_is_well() {
    let stack = TestStack::new("services: { it: { command: sleep 1000 } }");
    let script =
        "stack up -d; stack doctor && stack doctor --fix; stack ps; stack down; stack doctor";
    let Some(output) = alone(&stack, script) else {
        return;
    };
    let output = output.ok();
    assert_eq!(
        output.stdout.matches("nothing is wrong").count(),
        3,
        "{output}"
    );
    assert!(output.stdout.contains("running"), "{output}");
}

#[test]
fn what_two_killed_processes_have_left_is_found_and_ended() {
    let stack = TestStack::new(
        "services: { it: { command: MISBEHAVE bind $<PORT:auto> }, other: { command: sleep 1000 } }",
    );
    // From anywhere; the files of the stack are gone in the second round.
    for lose in ["true", "rm -rf \"$dir/.stack\""] {
        let script = format!(
            "dir=$PWD; stack up --wait; kill_both; {lose}; cd /
stack doctor; echo code $?; stack doctor --fix; echo code $?; stack doctor; echo code $?"
        );
        let Some(output) = alone(&stack, &script) else {
            return;
        };
        let output = output.ok();
        let expected = [
            "2 processes of stack `shop` are still running without a supervisor",
            "hint: `stack doctor --fix` mends it",
            "code 1",
            "ended 2 processes",
            "code 0",
            "nothing is wrong",
        ];
        let mut rest = output.stdout.as_str();
        for part in expected {
            let at = rest
                .find(part)
                .unwrap_or_else(|| panic!("no `{part}` in {output}"));
            rest = &rest[at + part.len()..];
        }
    }
}

#[test]
fn who_is_suspended_is_found() {
    let stack = TestStack::new("services: { it: { command: sleep 1000 } }");
    let script =
        "stack up -d; pid=$(grep -o 'supervisor_pid\": *[0-9]*' .stack/*/lock | grep -o '[0-9]*$')
kill -STOP $pid; until grep -q '^State:.T' /proc/$pid/status; do sleep 0.01; done; cd /; stack doctor; echo code $?; kill -CONT $pid; stack doctor; stack down --all";
    let Some(output) = alone(&stack, script) else {
        return;
    };
    let output = output.ok();
    for part in [
        "the supervisor of stack `shop` (pid",
        "is suspended",
        "hint: `kill -CONT",
        "code 1",
        "nothing is wrong",
    ] {
        assert!(output.stdout.contains(part), "no `{part}` in {output}");
    }
}

#[test]
fn stale_entries_of_the_ledger_are_left_out() {
    let world = World::new();
    let one = TestStack::in_world(
        &world,
        "one",
        "services: { it: { command: MISBEHAVE bind $<PORT:auto> } }",
    );
    let two = TestStack::in_world(
        &world,
        "two",
        "services: { it: { command: MISBEHAVE bind $<PORT:auto> } }",
    );
    for stack in [&one, &two] {
        stack.up_detached();
        stack.down();
    }
    fs::remove_dir_all(two.path("")).expect("it is ours");
    let Some(output) = alone(&one, "stack doctor; stack doctor --fix && stack doctor") else {
        return;
    };
    let output = output.ok();
    let gone = "ports are remembered for 1 stack whose directory is gone";
    assert_eq!(output.stdout.matches(gone).count(), 2, "{output}");
    assert!(output.stdout.ends_with("nothing is wrong\n"), "{output}");
    // Damage as well.
    let ledger = world.state_dir().join("ports/stacks");
    let text = fs::read_to_string(&ledger).expect("it is there");
    fs::write(&ledger, format!("{text}nonsense\n")).expect("it is ours");
    let Some(output) = alone(&one, "stack doctor; stack doctor --fix && stack doctor") else {
        return;
    };
    let output = output.ok();
    assert!(output.stdout.contains("is damaged"), "{output}");
    assert!(output.stdout.ends_with("nothing is wrong\n"), "{output}");
    fs::create_dir_all(two.path("")).expect("it is new");
}

#[test]
fn what_has_lost_its_files_as_well_is_ended_by_down_too() {
    let stack = TestStack::new("services: { it: { command: sleep 1000 } }");
    for down in ["cd \"$dir\"; stack down", "cd /; stack down --all"] {
        let script = format!(
            "dir=$PWD; stack up -d; kill_both; rm -rf .stack; {down} || echo failed; stack doctor"
        );
        let Some(output) = alone(&stack, &script) else {
            return;
        };
        let output = output.ok();
        assert!(output.stderr.contains("ended 1 process"), "{output}");
        assert_eq!(output.stdout, "nothing is wrong\n", "{output}");
    }
}

#[test]
fn the_doctor_ends_each_as_its_service_wants_it_and_down_leaves_him_nothing() {
    let stack = TestStack::new(
        "services: { it: { command: 'MISBEHAVE record INT,TERM heard', stop_signal: SIGINT, stop_grace_period: 5m } }",
    );
    let wait = "until grep -q recording .stack/shop/logs/it.log; do :; done";
    let script = format!(
        "stack up -d; {wait}; kill_both; stack doctor --fix
stack up -d; {wait}; kill_both; stack down; stack doctor"
    );
    let Some(output) = alone(&stack, &script) else {
        return;
    };
    let output = output.ok();
    assert!(output.stdout.ends_with("nothing is wrong\n"), "{output}");
    assert_eq!(stack.read("heard"), "SIGINT\nSIGINT\n");
}

#[test]
fn what_has_nothing_but_a_control_group_is_found() {
    let stack = TestStack::new(
        "services: { it: { command: 'env -i setsid sleep 1000 & exec env -i sleep 1000' } }",
    );
    let script = "stack up -d; [ -e $own/stack-shop-* ] || { echo none; stack down; exit; }
kill_both; rm -r .stack; cd /; stack doctor; stack doctor --fix; stack doctor
cd - >/dev/null; stack up -d; kill_both; rm -r .stack; echo 1 > $(echo $own/stack-shop-*)/cgroup.kill
until grep -q 'populated 0' $own/stack-shop-*/cgroup.events; do sleep 0.01; done
stack doctor; stack doctor --fix; stack doctor";
    let Some(output) = alone(&stack, script) else {
        return;
    };
    if output.stdout.contains("none") {
        return;
    }
    let mut rest = output.stdout.as_str();
    for part in [
        "2 processes of stack `shop` are still running without a supervisor",
        "ended 2 processes",
        "nothing is wrong",
        "stack `shop` was killed, and its control group is left",
        "nothing of that is left",
        "nothing is wrong",
    ] {
        let at = rest
            .find(part)
            .unwrap_or_else(|| panic!("no `{part}` in {output}"));
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn a_living_run_is_not_ended_with_a_dead_one_of_the_same_stack() {
    let stack = TestStack::new("services: { it: { command: sleep 1000 } }");
    let script =
        "stack up -d; id=$(grep -o 'instance\": *\"[^\"]*' .stack/shop/lock | grep -o '[^\"]*$')
STACK_RUN=0123456789abcdef STACK_INSTANCE=$id STACK_PROJECT=shop setsid sleep 2000 &
until tr '\\0' '\n' < /proc/$!/environ | grep -q STACK_RUN=0123456789abcdef; do sleep 0.01; done
stack doctor; stack doctor --fix; stack ps; stack down";
    let Some(output) = alone(&stack, script) else {
        return;
    };
    let output = output.ok();
    let found = "1 process of stack `shop` is still running without a supervisor";
    assert_eq!(output.stdout.matches(found).count(), 2, "{output}");
    assert!(output.stdout.contains("ended 1 process\n"), "{output}");
    assert!(output.stdout.contains("running"), "{output}");
}

#[test]
fn what_runs_in_another_pid_namespace_is_for_somebody_there() {
    let stack = TestStack::new("services: { it: { command: sleep 1000 } }");
    let script = r#"export -f kill_both stack
unshare --pid --fork --mount-proc bash -c '
  stack up -d; kill_both; : > killed
  until [ -e seen ]; do sleep 0.01; done
  stack doctor --fix; stack doctor' "$0" &
until [ -e killed ]; do sleep 0.01; done
stack doctor; stack doctor --fix; : > seen; wait"#;
    let Some(output) = alone(&stack, script) else {
        return;
    };
    let output = output.ok();
    let lines = output.stdout.lines();
    let told: Vec<&str> = lines
        .filter(|line| line.starts_with("nothing") || line.contains("ended"))
        .map(str::trim)
        .collect();
    let expected = [
        "nothing is wrong",
        "nothing is wrong",
        "ended 1 process",
        "nothing is wrong",
    ];
    assert_eq!(told, expected, "{output}");
}

#[test]
fn a_killed_stack_without_ports_is_found_wherever_it_was() {
    let stack = TestStack::new("services: { it: { command: sleep 1000 } }");
    // As after a power cut; then without its files, and without its directory.
    let all = "pid=$(pgrep -f '^sleep 1000'); kill_both; kill -KILL $pid; rm -f $own/*/none";
    for (lose, what) in [
        ("true", "was killed, and its files say that it runs"),
        ("rm -r .stack", "was killed, and has lost its files"),
        ("mv $PWD $PWD.gone", "was killed, and its directory"),
    ] {
        let script = format!(
            "dir=$PWD; stack up -d; {all}; {lose}; cd /; rmdir $own/stack-* 2>/dev/null
stack doctor; stack doctor --fix; stack doctor; ls \"$XDG_STATE_HOME/stack/runs\"
[ -d $dir ] || mv $dir.gone $dir; ls -A $dir/.stack/shop 2>/dev/null | grep -x leases"
        );
        let Some(output) = alone(&stack, &script) else {
            return;
        };
        assert_eq!(output.stdout.matches(what).count(), 2, "{output}");
        assert!(output.stdout.contains("nothing is wrong\n"), "{output}");
        if !lose.starts_with("mv") {
            assert!(output.stdout.ends_with("nothing is wrong\n"), "{output}");
        }
    }
}

#[test]
fn what_only_the_leases_name_is_found_without_ports_too() {
    // Neither its environment nor a group leads to it.
    let stack = TestStack::new("services: { it: { command: exec env -i sleep 1000 } }");
    let script = "stack up -d; until pgrep -f '^sleep 1000'; do :; done >/dev/null; kill_both; cd /
for group in $own/stack-*; do [ -d $group ] || continue
  for pid in $(cat $group/cgroup.procs); do echo $pid > $own/cgroup.procs; done; rmdir $group; done
stack doctor --fix; stack doctor; pgrep -f '^sleep 1000' || echo ended";
    let Some(output) = alone(&stack, script) else {
        return;
    };
    assert!(
        output.stdout.ends_with("nothing is wrong\nended\n"),
        "{output}"
    );
}
