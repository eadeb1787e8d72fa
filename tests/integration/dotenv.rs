//! The generated `.env`, and the commands that hand out its values.

use std::os::unix::fs::{PermissionsExt, symlink};

use fs_err as fs;

use crate::harness::{TestStack, Up};

const TWO: &str = "
dotenv:
  vars: { API_URL: 'http://127.0.0.1:$<skin-ai.api.PORT>', GREETING: it's a \"test\" }
services:
  skin-ai.api: { command: MISBEHAVE bind $<PORT:auto> --http }
  web: { command: MISBEHAVE bind $<METRICS:auto> }
";

#[test]
fn ports_and_vars_are_written_under_their_names() {
    let stack = TestStack::new(TWO);
    stack.up_detached();
    let dotenv = stack.dotenv();
    let port = stack.port(8000).to_string();
    assert_eq!(dotenv["SKIN_AI_API_PORT"], port);
    assert_eq!(dotenv["WEB_METRICS"], stack.port(8001).to_string());
    assert_eq!(dotenv["API_URL"], format!("http://127.0.0.1:{port}"));
    stack.down();
    // The ports are sticky, so the file stays true.
    assert_eq!(stack.dotenv(), dotenv);
}

#[test]
fn foreign_bytes_are_kept_and_the_mode_too() {
    let stack = TestStack::new(TWO);
    let mine = "# mine\r\nSECRET='a=b#c'\n\n  export X=1\nlast line without an end";
    stack.write(".env", mine);
    fs::set_permissions(stack.path(".env"), PermissionsExt::from_mode(0o640)).expect("it is ours");
    stack.up_detached();
    let text = stack.read(".env");
    assert!(text.starts_with(mine), "{text}");
    let mode = fs::metadata(stack.path(".env"))
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o640);
    stack.down();
}

#[test]
fn a_new_file_is_for_its_owner_alone() {
    let stack = TestStack::new(TWO);
    stack.up_detached();
    let mode = fs::metadata(stack.path(".env"))
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    stack.down();
}

#[test]
fn a_symbolic_link_is_followed() {
    let stack = TestStack::new(TWO);
    stack.write("shared.env", "MINE=1\n");
    symlink("shared.env", stack.path(".env")).expect("the directory is writable");
    stack.up_detached();
    assert!(
        fs::symlink_metadata(stack.path(".env"))
            .expect("it is there")
            .is_symlink()
    );
    assert!(stack.read("shared.env").contains("SKIN_AI_API_PORT"));
    stack.down();
}

#[test]
fn a_link_into_another_stacks_directory_is_a_mistake() {
    let stack = TestStack::new(TWO);
    stack.up_detached();
    let before = stack.read(".env");
    let tree = TestStack::in_world(stack.world(), "tree", TWO);
    symlink(stack.path(".env"), tree.path(".env")).expect("the directory is writable");
    let output = tree.run(&["up", "-d"]).expect(2);
    let target = stack.path(".env").display().to_string();
    assert!(output.stderr.contains(&target), "{output}");
    assert!(output.stderr.contains(".env.local"), "{output}");
    assert_eq!(stack.read(".env"), before);
    stack.down();
}

#[test]
fn nothing_is_written_when_nothing_changed() {
    use std::os::unix::fs::MetadataExt;
    let stack = TestStack::new(TWO);
    stack.up_detached();
    stack.down();
    let inode = || fs::metadata(stack.path(".env")).expect("it is there").ino();
    let before = (inode(), stack.read(".env"));
    stack.up_detached();
    assert_eq!((inode(), stack.read(".env")), before);
    stack.down();
}

#[test]
fn a_stack_without_ports_or_vars_removes_its_old_block() {
    let stack = TestStack::new(TWO);
    stack.write(".env", "MINE=1\n");
    stack.up_detached();
    stack.down();
    assert_ne!(stack.read(".env"), "MINE=1\n");
    stack.write_yaml("services: { job: { command: 'true' } }");
    stack.up().wait().ok();
    assert_eq!(stack.read(".env"), "MINE=1\n");
}

#[test]
fn dotenv_false_writes_no_file() {
    let stack = TestStack::new(
        "dotenv: false\nservices: { api: { command: MISBEHAVE bind $<PORT:auto> } }",
    );
    stack.up_detached();
    assert!(!stack.path(".env").exists());
    stack.down();
}

#[test]
fn another_path_is_honoured() {
    let stack = TestStack::new(
        "dotenv: { path: config/ports.env }\nservices: { api: { command: MISBEHAVE bind $<PORT:auto> } }",
    );
    fs::create_dir(stack.path("config")).expect("the directory is writable");
    stack.up_detached();
    assert!(stack.read("config/ports.env").contains("API_PORT="));
    assert!(!stack.path(".env").exists());
    stack.down();
}

#[test]
fn env_prints_the_same_values_in_every_format() {
    let stack = TestStack::new(TWO);
    stack.up_detached();
    let port = stack.port(8000).to_string();
    let json = stack.run(&["env", "--format", "json"]).ok().stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["SKIN_AI_API_PORT"], port);
    assert_eq!(json["GREETING"], "it's a \"test\"");
    let dotenv = stack.run(&["env", "--format", "dotenv"]).ok().stdout;
    assert!(
        dotenv.contains(&format!("SKIN_AI_API_PORT={port}")),
        "{dotenv}"
    );
    let shell = stack.run(&["env", "--format", "shell"]).ok().stdout;
    stack.write("env.sh", &shell);
    stack.down();
    // A shell is the judge of what is meant for a shell.
    let mut judge = std::process::Command::new("sh");
    judge
        .args(["-c", ". ./env.sh; printf %s \"$GREETING\""])
        .current_dir(stack.path(""));
    let judged = Up::start(stack.world(), judge).wait().ok();
    assert_eq!(judged.stdout, "it's a \"test\"");
}

#[test]
fn run_executes_a_command_with_the_values_and_hands_its_code_on() {
    let stack = TestStack::new(TWO);
    stack.up_detached();
    let run = |script: &str| stack.run(&["run", "--", "sh", "-c", script]);
    let output = run("echo $SKIN_AI_API_PORT; echo ${STACK_INSTANCE:-unmarked}").ok();
    assert_eq!(output.stdout, format!("{}\nunmarked\n", stack.port(8000)));
    run("exit 42").expect(42);
    run("kill -TERM $$").expect(143);
    stack.down();
}

#[test]
fn env_needs_values_and_warns_when_they_are_the_last_ones() {
    let stack = TestStack::new(TWO);
    stack.run(&["env"]).expect(4);
    stack.up_detached();
    stack.down();
    let output = stack.run(&["env", "--format", "dotenv"]).ok();
    assert!(output.stdout.contains("SKIN_AI_API_PORT="), "{output}");
    assert!(!output.stderr.is_empty(), "no warning");
}

#[test]
fn a_service_gets_its_own_port_the_others_and_the_marks() {
    let stack = TestStack::new(
        "
environment: { LEVEL: info, GONE: x }
services:
  api: { command: MISBEHAVE bind $<PORT:auto> --http }
  job:
    command: MISBEHAVE env-dump dump
    environment: { LEVEL: debug, GONE: null, URL: 'http://localhost:$<api.PORT>' }
",
    );
    stack.up_detached();
    let dump = stack.wait_for_file("dump");
    let has = |line: &str| dump.lines().any(|other| other == line);
    let port = stack.port_of("api");
    assert!(has(&format!("API_PORT={port}")), "{dump}");
    assert!(has(&format!("URL=http://localhost:{port}")), "{dump}");
    assert!(has("LEVEL=debug"), "{dump}");
    for mark in ["STACK_PROJECT=shop", "STACK_SERVICE=job", "STACK_REPLICA=1"] {
        assert!(has(mark), "{dump}");
    }
    assert!(dump.contains("STACK_INSTANCE=shop-"), "{dump}");
    assert!(dump.contains("STACK_RUN="), "{dump}");
    assert!(!dump.contains("control.sock"), "{dump}");
    // A stray PORT breaks tools; the job declares none.
    assert!(
        !dump
            .lines()
            .any(|line| line.starts_with("PORT=") || line.starts_with("GONE="))
    );
    stack.down();
}

#[test]
fn a_fifo_is_never_opened() {
    let stack = TestStack::new(TWO);
    stack.up_detached();
    fs::remove_file(stack.path(".env")).expect("it is ours");
    nix::unistd::mkfifo(&stack.path(".env"), nix::sys::stat::Mode::S_IRWXU).expect("it is ours");
    stack.run(&["ps"]).ok();
    stack.run(&["config"]).ok();
    stack.down();
    let output = stack.run(&["up", "-d"]).expect(1);
    assert!(output.stderr.contains("is not a regular file"), "{output}");
    stack.write_yaml(
        "services: { it: { command: MISBEHAVE sleep, env_file: .env } }\ndotenv: false",
    );
    let output = stack.run(&["up", "-d"]).expect(2);
    assert!(output.stderr.contains("it is a FIFO"), "{output}");
}
