//! Text that is not ours (what checks print, names of files and programs) and what is shown of it:
//! nothing that a terminal would obey. And what cannot be shown at all.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::harness::{Terminal, TestStack, Up, misbehave, phase_is, require};

/// Reaches the clipboard, clears the screen, and leaves a word.
const HOSTILE: &str = "\u{1b}]52;c;aGk=\u{7}\u{1b}[2Jbad";

#[track_caller]
fn assert_harmless(what: &str, shown: &str) {
    // Colours and what the live region needs are ours.
    let is_harmless = !shown.contains("\u{1b}]") && !shown.contains("\u{1b}[2J");
    assert!(is_harmless, "{what}: {shown:?}");
}

/// A stack whose check and whose program are hostile.
fn hostile() -> TestStack {
    TestStack::new(
        r#"services:
  checked:
    command: MISBEHAVE sleep
    healthcheck: { test: 'printf "\033]52;c;aGk=\007\033[2Jbad"; exit 1', interval: 100ms, retries: 1 }
  missing: { command: ["/no\e]52;c;aGk=\a\e[2Jbad"] }
"#,
    )
}

#[test]
fn what_checks_and_names_hold_does_not_reach_a_terminal() {
    if !require("setsid") {
        return;
    }
    let stack = hostile();
    let on_a_terminal = |arguments: &[&str]| {
        let (_, screen) = Terminal::start(stack.world(), &stack.command(arguments)).wait();
        assert_harmless(&arguments.join(" "), &screen);
        screen
    };
    on_a_terminal(&["up", "--wait", "--wait-timeout", "5"]);
    stack.wait_for("checked", "unhealthy", phase_is("unhealthy"));
    for arguments in [
        &["ps"][..],
        &[],
        &["ps", "--format", "json"],
        &["up", "--wait", "--wait-timeout", "5"],
        &["up", "-d"],
        &["start", "missing"],
        &["ports"],
        &["config"],
        &["down"],
    ] {
        on_a_terminal(arguments);
    }
    let screen = on_a_terminal(&["ps"]);
    assert!(screen.contains("/nobad"), "the rest is shown: {screen}");
}

#[test]
fn what_services_print_does_not_steer_a_terminal() {
    if !require("setsid") {
        return;
    }
    let stack = TestStack::new(
        r#"services: { it: { command: 'printf "\033]52;c;aGk=\007\033[2J\033]0;title\007bad\n"' } }"#,
    );
    for arguments in [["up"], ["logs"]] {
        let (_, screen) = Terminal::start(stack.world(), &stack.command(&arguments)).wait();
        assert_harmless(arguments[0], &screen);
        assert!(screen.contains("bad"), "the rest is shown: {screen}");
    }
    // The file has what was printed.
    assert_eq!(
        stack.log("it"),
        b"\x1b]52;c;aGk=\x07\x1b[2J\x1b]0;title\x07bad\n"
    );
}

#[test]
fn nor_does_it_reach_a_pipe_in_what_we_say() {
    let stack = hostile();
    let output = stack.run(&["up", "--wait", "--wait-timeout", "5"]);
    assert_harmless("up", &output.stderr);
    let output = stack.run(&["ps"]);
    assert_harmless("ps", &output.stdout);
    assert!(output.stdout.contains("/nobad"), "{output}");
    stack.down();
    let no_file = format!("{HOSTILE}.yaml");
    let missing = stack.run(&["-f", &no_file, "up"]);
    let program = stack.run(&["run", "--", HOSTILE]);
    let verb = stack.run(&[HOSTILE]);
    let flag = stack.run(&["up", &format!("--{HOSTILE}")]);
    let service = stack.run(&["port", HOSTILE]);
    stack.write(".env", &format!("A{HOSTILE}=1\n"));
    let dotenv = stack.run(&["config"]);
    stack.write(".env", "");
    stack.write_yaml(&format!("services: {{ a: {{ comand: x }} }} # {HOSTILE}\n"));
    let control = stack.run(&["config"]);
    stack.write_yaml("services: { a: { command: x, \"k\\e[2J\\e]0;\": 1 } }\n");
    let key = stack.run(&["config"]);
    for output in [missing, program, verb, flag, service, dotenv, control, key] {
        assert!(!output.stderr.is_empty());
        assert_harmless("an error", &output.stderr);
    }
}

#[test]
fn colours_of_others_do_not_pass_in_what_we_say() {
    let colour = "\u{1b}[31m";
    let stack = TestStack::new(
        r#"services:
  checked:
    command: MISBEHAVE sleep
    healthcheck: { test: 'printf "\033[31mbad"; exit 1', interval: 100ms, retries: 1 }
  program: { command: ["./pr\e[31mog"] }
  place: { command: MISBEHAVE sleep, working_dir: "/no\e[31mpe" }
  behind: { command: MISBEHAVE sleep, depends_on: [program] }
"#,
    );
    for progress in ["plain", "json"] {
        let up = [
            "up",
            "--progress",
            progress,
            "--wait",
            "--wait-timeout",
            "5",
        ];
        let said = stack.run(&up).stderr;
        assert!(said.contains("./prog") && said.contains("/nope"), "{said}");
        let text = said.replace("\\u001b", "\u{1b}");
        let texts = text.split("\"text\":").skip(1);
        let texts: Vec<&str> = texts.filter_map(|it| it.split("\",").next()).collect();
        let shown = if progress == "json" {
            texts.concat()
        } else {
            text
        };
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
        stack.down();
    }
    let coloured = format!("no{colour}ck");
    for wrong in [
        &["-p", &coloured, "ps"][..],
        &["-f", &coloured, "ps"],
        &["up", &coloured],
        &["port", &coloured],
        &["run", "--", &coloured],
        &[&coloured],
    ] {
        let said = stack.run(wrong).stderr;
        assert!(said.contains("ck") && !said.contains(colour), "{said:?}");
    }
}

#[test]
fn the_command_line_of_another_process_does_not_reach_a_terminal() {
    if !require("setsid") {
        return;
    }
    let stack = TestStack::new("services: { a: { command: MISBEHAVE sleep } }");
    let port = stack.port(8010).to_string();
    let mut program = Command::new(misbehave());
    program.arg0(HOSTILE).args(["bind", &port]);
    let mut holder = Up::start(stack.world(), program);
    stack.world().add_helper(holder.pid());
    holder.wait_for_line("listening on");
    let command = stack.command(&["ports", "who", &port]);
    let (_, screen) = Terminal::start(stack.world(), &command).wait();
    assert_harmless("ports who", &screen);
    assert!(screen.contains("bad"), "{screen}");
    let piped = stack.run(&["ports", "who", &port]);
    assert_harmless("ports who", &piped.stdout);
}

#[test]
fn what_cannot_be_written_is_no_success() {
    let stack = TestStack::new("services: { a: { command: MISBEHAVE bind $<PORT:auto> } }");
    stack.up_detached();
    for line in [
        "env",
        "ps",
        "ps --format json",
        "port a",
        "config",
        "ports",
        "ports free",
        "ports who 8000",
        "up --dry-run",
        "--help",
        "",
    ] {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let script = "exec \"$0\" \"$@\" > /dev/full";
        let output = stack.run_command(stack.wrapped(&["sh", "-c", script], &arguments));
        assert_eq!(
            (output.code, output.stderr.as_str()),
            (
                1,
                "error: cannot write to stdout: No space left on device\n"
            ),
            "stack {line}"
        );
    }
    stack.down();
}
