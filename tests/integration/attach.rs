//! Services with a terminal or an open input, and `stack attach` at the keyboard of a real one.

use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::termios::LocalFlags;

use crate::harness::{CTRL_C, Terminal, TestStack, binary, require, wait_until};

const DETACH: &[u8] = b"\x10\x11";

/// `stack attach` on a terminal of its own.
#[track_caller]
fn attach(stack: &TestStack, arguments: &[&str]) -> Terminal {
    let arguments = [&["attach"], arguments].concat();
    let mut command = stack.command(&arguments);
    command.current_dir(stack.path(""));
    Terminal::start(stack.world(), &command)
}

#[track_caller]
fn is_raw(terminal: &Terminal) -> bool {
    !terminal.settings().local_flags.contains(LocalFlags::ICANON)
}

#[test]
fn a_service_with_tty_has_a_terminal_and_all_of_it_is_logged() {
    let yaml = "
services:
  tty:
    command: [sh, -c, 'test -t 0 && test -t 1 && test -t 2 && echo all; stty size; echo via > /dev/tty; echo term is $TERM']
    environment: { TERM: }
    tty: true
  none: { command: [sh, -c, 'test -t 0 || echo no terminal; read x || echo no input'] }
";
    let stack = TestStack::new(yaml);
    stack.run(&["up"]).ok();
    let log = String::from_utf8(stack.log("tty")).expect("text");
    assert_eq!(log, "all\r\n24 80\r\nvia\r\nterm is xterm-256color\r\n");
    assert_eq!(stack.log("none"), b"no terminal\nno input\n");
}

#[test]
fn what_is_typed_reaches_the_program_and_ctrl_c_is_a_key() {
    let yaml = "
services:
  web:
    command: [sh, -c, 'trap \"echo interrupted\" INT; printf \"name? \"; read name; echo hello $name; while :; do sleep 0.05; done']
    tty: true
";
    let stack = TestStack::new(yaml);
    stack.run(&["up", "-d"]).ok();
    // What the debugger asks with has no end of line.
    let terminal = attach(&stack, &["web"]);
    terminal.wait_for("name? ");
    wait_until("a raw terminal", || is_raw(&terminal).then_some(()));
    terminal.press(b"wor");
    terminal.wait_for("wor");
    terminal.press(b"ld\r");
    terminal.wait_for("hello world");
    terminal.press(CTRL_C);
    terminal.wait_for("interrupted");
    terminal.press(&DETACH[..1]);
    terminal.press(&DETACH[1..]);
    wait_until("the own settings", || (!is_raw(&terminal)).then_some(()));
    let (code, screen) = terminal.wait();
    assert_eq!(code, 0, "{screen}");
    assert!(screen.contains("detached from web"), "{screen}");
    assert!(stack.service("web").is_some_and(|web| web.pid().is_some()));
    let log = String::from_utf8_lossy(&stack.log("web")).into_owned();
    assert!(log.contains("name? world\r\nhello world\r\n"), "{log:?}");
    stack.down();
}

#[test]
fn the_size_of_the_terminal_is_passed_on() {
    let yaml = "
services:
  web:
    command: [sh, -c, 'trap \"stty size\" WINCH; echo ready; while :; do sleep 0.05; done']
    tty: true
";
    let stack = TestStack::new(yaml);
    stack.run(&["up", "-d"]).ok();
    stack.wait_for_log("web", "ready");
    let terminal = attach(&stack, &["web"]);
    terminal.wait_for("ready");
    terminal.resize(50, 132);
    terminal.wait_for("50 132");
    terminal.press(DETACH);
    assert_eq!(terminal.wait().0, 0);
    stack.down();
}

#[test]
fn the_terminal_of_an_up_in_the_foreground_passes_its_size_on_all_the_time() {
    let yaml = "
services:
  web:
    command: [sh, -c, 'trap \"stty size\" WINCH; stty size; while :; do sleep 0.05; done']
    tty: true
  quiet:
    command: [sh, -c, 'trap \"stty size\" WINCH; echo quiet; while :; do sleep 0.05; done']
    tty: true
    attach: false
";
    let stack = TestStack::new(yaml);
    let terminal = Terminal::start(stack.world(), &stack.command(&["up"]));
    terminal.wait_for("Ctrl-C stops the stack");
    stack.wait_for_log("quiet", "quiet");
    terminal.resize(50, 132);
    terminal.wait_for("50 132");
    // What begins later has it, too.
    terminal.resize(51, 133);
    terminal.wait_for("51 133");
    stack.run(&["restart", "web"]).ok();
    wait_until("the size of the new process", || {
        let log = String::from_utf8_lossy(&stack.log("web")).into_owned();
        (log.matches("51 133").count() == 2).then_some(())
    });
    assert_eq!(stack.log("quiet"), b"quiet\r\n");
    terminal.press(CTRL_C);
    terminal.wait();
}

#[test]
fn an_open_input_takes_lines_and_stays_open() {
    let yaml = "
services:
  cat: { command: [bash, -c, 'trap \"echo interrupted\" INT; echo ready; while :; do read line && echo got $line || [ $? -gt 128 ] || break; done; echo end'], stdin_open: true, replicas: 2 }
  shut: { command: MISBEHAVE sleep }
";
    let stack = TestStack::new(yaml);
    stack.run(&["up", "-d"]).ok();
    let terminal = attach(&stack, &["cat-2"]);
    terminal.wait_for("ready");
    terminal.press(b"one\n");
    terminal.wait_for("got one");
    assert!(!is_raw(&terminal));
    terminal.press(CTRL_C);
    terminal.wait_for("interrupted");
    terminal.press(DETACH);
    let (code, screen) = terminal.wait();
    assert_eq!(code, 0, "{screen}");
    // From a pipe, whose end closes nothing.
    let mut command = stack.command(&["attach", "cat"]);
    command.stdin(Stdio::piped());
    let script = format!(
        "printf 'two\\nthree\\n' | {} attach cat",
        binary().display()
    );
    let mut piped = Command::new("sh");
    piped.args(["-c", &script]).current_dir(stack.path(""));
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => piped.env(key, value),
            None => piped.env_remove(key),
        };
    }
    let mut piped = crate::harness::Up::start(stack.world(), piped);
    piped.wait_for_line("got three");
    let log = String::from_utf8_lossy(&stack.log("cat@2")).into_owned();
    assert!(log.contains("got one") && !log.contains("got two"), "{log}");
    assert!(!log.contains("end"), "{log}");
    stack
        .run(&["attach", "shut"])
        .expect(1)
        .says(&["shut takes no input", "stdin_open: true"]);
    stack
        .run(&["attach", "cat", "--index", "3"])
        .expect(2)
        .says(&["has no replica 3"]);
    stack.run(&["stop", "cat"]).ok();
    stack
        .run(&["attach", "cat"])
        .expect(1)
        .says(&["cat-1 is not running"]);
    stack.down();
    stack.run(&["attach", "cat"]).expect(4);
}

#[test]
fn it_ends_with_its_service_and_the_terminal_is_as_it_was() {
    let yaml = "
services:
  web: { command: [sh, -c, 'echo ready; read x; exit 7'], tty: true }
  other: { command: MISBEHAVE sleep, tty: true }
";
    let stack = TestStack::new(yaml);
    stack.run(&["up", "-d"]).ok();
    let terminal = attach(&stack, &["web"]);
    terminal.wait_for("ready");
    terminal.press(b"\r");
    wait_until("the own settings", || (!is_raw(&terminal)).then_some(()));
    let (code, screen) = terminal.wait();
    assert_eq!(code, 7, "{screen}");
    assert!(screen.contains("web exited with code 7"), "{screen}");
    // Whatever becomes of the other side.
    let terminal = attach(&stack, &["other"]);
    wait_until("a raw terminal", || is_raw(&terminal).then_some(()));
    stack.world().processes();
    stack.own_process("supervisor_pid").signal(Signal::SIGKILL);
    wait_until("the own settings", || (!is_raw(&terminal)).then_some(()));
    terminal.wait();
    stack.world().wait_until_nothing_is_left();
}

#[test]
fn an_input_that_nobody_reads_keeps_nobody() {
    let yaml = "
services:
  deaf: { command: MISBEHAVE sleep, stdin_open: true }
";
    let stack = TestStack::new(yaml);
    stack.run(&["up", "-d"]).ok();
    stack.write("much", &"x".repeat(1024 * 1024));
    let script = format!("exec {} attach deaf < much", binary().display());
    let mut command = Command::new("sh");
    command.args(["-c", &script]).current_dir(stack.path(""));
    for (key, value) in stack.command(&[]).get_envs() {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    let attached = crate::harness::Up::start(stack.world(), command);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(stack.run(&["ps"]).ok().stdout.matches("running").count(), 1);
    attached.signal(Signal::SIGTERM);
    attached.wait().expect(143);
    stack.down();
}

#[test]
fn what_is_pasted_to_a_service_that_reads_nothing_keeps_nobody_from_detaching() {
    let yaml = "services: { deaf: { command: MISBEHAVE sleep, stdin_open: true } }";
    let stack = TestStack::new(yaml);
    stack.run(&["up", "-d"]).ok();
    // More than the pipe holds: in more lines than wait for it, and in a few long ones that all do.
    for lines in [
        "a pasted line\n".repeat(20_000),
        ("x".repeat(99) + "\n").repeat(2000),
    ] {
        let terminal = attach(&stack, &["deaf"]);
        terminal.wait_for("attached to deaf");
        terminal.paste(lines.as_bytes());
        terminal.press(DETACH);
        let (code, screen) = terminal.wait();
        assert_eq!(code, 0);
        assert!(screen.contains("detached from deaf; it has not read what was typed"));
    }
    stack.down();
}

#[test]
fn what_a_program_asked_its_terminal_before_is_not_asked_again() {
    let yaml = "
services:
  web: { command: \"printf 'a \\\\033[31mred\\\\033[m one\\\\n\\\\033[6n\\\\033[cready> '; exec cat\", tty: true }
";
    let stack = TestStack::new(yaml);
    stack.run(&["up", "-d"]).ok();
    stack.wait_for_log("web", "ready> ");
    let terminal = attach(&stack, &["web"]);
    terminal.wait_for("ready> ");
    wait_until("a raw terminal", || is_raw(&terminal).then_some(()));
    terminal.press(DETACH);
    let (_, screen) = terminal.wait();
    assert!(screen.contains("a \x1b[31mred\x1b[0m one"), "{screen:?}");
    assert!(
        !screen.contains("\x1b[6n") && !screen.contains("\x1b[c"),
        "{screen:?}"
    );
    stack.down();
}

#[test]
fn attach_waits_for_a_service_that_is_on_its_way() {
    let yaml = "
services:
  db: { command: MISBEHAVE sleep, healthcheck: { test: test -e ready, start_interval: 20ms, start_period: 1m } }
  web: { command: [sh, -c, 'read name; echo hello $name'], stdin_open: true, depends_on: { db: { condition: service_healthy } } }
  three: { command: MISBEHAVE sleep, stdin_open: true, replicas: 3 }
";
    let stack = TestStack::new(yaml);
    stack.run(&["up", "-d", "three"]).ok();
    stack.run(&["start", "db"]).ok();
    let starting = stack.start(&["start", "web"]);
    stack.wait_for("web", "waiting", crate::harness::phase_is("waiting"));
    let terminal = attach(&stack, &["web"]);
    terminal.wait_for("waiting until web runs");
    stack.write("ready", "");
    starting.wait().expect(0);
    terminal.wait_for("attached to web");
    terminal.press(b"world\n");
    terminal.wait_for("hello world");
    terminal.wait();
    let wrong = stack.run(&["attach", "three-1", "--index", "2"]).expect(2);
    wrong.says(&["`three-1` is replica 1, and `--index` wants another"]);
    let wrong = stack.run(&["attach", "three-4"]).expect(2);
    wrong.says(&["`three` has no replica 4"]);
    stack.down();
}

#[test]
fn a_watcher_that_ends_with_its_input_is_told_why() {
    let yaml = "
services:
  css: { command: [sh, -c, 'echo watching; cat > /dev/null; echo good bye'] }
  job: { command: 'echo done' }
";
    let stack = TestStack::new(yaml);
    let output = stack.run(&["up"]).ok();
    output.says(&[
        "css",
        "its standard input is closed",
        "`stdin_open: true` keeps it open",
    ]);
    stack.write_yaml(&yaml.replace("good bye'] }", "good bye'], stdin_open: true }"));
    stack.run(&["up", "-d"]).ok();
    stack.wait_for_log("css", "watching");
    wait_until("one that stays", || stack.service("css")?.pid());
    stack.down();
}

#[test]
fn pdb_is_used_through_attach() {
    if !require("python3") {
        return;
    }
    let stack = TestStack::new("services: { app: { command: python3 -m pdb app.py, tty: true } }");
    stack.write("app.py", "x = 41\nx += 1\nprint('answer', x)\n");
    stack.run(&["up", "-d"]).ok();
    let terminal = attach(&stack, &["app"]);
    terminal.wait_for("(Pdb) ");
    terminal.press(b"n\r");
    terminal.wait_for("x += 1");
    terminal.press(b"n\r");
    terminal.wait_for("print('answer', x)");
    terminal.press(b"p x * 2\r");
    terminal.wait_for("84");
    terminal.press(DETACH);
    assert_eq!(terminal.wait().0, 0);
    stack.down();
}

#[test]
fn node_inspect_is_used_through_attach() {
    if !require("node") {
        return;
    }
    let yaml = "services: { app: { command: node inspect --port=$<PORT:auto> app.js, tty: true } }";
    let stack = TestStack::new(yaml);
    stack.write(
        "app.js",
        "let x = 41;\nx += 1;\nconsole.log('answer', x);\n",
    );
    stack.run(&["up", "-d"]).ok();
    let terminal = attach(&stack, &["app"]);
    terminal.wait_for("debug> ");
    terminal.press(b"next\r");
    terminal.wait_for("break in app.js:2");
    terminal.press(b"exec('x * 2')\r");
    terminal.wait_for("82");
    terminal.press(DETACH);
    assert_eq!(terminal.wait().0, 0);
    stack.down();
}
