//! Mistakes in `stack.yaml`: all of them at once, each at its place, and nothing happens.

use crate::harness::{Output, TestStack};

/// Runs `up` on a file with mistakes: exit code 2, nothing started, nothing written.
#[track_caller]
fn refused(yaml: &str) -> Output {
    let stack = TestStack::new(yaml);
    let output = stack.run(&["up"]).expect(2);
    assert_eq!(stack.files(), ["stack.yaml"], "something was written");
    assert_eq!(output.stdout, "");
    output
}

#[test]
fn all_mistakes_are_shown_at_once_with_their_places() {
    let output = refused(
        "services:
  api:
    comand: touch api
    restart: sometimes
  web:
    command: serve --port $<api.PROT>
    depends_on: [apy]
  job: { command: touch job, stop_grace_period: soon }
",
    );
    output.says(&[
        "stack.yaml:3:5",
        "comand",
        "command",
        "stack.yaml:4",
        "sometimes",
        "stack.yaml:6",
        "PROT",
        "stack.yaml:7",
        "apy",
        "api",
        "stack.yaml:8",
        "soon",
        "stack::",
    ]);
}

#[test]
fn the_line_itself_is_shown() {
    refused("services:\n  api:\n    comand: touch api\n").says(&["comand: touch api"]);
}

#[test]
fn a_duplicate_key_is_an_error_at_the_second() {
    refused("services:\n  web: { command: a }\n  web: { command: b }\n")
        .says(&["stack.yaml:3:3", "web"]);
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in [
        "../x",
        "a/b",
        ".",
        "..",
        "-x",
        "a\\0b",
        "\u{202e}x",
        &"x".repeat(65_536),
    ] {
        refused(&format!(
            "services: {{ \"{name}\": {{ command: touch a }} }}"
        ));
    }
    let stack = TestStack::new("services: { a: { command: touch a } }");
    stack.run(&["-p", "../x", "up"]).expect(2).says(&["../x"]);
    assert_eq!(stack.files(), ["stack.yaml"]);
    // Of the name of a project what cannot stand in one is left out.
    stack.write_yaml("name: ../x\nservices: { a: { command: touch a } }");
    stack.up().wait().ok();
    assert!(stack.path(".stack/x").is_dir());
    assert!(!stack.path("x").exists());
}

#[test]
fn an_alias_bomb_is_refused_in_time() {
    let mut yaml = String::from("x-a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let below = format!("*a{}", level - 1);
        let list = vec![below; 10].join(", ");
        yaml = format!("{yaml}x-a{level}: &a{level} [{list}]\n");
    }
    yaml += "services: { a: { command: touch a } }\n";
    refused(&yaml);
}

#[test]
fn deep_nesting_is_refused_in_time() {
    let depth = 200_000;
    refused(&format!(
        "services: {}{}\n",
        "[".repeat(depth),
        "]".repeat(depth)
    ));
}

#[test]
fn a_big_file_is_read_in_time() {
    let filler = "# nothing but a comment that goes on for a while, and then some more of it\n";
    let yaml = format!(
        "services: {{ a: {{ command: touch a }} }}\n{}",
        filler.repeat(10_000_000 / filler.len())
    );
    let stack = TestStack::new(&yaml);
    stack.up().wait().ok();
    assert!(stack.path("a").exists());
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    for (bytes, what) in [
        (&b"services:\n  a: \xff\n"[..], "UTF-8"),
        (b"services:\n  a: \0\n", ""),
    ] {
        let stack = TestStack::new("");
        fs_err::write(stack.path("stack.yaml"), bytes).expect("the directory is writable");
        stack.run(&["up"]).expect(2).says(&["stack.yaml", what]);
        assert_eq!(stack.files(), ["stack.yaml"]);
    }
}

#[test]
fn an_empty_file_and_a_second_document_are_refused() {
    refused("");
    refused("services: { a: { command: touch a } }\n---\nservices: {}\n").says(&["stack.yaml:2"]);
}

#[test]
fn a_byte_order_mark_and_crlf_are_fine() {
    let stack = TestStack::new("\u{feff}services:\r\n  a:\r\n    command: touch a\r\n");
    stack.up().wait().ok();
    assert!(stack.path("a").exists());
}

#[test]
fn a_file_of_the_haskell_tool_is_recognised() {
    refused("resolver: lts-22.0\npackages: [.]\nextra-deps: []\n").says(&["Haskell"]);
}

#[test]
fn keys_that_are_not_built_yet_say_so() {
    refused("services: { a: { command: touch a, image: alpine } }")
        .says(&["image", "not supported yet"]);
}

#[test]
fn keys_that_need_a_container_name_the_way_out() {
    refused("services: { a: { command: touch a, volumes: ['.:/x'] } }").says(&[
        "volumes",
        "container",
        "a",
    ]);
}

#[test]
fn a_missing_variable_with_a_message_is_refused() {
    refused(
        "services: { a: { command: touch a, environment: { K: '${NO_SUCH_VARIABLE:?set it}' } } }",
    )
    .says(&["NO_SUCH_VARIABLE", "set it"]);
}

#[test]
fn without_a_file_there_is_a_starter_to_copy() {
    let stack = TestStack::new("");
    fs_err::remove_file(stack.path("stack.yaml")).expect("it was written");
    stack
        .run(&["up"])
        .expect(2)
        .says(&["services:", "command:"]);
    let files = stack.files();
    assert!(files.is_empty(), "{files:?}");
}

#[test]
fn the_file_is_found_upwards_and_paths_start_at_its_directory() {
    let stack = TestStack::new("services: { a: { command: touch a } }");
    let below = stack.path("deep/below");
    fs_err::create_dir_all(&below).expect("the directory is writable");
    let mut command = stack.command(&["up"]);
    command.current_dir(below);
    crate::harness::Up::start(stack.world(), command)
        .wait()
        .ok();
    assert!(stack.path("a").exists());
}

#[test]
fn shell_text_is_the_shells() {
    let mut stack = TestStack::new(
        "services: { a: { command: 'echo \"$WHO ${MISSING:-default} $((1+1)) $(echo sub)\" > out', environment: { WHO: me } } }",
    );
    stack.set("MISSING", "");
    stack.up().wait().ok();
    assert_eq!(stack.read("out"), "me default 2 sub\n");
}

#[test]
fn scalars_keep_their_source_text() {
    let stack = TestStack::new(
        "services: { a: { command: MISBEHAVE env-dump dump, environment: { A: 1.10, B: no, C: 010, D: 22:22, E: 12345678901234567890123 } } }",
    );
    stack.up().wait().ok();
    let dump = stack.read("dump");
    for line in [
        "A=1.10",
        "B=no",
        "C=010",
        "D=22:22",
        "E=12345678901234567890123",
    ] {
        assert!(dump.lines().any(|other| other == line), "{line} in {dump}");
    }
}

#[test]
fn merge_keys_and_anchors_work() {
    let stack = TestStack::new(
        "
x-base: &base { environment: { FROM: base } }
services:
  a: { <<: *base, command: MISBEHAVE env-dump dump }
",
    );
    stack.up().wait().ok();
    assert!(stack.read("dump").lines().any(|line| line == "FROM=base"));
}
