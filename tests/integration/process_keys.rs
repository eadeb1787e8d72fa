//! Keys about the process itself: a real child sees each of them.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use fs_err as fs;

use crate::harness::{Output, TestStack, lacks, phase_is, wait_until};

/// Whether this runs as root, who alone can start processes of others.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root() || lacks("root")
}

/// Lets every user into the directory of the test.
pub(crate) fn open_to_all(stack: &TestStack) {
    let directory = stack.path("");
    for directory in directory.ancestors() {
        let mode = fs::metadata(directory)
            .expect("it is there")
            .permissions()
            .mode();
        if mode & 0o005 != 0o005 {
            fs::set_permissions(directory, PermissionsExt::from_mode(mode | 0o055)).expect("ours");
        }
        if directory == stack.world().path() {
            return;
        }
    }
}

/// Runs services to their end and returns what they have printed, each line with its name.
#[track_caller]
fn lines(stack: &TestStack) -> Vec<String> {
    let output = stack.run(&["up"]).ok();
    let mut lines: Vec<String> = output
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    lines.sort();
    lines
}

#[track_caller]
fn says(stack: &TestStack, expected: &[&str]) {
    let lines = lines(stack);
    for line in expected {
        assert!(
            lines.iter().any(|it| it == line),
            "no `{line}` in {lines:#?}"
        );
    }
}

#[test]
fn a_process_is_its_users_with_that_users_groups() {
    if !is_root() {
        return;
    }
    let stack = TestStack::new(
        "
environment: { SHOW: 'echo $$(id -u):$$(id -g):$$(id -G | tr \" \" ,) $$HOME $${USER-none}' }
services:
  name: { command: [sh, -c, 'eval \"$$SHOW\"'], user: nobody }
  pair: { command: [sh, -c, 'eval \"$$SHOW\"'], user: 'nobody:4711' }
  number: { command: [sh, -c, 'eval \"$$SHOW\"'], user: 54321 }
  more: { command: [sh, -c, 'eval \"$$SHOW\"'], user: 'nobody:4711', group_add: [4712, root] }
  own: { command: [sh, -c, 'eval \"$$SHOW\"'], user: nobody, environment: { HOME: /own, USER: me } }
  ours: { command: [sh, -c, 'eval \"$$SHOW\"'] }
",
    );
    open_to_all(&stack);
    let ids = |text: &str| text.to_owned();
    let nobody = nix::unistd::User::from_name("nobody")
        .expect("readable")
        .expect("there");
    let (uid, gid) = (nobody.uid, nobody.gid);
    let home = nobody.dir.display();
    says(
        &stack,
        &[
            &ids(&format!("name | {uid}:{gid}:{gid} {home} nobody")),
            &ids(&format!("pair | {uid}:4711:4711 {home} nobody")),
            // As an engine has it: a number that nobody has is in group 0, and at home in `/`.
            &ids("number | 54321:0:0 / none"),
            &ids(&format!("more | {uid}:4711:4711,0,4712 {home} nobody")),
            &ids(&format!("own | {uid}:{gid}:{gid} /own me")),
        ],
    );
}

#[test]
fn a_process_has_the_umask_priority_and_limits_of_its_service() {
    let stack = TestStack::new(
        "
services:
  it:
    command: umask; nice; cat /proc/self/oom_score_adj; ulimit -n; ulimit -Hn; ulimit -c; touch made
    umask: 027
    nice: 7
    oom_score_adj: 321
    ulimits: { nofile: { soft: 100, hard: 200 }, core: 0, stack: -1 }
",
    );
    let output = stack.run(&["up"]).ok();
    let printed: Vec<&str> = output
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("it | "))
        .collect();
    assert_eq!(printed, ["0027", "7", "321", "100", "200", "0"]);
    let made = fs::metadata(stack.path("made")).expect("it was made");
    assert_eq!(made.permissions().mode() & 0o777, 0o640);
}

#[test]
fn a_check_runs_as_the_user_of_its_service() {
    if !is_root() {
        return;
    }
    let stack = TestStack::new(
        "
services:
  it:
    command: sleep 1000
    user: nobody
    umask: 077
    healthcheck: { test: '[ $(id -un) = nobody ] && [ $(umask) = 0077 ]', interval: 1s }
",
    );
    open_to_all(&stack);
    stack.up_detached();
    assert_eq!(stack.service("it").expect("it runs").phase(), "healthy");
    stack.down();
}

#[test]
fn a_process_of_another_user_can_open_its_standard_streams_anew() {
    if !is_root() {
        return;
    }
    let stack = TestStack::new(
        "services: { it: { command: 'echo out >/dev/stdout; echo err >/dev/stderr', user: nobody } }",
    );
    open_to_all(&stack);
    says(&stack, &["it | out", "it | err"]);
}

#[test]
fn a_process_of_another_user_is_stopped_with_all_that_it_started() {
    if !is_root() {
        return;
    }
    let stack = TestStack::new(
        "services: { it: { command: 'sleep 1000 & exec sleep 1000', user: nobody } }",
    );
    open_to_all(&stack);
    stack.up_detached();
    stack.down();
}

#[test]
fn a_user_that_does_not_exist_is_told_before_anything_starts() {
    let stack = TestStack::new(
        "
services:
  it: { command: touch it, user: 'nobdy' }
  other: { command: touch other, group_add: [nogrup] }
",
    );
    let output = stack.run(&["up"]).expect(2);
    output.says(&[
        "there is no user `nobdy`",
        "stack.yaml:3:",
        "there is no group `nogrup`",
        "stack.yaml:4:",
        "nothing was started",
    ]);
    assert_eq!(stack.files(), ["stack.yaml"]);
    // Who is not asked for is nobody's business.
    let output = stack.run(&["up", "other", "--dry-run"]).expect(2);
    assert!(!output.stderr.contains("no user"), "{output}");
}

/// `stack up` as nobody, who may do nothing.
fn up_as_nobody(stack: &TestStack) -> Output {
    stack.run_command(as_nobody(stack, &["up"]))
}

/// A call by somebody who may do nothing but run this stack.
pub(crate) fn as_nobody(stack: &TestStack, arguments: &[&str]) -> Command {
    open_to_all(stack);
    let mut command = stack.wrapped(
        &[
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
        ],
        arguments,
    );
    command.env_remove("STACK_TEST_REQUIRE");
    command
}

#[test]
fn what_takes_root_is_told_before_anything_starts() {
    let has = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if !is_root() || !(has("setpriv") || lacks("setpriv")) {
        return;
    }
    let stack = TestStack::new(
        "
services:
  user: { command: touch it, user: root }
  group: { command: touch it, group_add: [4711] }
  nice: { command: touch it, nice: -5 }
  score: { command: touch it, oom_score_adj: -1000 }
  limit: { command: touch it, ulimits: { nofile: { soft: 1, hard: -1 } } }
",
    );
    let output = up_as_nobody(&stack).expect(2);
    output.says(&[
        "`user: root` needs root: `stack` runs as nobody",
        "`group_add: 4711` needs root",
        "`nice: -5` needs root: it is 0 here",
        "`oom_score_adj: -1000` needs root",
        "`ulimits.nofile: unlimited` needs root: the hard limit here is",
    ]);
    assert_eq!(stack.files(), ["stack.yaml"]);
    // That of a hook likewise, and at its place.
    stack.write_yaml(
        "
services:
  it:
    command: touch it
    pre_start:
      - command: touch it
      - { command: touch it, user: root }
",
    );
    up_as_nobody(&stack).expect(2).says(&[
        "`user: root` needs root: `stack` runs as nobody",
        "stack.yaml:7:",
    ]);
    assert_eq!(stack.files(), ["stack.yaml"]);
}

#[test]
fn a_command_beside_a_service_has_its_user_and_its_limits() {
    let yaml = "
services:
  it:
    command: MISBEHAVE sleep
    umask: 027
    nice: 7
    oom_score_adj: 321
    ulimits: { nofile: { soft: 100, hard: 200 } }
";
    let stack = TestStack::new(yaml);
    stack.run(&["up", "-d"]).ok();
    let show =
        "umask; nice; cat /proc/self/oom_score_adj; ulimit -n; ulimit -Hn; id -un; echo $HOME";
    let beside = || {
        stack
            .run(&["run", "-s", "it", "--", "sh", "-c", show])
            .ok()
            .stdout
    };
    let printed = beside();
    assert!(printed.starts_with("0027\n7\n321\n100\n200\n"), "{printed}");
    if is_root() {
        open_to_all(&stack);
        stack.write_yaml(&format!("{yaml}    user: nobody\n"));
        stack.run(&["up", "-d"]).ok();
        let nobody = nix::unistd::User::from_name("nobody");
        let nobody = nobody.expect("readable").expect("there");
        let whose = format!("nobody\n{}\n", nobody.dir.display());
        let printed = beside();
        assert!(printed.ends_with(&whose), "{printed}");
    }
    stack.write_yaml(&format!("{yaml}    user: nobdy\n"));
    stack
        .run(&["run", "-s", "it", "--", "true"])
        .expect(126)
        .says(&["`true` cannot be executed: there is no user `nobdy`"]);
    stack.down();
}

#[test]
fn more_open_files_than_the_system_has_are_told_before_anything_starts() {
    if !is_root() {
        return;
    }
    let stack = TestStack::new(
        "services: { it: { command: touch it, ulimits: { core: -1, nofile: -1 } } }",
    );
    for arguments in [&["up", "--dry-run"][..], &["up"]] {
        stack.run(arguments).expect(2).says(&[
            "`ulimits.nofile: unlimited` is more than this system allows: `fs.nr_open` is",
            "stack.yaml:1:",
        ]);
    }
    assert_eq!(stack.files(), ["stack.yaml"]);
}

#[test]
fn who_one_is_already_takes_no_root() {
    let has = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if !is_root() || !(has("setpriv") || lacks("setpriv")) {
        return;
    }
    let stack = TestStack::new("services: { it: { command: id -u, user: 65534, nice: 3 } }");
    fs::set_permissions(stack.path(""), PermissionsExt::from_mode(0o777)).expect("ours");
    fs::create_dir_all(stack.world().state_dir()).expect("ours");
    fs::set_permissions(stack.world().state_dir(), PermissionsExt::from_mode(0o777)).expect("ours");
    let output = up_as_nobody(&stack).ok();
    assert!(output.stdout.contains("it | 65534"), "{output}");
}

#[test]
fn a_limit_that_the_kernel_denies_is_a_failed_start_that_names_it() {
    let has = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if !is_root() || !(has("setpriv") || lacks("setpriv")) {
        return;
    }
    let stack =
        TestStack::new("services: { it: { command: touch it, ulimits: { nofile: 2000 } } }");
    // Root without the right to raise a limit.
    let wrapper = [
        "prlimit",
        "--nofile=1024:1024",
        "setpriv",
        "--bounding-set=-sys_resource",
    ];
    let output = stack
        .run_command(stack.wrapped(&wrapper, &["up"]))
        .expect(1);
    output.says(&["its `ulimits` could not be set", "operation not permitted"]);
    assert!(!stack.path("it").exists());
}

#[test]
fn a_directory_that_is_closed_to_the_user_is_a_failed_start_that_names_it() {
    if !is_root() {
        return;
    }
    let stack = TestStack::new(
        "services: { it: { command: touch it, user: nobody, working_dir: closed } }",
    );
    fs::create_dir(stack.path("closed")).expect("ours");
    fs::set_permissions(stack.path("closed"), PermissionsExt::from_mode(0o700)).expect("ours");
    let output = stack.run(&["up"]).expect(1);
    output.says(&["its working directory", "permission denied"]);
}

#[test]
fn up_does_not_show_what_an_unattached_service_prints() {
    let stack = TestStack::new(
        "
services:
  seen: { command: echo seen }
  unseen: { command: echo unseen, attach: false }
",
    );
    let output = stack.run(&["up"]).ok();
    assert!(output.stdout.contains("seen   | seen") || output.stdout.contains("seen | seen"));
    assert!(!output.stdout.contains("unseen"), "{output}");
    let logs = stack.run(&["logs"]).ok();
    assert!(logs.stdout.contains("| unseen"), "{logs}");
}

#[test]
fn labels_come_from_files_too_and_init_is_said_to_do_nothing() {
    let stack = TestStack::new(
        "
services:
  it:
    command: 'true'
    label_file: it.labels
    labels: { both: own }
    annotations: [note=1]
    init: true
    expose: []
",
    );
    stack.write("it.labels", "both=file\nteam=web\n");
    let output = stack.run(&["config"]).ok();
    output.says(&["`init` does nothing"]);
    let config = stack.run(&["config"]).stdout;
    for part in ["label_file:", "both: own", "annotations:", "note: '1'"] {
        assert!(config.contains(part), "{part}: {config}");
    }
    stack.run(&["up"]).ok().says(&["`init` does nothing"]);
    fs::remove_file(stack.path("it.labels")).expect("it is there");
    stack
        .run(&["up"])
        .expect(2)
        .says(&["the label_file `it.labels` does not exist"]);
}

#[test]
fn a_service_that_asks_for_it_is_restarted_when_it_is_unhealthy() {
    let stack = TestStack::new(
        "
services:
  it:
    command: echo begun; rm -f sick; exec MISBEHAVE sleep
    healthcheck: { test: test ! -e sick, interval: 100ms, retries: 2 }
    on_unhealthy: restart
  left:
    command: MISBEHAVE sleep
    healthcheck: { test: 'false', interval: 100ms, retries: 1 }
",
    );
    stack.run(&["up", "-d"]).ok();
    let first = stack.wait_for("it", "healthy", phase_is("healthy")).pid();
    stack.write("sick", "");
    let again = stack.wait_for("it", "healthy again", |it| {
        it.phase() == "healthy" && it.pid() != first
    });
    assert_eq!(again.attempt(), 2);
    let log = fs::read_to_string(stack.path(".stack/shop/supervisor.log")).expect("it is there");
    assert!(
        log.contains("is unhealthy and is restarted for it"),
        "{log}"
    );
    let left = stack.wait_for("left", "unhealthy", phase_is("unhealthy"));
    assert_eq!(left.attempt(), 1);
    stack.down();
}

#[test]
fn the_restart_policy_of_deploy_is_one() {
    let stack = TestStack::new(
        "
services:
  it:
    command: echo begun; exit 3
    deploy: { restart_policy: { condition: on-failure, delay: 1ms, max_attempts: 2 } }
",
    );
    let output = stack.run(&["up"]).expect(1);
    assert_eq!(output.stdout.matches("begun").count(), 3, "{output}");
}

#[test]
fn listed_ports_are_those_on_which_the_command_listens_anyway() {
    let stack = TestStack::new(
        "
services:
  fixed: { command: MISBEHAVE bind P8005, ports: ['P8005:P8005'] }
  free: { command: [sh, -c, 'exec MISBEHAVE bind $$PORT'], ports: ['$<PORT:auto>'] }
  named: { command: MISBEHAVE bind P8006, expose: [{ target: P8006, name: web-ui }] }
",
    );
    stack.up_detached();
    let dotenv = stack.dotenv();
    let number = |key: &str| dotenv.get(key).and_then(|text| text.parse::<u16>().ok());
    assert_eq!(number("FIXED_PORT"), Some(stack.port(8005)));
    assert_eq!(number("NAMED_WEB_UI"), Some(stack.port(8006)));
    for service in ["fixed", "free", "named"] {
        let service = stack.service(service).expect("it runs");
        assert_eq!(service.port_state(), "listening", "{}", service.name());
    }
    stack.down();
}

#[test]
fn each_copy_has_directories_sockets_and_secrets_of_its_own() {
    let yaml = "
services:
  web:
    command: 'echo $<DATA:dir> $<SOCK:socket> $<TOKEN:secret> > is-$<replica>; touch $<DATA>/file; [ ! -e $<SOCK> ] && touch $<SOCK>; exec MISBEHAVE sleep'
    replicas: 2
  api:
    command: 'echo $<web.DATA> $<web.SOCK> $<web.TOKEN> $<web.HOST> > is-api; env | grep ^WEB_ > env-api; exec MISBEHAVE sleep'
    depends_on: [web]
";
    let stack = TestStack::new(yaml);
    let other = TestStack::in_world(stack.world(), "two", yaml);
    let seen = |stack: &TestStack| {
        stack.run(&["up", "-d"]).ok();
        let texts = ["is-1", "is-2", "is-api"].map(|name| {
            let text = wait_until(name, || {
                let text = fs::read_to_string(stack.path(name)).ok()?;
                text.ends_with('\n').then_some(text)
            });
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<String>>()
        });
        wait_until("env-api", || fs::metadata(stack.path("env-api")).ok());
        texts
    };
    let [first, second, api] = seen(&stack);
    assert_eq!(api, [&first[..], &["127.0.0.1".to_owned()]].concat());
    assert_ne!(first[0], second[0], "two replicas have one directory");
    assert_ne!(first[1], second[1], "two replicas have one socket");
    assert_eq!(first[2], second[2], "two replicas have two secrets");
    assert_eq!(first[2].len(), 64);
    let mode = |path: &str| {
        fs::metadata(path)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(&first[0]), 0o700);
    let secret = stack.path(".stack/shop/generated/web.TOKEN");
    assert_eq!(mode(&secret.to_string_lossy()), 0o600);
    let dotenv = stack.dotenv();
    assert_eq!(dotenv.get("WEB_DATA"), Some(&first[0]));
    assert_eq!(dotenv.get("WEB_2_DATA"), Some(&second[0]));
    assert!(!dotenv.contains_key("WEB_TOKEN"), "{dotenv:?}");
    assert!(!stack.read("env-api").contains(&first[2]));
    // Another copy has others, and this one the same again.
    let [theirs, ..] = seen(&other);
    for (ours, theirs) in first.iter().zip(&theirs) {
        assert_ne!(ours, theirs);
    }
    other.down();
    let run = stack.run(&["run", "--service", "api", "--", "true"]);
    run.ok();
    let config = stack.run(&["config"]).ok().stdout;
    assert!(
        config.contains("$<TOKEN:secret>") && !config.contains(&first[2]),
        "{config}"
    );
    stack.down();
    assert!(
        fs::metadata(format!("{}/file", first[0])).is_ok(),
        "a directory is kept"
    );
    assert!(fs::metadata(&first[1]).is_err(), "a socket is not");
    stack.write_yaml(&format!("dotenv: {{ secrets: true }}{yaml}"));
    for name in ["is-1", "is-2", "is-api", "env-api"] {
        fs::remove_file(stack.path(name)).expect("it is there");
    }
    let [again, ..] = seen(&stack);
    assert_eq!(again, first);
    assert_eq!(stack.dotenv().get("WEB_TOKEN"), Some(&first[2]));
    stack.down();
}

#[test]
fn a_socket_whose_path_would_be_too_long_is_elsewhere() {
    let stack = TestStack::new("services: { it: { command: 'true' } }");
    let deep = stack.path(&"directory/".repeat(12));
    fs::create_dir_all(&deep).expect("ours");
    fs::write(
        deep.join("stack.yaml"),
        "services: { it: { command: 'dirname $<SOCK:socket> | xargs ls -ld; echo $<SOCK> > is' } }",
    )
    .expect("ours");
    let mut command = stack.command(&["up"]);
    command.current_dir(&deep);
    stack.run_command(command).ok();
    let path = fs::read_to_string(deep.join("is")).expect("it ran");
    assert!(path.trim_end().len() <= 107, "{path}");
    let directory = std::path::Path::new(path.trim_end())
        .parent()
        .expect("it has one");
    let mode = fs::metadata(directory)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
    fs::remove_dir_all(directory).expect("ours");
}

#[test]
fn configs_and_secrets_are_files_of_the_services_user() {
    if !is_root() {
        return;
    }
    let stack = TestStack::new(
        "
configs:
  inline: { content: \"port $<api.PORT> of $<api.URL>, ${HOME:+home}, $$x\\n\" }
  file: { file: ./app.conf }
  variable: { environment: FROM_CALLER }
secrets:
  token: { file: ./token }
  variable: { environment: FROM_CALLER }
services:
  api:
    command: MISBEHAVE bind $<PORT:auto>
  it:
    command: 'stat -c \"%a %U %n\" $<configs.inline> $<configs.file> $<configs.variable> $<secrets.token>; cat $<configs.inline> $<configs.file> $<configs.variable>; sha256sum $<secrets.token> | cut -c1-16'
    user: nobody
    secrets: [variable]
  ours:
    command: 'stat -c \"%a %u\" $<configs.inline>; ! ls -d .stack/shop/configs/it >/dev/null 2>&1 || ls .stack/shop/secrets'
",
    );
    let mut stack = stack;
    stack.set("FROM_CALLER", "not $<api.PORT> looked at");
    stack.write(
        "app.conf",
        "listen $<api.PORT>; # $$<literal> $host ${not} `x`\n",
    );
    fs::write(stack.path("token"), b"\xff\x00$<raw>").expect("ours");
    open_to_all(&stack);
    stack.run(&["up", "-d"]).ok();
    stack.wait_for("it", "completed", phase_is("completed"));
    let port = stack.port_of("api");
    let log = String::from_utf8(stack.log("it")).expect("text");
    let path = |kind: &str, name: &str| stack.path(&format!(".stack/shop/{kind}/it/{name}"));
    for (kind, name) in [
        ("configs", "inline"),
        ("configs", "file"),
        ("configs", "variable"),
        ("secrets", "token"),
    ] {
        let line = format!("600 nobody {}", path(kind, name).display());
        assert!(log.contains(&line), "{line}: {log}");
    }
    for line in [
        format!("port {port} of http://127.0.0.1:{port}, home, $x"),
        format!("listen {port}; # $<literal> $host ${{not}} `x`"),
        "not $<api.PORT> looked at".to_owned(),
    ] {
        assert!(log.contains(&line), "{line}: {log}");
    }
    // One that is listed and not referred to is there, too; it is nobody else's.
    assert!(path("secrets", "variable").exists());
    assert!(!stack.path(".stack/shop/secrets/ours").exists());
    let token = fs::read(path("secrets", "token")).expect("it is there");
    assert_eq!(token, b"\xff\x00$<raw>");
    let config = stack.run(&["config"]).ok().stdout;
    assert!(!config.contains("looked at"), "{config}");
    stack.down();
    assert!(
        !stack.path(".stack/shop/secrets").exists(),
        "secrets are left"
    );
    assert!(
        !stack.path(".stack/shop/configs").exists(),
        "configs are left"
    );
}

#[test]
fn a_mistake_in_a_file_of_configs_is_shown_in_that_file() {
    let stack = TestStack::new(
        "
configs: { app: { file: conf/app.conf } }
services: { it: { command: serve $<PORT:auto>, configs: [app] } }
",
    );
    fs::create_dir(stack.path("conf")).expect("ours");
    stack.write(
        "conf/app.conf",
        "first\n  listen $<it.PROT>;\n  bind $<PORT>;\n",
    );
    let output = stack.run(&["up"]).expect(2);
    output.says(&[
        "conf/app.conf:2:10",
        "did you mean `PORT`?",
        "conf/app.conf:3:",
        "`$<PORT>` does not say whose port it is",
    ]);
}

#[test]
fn a_changed_config_file_is_a_change_of_the_stack() {
    let stack = TestStack::new(
        "
configs: { app: { file: app.conf } }
services: { it: { command: MISBEHAVE sleep, configs: [app] } }
",
    );
    stack.write("app.conf", "one\n");
    stack.run(&["up", "-d"]).ok();
    let path = ".stack/shop/configs/it/app";
    assert_eq!(stack.read(path), "one\n");
    stack.run(&["up", "-d"]).ok().says(&["running already"]);
    stack.write("app.conf", "two\n");
    let before = stack.service("it").and_then(|it| it.pid());
    let output = stack.run(&["up", "-d"]);
    let is_taken_over = output.code == 0;
    if is_taken_over {
        assert_ne!(stack.service("it").and_then(|it| it.pid()), before);
        assert_eq!(stack.read(path), "two\n");
    } else {
        output.expect(3);
    }
    stack.down();
}

#[test]
fn a_link_in_the_way_of_a_file_is_not_followed() {
    let stack = TestStack::new(
        "
configs: { app: { content: text } }
services: { it: { command: 'cat $<configs.app>; echo $<DATA:dir>' } }
",
    );
    fs::create_dir_all(stack.path(".stack/shop")).expect("ours");
    fs::create_dir(stack.path("elsewhere")).expect("ours");
    std::os::unix::fs::symlink("../../elsewhere", stack.path(".stack/shop/dirs")).expect("ours");
    std::os::unix::fs::symlink("../../elsewhere", stack.path(".stack/shop/configs")).expect("ours");
    let output = stack.run(&["up"]).expect(1);
    output.says(&["its files could not be made", "dirs` is in the way"]);
    let left = fs::read_dir(stack.path("elsewhere"))
        .expect("it is there")
        .count();
    assert_eq!(left, 0);
}

#[test]
fn what_a_user_cannot_reach_is_said_before_anything_starts() {
    if !is_root() {
        return;
    }
    let given = [
        (
            "command: cat $<configs.motd>",
            "configs: { motd: { content: hush } }",
        ),
        ("command: ls $<D:dir>", ""),
        ("command: ls $<S:socket>", ""),
        ("command: sleep 1000, healthcheck: { notify: true }", ""),
    ];
    for (keys, more) in given {
        let stack = TestStack::new(&format!(
            "{more}\nservices: {{ web: {{ {keys}, user: '4242' }} }}\n"
        ));
        open_to_all(&stack);
        stack.run(&["up", "--dry-run"]).ok();
        let parent = stack.path("").parent().unwrap().to_path_buf();
        fs::set_permissions(&parent, PermissionsExt::from_mode(0o700)).unwrap();
        let closed = format!("cannot enter `{}`, where its files are", parent.display());
        stack.run(&["up", "-d"]).expect(2).says(&[
            "user `4242` cannot enter",
            &closed,
            "chmod o+x",
            "stack.yaml:2",
        ]);
        // One that is given nothing does not care.
        stack.write_yaml("services: { web: { command: 'true', user: '4242', working_dir: / } }");
        stack.run(&["up", "--dry-run"]).ok();
    }
}
