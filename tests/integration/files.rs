//! A stack of several files, its profiles, and what `stack config` tells of both.

use std::fs::{self, File};

use serde_json::Value;

use crate::harness::{TestStack, phase_is};

#[test]
fn files_are_merged_in_the_order_in_which_they_are_named() {
    let mut stack = TestStack::new(
        "services: { a: { command: [MISBEHAVE], environment: { A: one, B: one } } }",
    );
    stack.write(
        "two.yaml",
        "services: { a: { environment: [B=two, C=two] } }",
    );
    stack.write(
        "three.yaml",
        "services: { a: { environment: { C: three } } }",
    );
    let three = File::open(stack.path("three.yaml")).expect("it was written");
    let arguments = [
        "-f",
        "stack.yaml",
        "-f",
        "two.yaml",
        "-f",
        "-",
        "config",
        "--format",
        "json",
    ];
    let mut command = stack.command(&arguments);
    command.stdin(three);
    let environment = |text: &str| {
        let shown: Value = serde_json::from_str(text).expect("it is JSON");
        shown["services"]["a"]["environment"].to_string()
    };
    let wanted = r#"{"A":"one","B":"two","C":"three"}"#;
    let output = command.output().expect("it can be executed");
    assert!(output.status.success(), "{output:?}");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(environment(&shown), wanted);
    // The same by the variable, and an override that nobody names.
    stack.set("STACK_FILE", "stack.yaml:two.yaml:three.yaml");
    assert_eq!(environment(&stack.run(&arguments[6..]).ok().stdout), wanted);
    stack.set("STACK_FILE", "");
    stack.write("stack.override.yaml", &stack.read("two.yaml"));
    let shown = stack.run(&arguments[6..]).ok().stdout;
    assert_eq!(environment(&shown), r#"{"A":"one","B":"two","C":"two"}"#);
    stack
        .run(&["-f", "stack.yaml", "-f", "none.yaml", "config"])
        .expect(2)
        .says(&["none.yaml"]);
}

#[test]
fn the_files_may_be_named_in_the_env_file_of_the_project() {
    let yaml = |name: &str| format!("services: {{ {name}: {{ command: sleep 1000 }} }}\n");
    let mut stack = TestStack::new(&yaml("usual"));
    stack.write("one.yaml", &yaml("one"));
    stack.write("two.yaml", &yaml("two"));
    fs_err::create_dir_all(stack.path("sub/below")).expect("it is new");
    stack.write(".env", "WHICH=two\nSTACK_FILE=one.yaml:${WHICH}.yaml\n");
    let services = |stack: &TestStack, directory: &str, arguments: &[&str]| {
        let arguments = [arguments, &["config", "--services"]].concat();
        let mut command = stack.command(&arguments);
        command.current_dir(stack.path(directory));
        stack.run_command(command).ok().stdout
    };
    for directory in ["", "sub", "sub/below"] {
        assert_eq!(services(&stack, directory, &[]), "one\ntwo\n");
    }
    // What is said in another way is stronger, and a nearer file.
    assert_eq!(services(&stack, "", &["-f", "stack.yaml"]), "usual\n");
    stack.write("sub/stack.yaml", &yaml("near"));
    assert_eq!(services(&stack, "sub/below", &[]), "near\n");
    stack.set("STACK_FILE", "two.yaml");
    assert_eq!(services(&stack, "", &[]), "two\n");
    stack.set("STACK_FILE", "");
    stack.write("other.env", "STACK_FILE=one.yaml\n");
    assert_eq!(services(&stack, "", &["--env-file", "other.env"]), "one\n");
    // It is there also behind our own block, and what runs is found by it.
    stack.run(&["up", "-d"]).ok();
    stack.run(&["ps"]).ok();
    assert_eq!(stack.ps().len(), 2);
    stack.down();
    stack.write(".env", "STACK_FILE=none.yaml\n");
    stack
        .run(&["config"])
        .expect(2)
        .says(&["there is no file `none.yaml` (STACK_FILE in .env)"]);
}

#[test]
fn what_is_shown_unresolved_means_the_same_from_the_project_directory() {
    let stack = TestStack::new(
        "include: [sub/stack.yaml]\nservices: { web: { command: sleep 100, env_file: own.env } }\n",
    );
    fs::create_dir(stack.path("sub")).expect("the directory is writable");
    stack.write("own.env", "OWN=1\n");
    stack.write("sub/api.env", "API=1\n");
    stack.write("sub/api.labels", "team=api\n");
    stack.write("sub/app.conf", "port = 1\n");
    stack.write(
        "sub/stack.yaml",
        "
configs: { app: { file: app.conf } }
services:
  api:
    command: sleep 100
    env_file: [api.env, { path: none.env, required: false }]
    label_file: api.labels
    configs: [app]
    watch: [{ path: src }, { path: /etc }]
  job: { command: sleep 100, working_dir: ../other, env_file: '${HOME}/none.env' }
",
    );
    let job = "env_file: '${HOME}/none.env'";
    let optional = "env_file: [{ path: '${HOME}/none.env', required: false }]";
    let yaml = stack.read("sub/stack.yaml").replace(job, optional);
    stack.write("sub/stack.yaml", &yaml);
    let shown = stack.run(&["config", "--no-resolve", "-o", "shown.yaml"]);
    shown.ok();
    let shown = stack.read("shown.yaml");
    for part in [
        "sub/api.env",
        "working_dir: sub\n",
        "sub/src",
        "path: /etc",
        "${HOME}/none.env",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert_eq!(
        stack.run(&["-f", "shown.yaml", "config"]).ok().stdout,
        stack.run(&["config"]).ok().stdout
    );
}

#[test]
fn an_included_service_runs_in_its_own_directory() {
    let stack = TestStack::new(
        "include: [api/stack.yaml]\nservices: { web: { command: 'pwd > web; sleep 100' } }",
    );
    fs::create_dir(stack.path("api")).expect("the directory is writable");
    stack.write(
        "api/stack.yaml",
        "services: { api: { command: 'echo $WHO > who; sleep 100', environment: ['WHO=${WHO}'] } }",
    );
    stack.write("api/.env", "WHO=me\n");
    stack.up_detached().ok();
    assert_eq!(stack.wait_for_file("api/who"), "me\n");
    assert!(
        stack
            .wait_for_file("web")
            .trim_end()
            .ends_with(stack.path("").to_string_lossy().trim_end_matches('/'))
    );
    stack.down().ok();
}

#[test]
fn a_service_of_a_profile_starts_with_it_or_by_its_name() {
    let yaml = "services: { web: { command: [sleep, '100'] }, db: { command: [sleep, '100'], profiles: [data] } }";
    let names = |stack: &TestStack| {
        let services = stack.ps();
        let names: Vec<String> = services.iter().map(|it| it.name().to_owned()).collect();
        names.join(" ")
    };
    for (arguments, wanted) in [
        (&["up", "-d"][..], "web"),
        (&["--profile", "data", "up", "-d"], "web db"),
        (&["up", "-d", "--profile", "*"], "web db"),
    ] {
        let stack = TestStack::new(yaml);
        stack.run(arguments).ok();
        assert_eq!(names(&stack), wanted, "{arguments:?}");
        stack.down().ok();
    }
    let stack = TestStack::new(yaml);
    stack.run(&["up", "-d", "db"]).ok();
    stack.wait_for("db", "it runs", phase_is("running"));
    stack.down().ok();
    let mut stack = TestStack::new(&yaml.replace("'100'] },", "'100'], depends_on: [db] },"));
    stack
        .run(&["up", "-d"])
        .expect(2)
        .says(&["`data`", "--profile data"]);
    assert_eq!(stack.files(), ["stack.yaml"]);
    stack.set("STACK_PROFILES", "data");
    stack.run(&["up", "-d"]).ok();
    assert_eq!(names(&stack), "web db");
    stack.down().ok();
}

/// A stack with something to see in every look of `config`.
fn looked_at() -> TestStack {
    let stack = TestStack::new(
        "services:
  web:
    command: [serve, $<PORT:auto>, '${WHO:?who is it}', '${LEVEL:-info}']
    environment: { PASSWORD: hunter2, DB: 'postgres://u:hunter2@h/x' }
  db: { command: [serve, '${WHO+them}'], profiles: [data, all] }
",
    );
    stack.write(
        "stack.override.yaml",
        "services:\n  web:\n    environment: [LEVEL=debug]\n",
    );
    stack
}

#[test]
fn config_shows_each_look_at_the_files() {
    let mut stack = looked_at();
    let config = |stack: &TestStack, flags: &[&str]| {
        let arguments = [&["config"], flags].concat();
        stack.run(&arguments).ok().stdout
    };
    // What is written needs no variable.
    let written = config(&stack, &["--no-resolve"]);
    assert!(
        written.contains("${WHO:?who is it}") && written.contains("LEVEL: debug"),
        "{written}"
    );
    let sources = config(&stack, &["--sources"]);
    for line in [
        "services.web.command[1]",
        "stack.yaml:3",
        "services.web.environment.LEVEL",
        "stack.override.yaml:3",
    ] {
        assert!(sources.contains(line), "{sources}");
    }
    let variables = config(&stack, &["--variables"]);
    let rows: Vec<Vec<&str>> = variables
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[1], ["LEVEL", "false", "info"]);
    assert_eq!(rows[2], ["WHO", "true", "them"]);
    let variables: Value =
        serde_json::from_str(&config(&stack, &["--variables", "--format", "json"])).expect("JSON");
    assert_eq!(variables[1]["required"], true);
    // Everything else needs it.
    stack.run(&["config"]).expect(2).says(&["who is it"]);
    stack.write(".env", "WHO=me\n");
    stack.set("LEVEL", "warn");
    assert_eq!(config(&stack, &["--services"]), "web\n");
    assert_eq!(
        config(&stack, &["--services", "--profile", "all"]),
        "web\ndb\n"
    );
    assert_eq!(config(&stack, &["--profiles"]), "all\ndata\n");
    assert_eq!(
        config(&stack, &["--profiles", "--format", "json"]).replace(char::is_whitespace, ""),
        r#"["all","data"]"#
    );
    let environment = config(&stack, &["--environment"]);
    for line in ["WHO=me  # .env\n", "LEVEL=warn  # the environment\n"] {
        assert!(environment.contains(line), "{environment}");
    }
    stack.write("other.env", "WHO=other\n");
    let environment = config(&stack, &["--env-file", "other.env", "--environment"]);
    assert!(
        environment.contains("WHO=other  # other.env\n"),
        "{environment}"
    );
    stack.set("STACK_ENV_FILES", "none.env,other.env");
    stack.run(&["config"]).expect(2).says(&["none.env"]);
    stack.run(&["config", "--services", "--profiles"]).expect(2);
}

#[test]
fn what_config_writes_is_loaded_again_and_holds_no_secret() {
    let stack = looked_at();
    stack.write(".env", "WHO=me\n");
    assert_eq!(stack.run(&["config", "-o", "shown.yaml"]).ok().stdout, "");
    let shown = stack.read("shown.yaml");
    assert_eq!(
        stack.run(&["-f", "shown.yaml", "config"]).ok().stdout,
        shown
    );
    for flags in [
        &["config"][..],
        &["config", "--no-resolve"],
        &["config", "--sources"],
        &["config", "--format", "json"],
    ] {
        let shown = stack.run(flags).ok().stdout;
        assert!(
            !shown.contains("hunter2") && shown.contains("postgres://u:********@h/x"),
            "{shown}"
        );
    }
}

#[test]
fn a_running_service_of_a_profile_goes_on_when_the_profile_is_not_named_again() {
    let yaml = "services: { web: { command: [sleep, '100'] }, db: { command: [sleep, '100'], profiles: [data] } }";
    let stack = TestStack::new(yaml);
    stack.run(&["--profile", "data", "up", "-d"]).ok();
    let pid = |name: &str| stack.service(name).and_then(|it| it.pid());
    let (web, db) = (pid("web"), pid("db"));
    assert!(web.is_some() && db.is_some());
    stack.write_yaml(&yaml.replace(
        "web: { command",
        "new: { command: [sleep, '100'] }, web: { command",
    ));
    stack.run(&["up", "-d"]).ok();
    assert_eq!((pid("web"), pid("db")), (web, db));
    assert!(pid("new").is_some());
    // It is not started either.
    stack.run(&["stop", "db"]).ok();
    stack.run(&["up", "-d"]).ok();
    assert_eq!((pid("web"), pid("db")), (web, None));
    stack.run(&["start", "db"]).ok();
    // Gone from the files, it goes.
    stack.write_yaml("services: { web: { command: [sleep, '100'] } }");
    stack.run(&["up", "-d"]).ok();
    assert_eq!((pid("web"), pid("db")), (web, None));
    stack.down().ok();
}
