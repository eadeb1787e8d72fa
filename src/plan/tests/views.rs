//! Which variables there are and are used, and what is written.

use super::*;
use crate::plan::written;

#[test]
fn every_variable_is_shown_with_the_layer_that_counts() {
    let project =
        Project::new("name: ours\nenv_file: [one.env, two.env]\nservices: { a: { command: x } }")
            .file("one.env", "A=one\nB=one\nC=one\nPASSWORD=x\n")
            .file("two.env", "B=two\n")
            .file(".env", "C=own\nD=own\n")
            .caller(&[("A", "caller"), ("URL", "http://u:p@h")]);
    let shown = |project: &Project| {
        let all = project.good().environment().into_iter();
        all.map(|it| format!("{}={} {}", it.name, it.value, it.from))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        shown(&project),
        [
            "A=caller the environment",
            "B=two two.env",
            "C=one one.env",
            "D=own .env",
            "PASSWORD=******** one.env",
            "STACK_PROJECT_NAME=ours name",
            "URL=http://u:********@h the environment",
        ]
    );
    let name = |project: Project| {
        shown(&project)
            .into_iter()
            .find(|it| it.starts_with("STACK_"))
    };
    let of = |project: Project| name(project).unwrap();
    assert_eq!(of(project.named("flag")), "STACK_PROJECT_NAME=flag -p");
    let plain = || Project::service("");
    assert_eq!(of(plain()), "STACK_PROJECT_NAME=shop the directory");
    let caller = plain().named("x").caller(&[("STACK_PROJECT_NAME", "x")]);
    assert_eq!(of(caller), "STACK_PROJECT_NAME=x the environment");
    let dotenv = plain().file(".env", "STACK_PROJECT_NAME=y\n");
    assert_eq!(of(dotenv), "STACK_PROJECT_NAME=y .env");
}

#[test]
fn the_project_s_name_is_a_variable_of_the_files() {
    let word = |project: &Project| project.unit().execution.argv[1].clone();
    let text = "name: '${SET-My}-Shop'\nservices: { a: { command: [x, '${STACK_PROJECT_NAME}'] } }";
    assert_eq!(word(&Project::new(text)), "my-shop");
    assert_eq!(word(&Project::new(text).named("other")), "other");
    let without = &text[text.find('\n').unwrap() + 1..];
    assert_eq!(word(&Project::new(without)), "shop");
}

#[test]
fn every_variable_that_is_used_is_shown_with_its_default() {
    let text = "
env_file: ['${FILE:-x.env}']
services:
  a:
    command: 'shell ${NOT_OURS}'
    environment: ['A=${A}', 'B=${B:?b is needed}', 'C=${C-${D:-$<PORT:auto>}}', 'E=${E:+other}', 'B=${B-later}']
";
    let project = Project::new(&text.replace(", 'B=${B-later}'", "")).file("x.env", "");
    let (draft, _) = project.draft();
    let used = draft.unwrap().used_variables().into_iter();
    let used: Vec<_> = used
        .map(|it| {
            (
                it.name,
                it.required,
                it.default.unwrap_or_default(),
                it.alternate.unwrap_or_default(),
            )
        })
        .map(|(name, required, default, alternate)| {
            format!("{name} {required} {default} {alternate}")
        })
        .collect();
    assert_eq!(
        used,
        [
            "A false  ",
            "B true  ",
            "C false ${D:-$<PORT:auto>} ",
            "D false $<PORT:auto> ",
            "E false  other",
            "FILE false x.env ",
        ]
    );
}

#[test]
fn what_is_written_is_shown_merged_and_as_it_stands() {
    let project = Project::new(
        "services: { a: { command: x, environment: { A: '${A}', N: 1 }, depends_on: [b], labels: [k=v] }, b: { command: y, restart: no } }",
    )
    .file(
        "stack.override.yaml",
        "services: { a: { environment: [B=2, SECRET=s, LONE], depends_on: { c: { condition: service_started } } }, c: { command: !!str 1 } }",
    );
    let (written, problems) = written(project.sources());
    assert_eq!(problems, []);
    let written = written.unwrap();
    let value = serde_json::to_string(&written.value["services"]["a"]).unwrap();
    assert_eq!(
        value,
        r#"{"command":"x","environment":["A=${A}","N=1","B=2","SECRET=********","LONE"],"depends_on":{"b":{"condition":"service_started"},"c":{"condition":"service_started"}},"labels":["k=v"]}"#
    );
    let lines: Vec<_> = written
        .lines
        .iter()
        .map(|it| {
            let (file, at) = (it.file.display(), it.location);
            format!("{} {file}:{}:{}", it.path, at.line, at.column)
        })
        .collect();
    for line in [
        "services.a.environment.A stack.yaml:1:48",
        "services.a.environment.B stack.override.yaml:1:32",
        "services.a.labels[0] stack.yaml:1:90",
        "services.c.command stack.override.yaml:1:127",
    ] {
        assert!(lines.iter().any(|it| it == line), "{line}\n{lines:#?}");
    }
}

#[test]
fn a_variable_of_the_caller_is_still_one_in_what_is_written() {
    for (base, over, shown) in [
        ("[A=1]", "[B]", r#"["A=1","B"]"#),
        ("{ A: 1 }", "[B]", r#"["A=1","B"]"#),
        ("{ A: null }", "[B=2]", r#"{"A":null,"B":"2"}"#),
        // A list cannot remove one, nor can a map leave it to the caller.
        ("{ A: null }", "[B]", r#"{"A":null,"B":"${B}"}"#),
    ] {
        let file = |environment: &str| {
            format!("services: {{ a: {{ command: x, environment: {environment} }} }}")
        };
        let project = Project::new(&file(base))
            .file("stack.override.yaml", file(over))
            .caller(&[("A", "a"), ("B", "b")]);
        let fingerprint = project.good().fingerprint().to_owned();
        let (written, _) = written(project.sources());
        let written = written.unwrap().value;
        assert_eq!(
            written["services"]["a"]["environment"].to_string(),
            shown,
            "{base} {over}"
        );
        let alone = Project::new(&crate::support::yaml::to_string(&written).unwrap());
        let alone = alone.caller(&[("A", "a"), ("B", "b")]);
        assert_eq!(alone.good().fingerprint(), fingerprint, "{base} {over}");
    }
}

#[test]
fn a_port_or_an_expose_that_is_in_both_files_stands_there_once() {
    let file = |lists: &str| format!("services: {{ a: {{ command: x, {lists} }} }}");
    let merged = |base: &str, over: &str| {
        let project = Project::new(&file(base)).file("stack.override.yaml", file(over));
        let (written, problems) = written(project.sources());
        assert_eq!(problems, []);
        written.unwrap().value["services"]["a"].clone()
    };
    let ports = merged(
        "ports: ['8080:80', '127.0.0.1:81:81', '53:53/udp', 90]",
        "ports: ['0.0.0.0:8080:80/tcp', '81:81', { target: 53, published: 53, protocol: udp }, 90, '9000-9009:80']",
    );
    let wanted = r#"["0.0.0.0:8080:80/tcp","127.0.0.1:81:81",{"target":53,"published":53,"protocol":"udp"},90,"81:81","9000-9009:80"]"#;
    assert_eq!(ports["ports"].to_string(), wanted);
    let expose = merged(
        "expose: ['1', 2], group_add: [a]",
        "expose: [2, '3'], group_add: a",
    );
    assert_eq!(expose["expose"].to_string(), r#"["1",2,"3"]"#);
    assert_eq!(expose["group_add"].to_string(), r#"["a"]"#);
    let configs = merged(
        "configs: [a, { source: b, target: /b }]",
        "configs: [{ source: a, target: x }, a, { source: c, target: /b }]",
    );
    let wanted = r#"["a",{"source":"c","target":"/b"},{"source":"a","target":"x"}]"#;
    assert_eq!(configs["configs"].to_string(), wanted);
    let lists = merged("dns: 1.1.1.1, tmpfs: [/a]", "dns: [8.8.8.8], tmpfs: /b");
    assert_eq!(lists["dns"].to_string(), r#"["1.1.1.1","8.8.8.8"]"#);
    assert_eq!(lists["tmpfs"].to_string(), r#"["/a","/b"]"#);
    let limits = merged(
        "ulimits: { nofile: { soft: 1, hard: 2 }, nproc: 5 }, deploy: { labels: { a: b } }",
        "ulimits: { nofile: { soft: 3 } }, deploy: { labels: [c=d] }",
    );
    assert_eq!(
        limits["ulimits"].to_string(),
        r#"{"nofile":{"soft":3},"nproc":5}"#
    );
    assert_eq!(
        limits["deploy"]["labels"].to_string(),
        r#"{"a":"b","c":"d"}"#
    );
}

#[test]
fn what_came_from_a_secret_is_shown_in_no_view() {
    let text = "
secrets: { db_password: { file: pw } }
x-common: { API_TOKEN: hunter2 }
services:
  a:
    entrypoint: [env, PGPASSWORD=hunter2, MONKEY=shown1]
    command: [x, '-p${DB_PASSWORD}', 'u:${URL:-http://a:hunter2c@b}', '${API_KEY:-hunter2}']
    environment: { DSN: 'host=h password=${DB_PASSWORD} x', SORT_KEY: shown2, TOKEN_OF_B: '$<b.PORT>', EMPTY_PASSWORD: '', PASSWORD_FILE: shown3 }
    labels: { password: hunter2, team: shown4 }
    annotations: [password=hunter2]
    secrets: [db_password]
    pre_start: DB_PASSWORD=hunter2 setup ${DB_PASSWORD:-hunter2}
    post_start: [x, --password, hunter2, --key, shown5, 'http://a:hunter2@b/?c=d']
    healthcheck: { test: [CMD, x, --api-key, hunter2] }
  b:
    command: serve --token=hunter2 $<PORT:auto>
";
    let project = Project::new(text)
        .file("pw", "hunter2")
        .caller(&[("DB_PASSWORD", "hunter2")]);
    let draft = project.good();
    let (written, _) = written(project.sources());
    let written = written.unwrap();
    let lines: Vec<String> = written
        .lines
        .iter()
        .map(|line| format!("{}: {}", line.path, line.text))
        .collect();
    let resolved = crate::support::yaml::to_string(&draft.show(None)).unwrap();
    let views = [
        resolved.clone(),
        crate::support::yaml::to_string(&written.value).unwrap(),
        lines.join("\n"),
    ];
    for view in views {
        assert!(!view.contains("hunter2"), "{view}");
        for shown in [
            "shown1",
            "shown2",
            "shown3",
            "shown4",
            "shown5",
            "db_password",
            "$<b.PORT>",
        ] {
            assert!(view.contains(shown), "no {shown} in {view}");
        }
    }
    for part in [
        "- -p********\n",
        "DSN: host=h password=******** x\n",
        "EMPTY_PASSWORD: ''\n",
    ] {
        assert!(resolved.contains(part), "no {part} in {resolved}");
    }
    let used = draft.used_variables().into_iter();
    let used: Vec<_> = used.map(|it| (it.name, it.default)).collect();
    let url = "http://a:********@b";
    for (name, default) in [("API_KEY", "********"), ("URL", url)] {
        let it = (name.to_owned(), Some(default.to_owned()));
        assert!(used.contains(&it), "{used:?}");
    }
    // None of it reaches the service masked.
    let unit = project.unit();
    assert!(unit.execution.argv.contains(&"-phunter2".to_owned()));
    assert_eq!(value(&unit, "DSN").unwrap(), "host=h password=hunter2 x");
}

#[test]
fn paths_of_other_files_are_seen_from_the_project_directory() {
    let inner = "
configs: { c: { file: ./c.conf }, d: { file: /d.conf }, e: { file: '${E}' } }
services:
  a:
    command: [run, ./it]
    env_file: [e, { path: ../f, required: false }]
    watch: [src, { path: ./lib }]
    environment: { file: f, path: p }
    pre_start: { command: x, working_dir: w }
  b: { command: x, working_dir: w }
  e: { command: x, working_dir: '' }
  f: { command: x, working_dir: }
  g: { command: x, working_dir: $$ }
";
    let outer = "include: [in/stack.yaml]\nservices: { c: { command: x, env_file: e }, d: { extends: { file: in/stack.yaml, service: b } } }";
    let project = Project::new(outer).file("in/stack.yaml", inner);
    let (written, problems) = written(project.sources());
    assert_eq!(problems, []);
    let value = written.unwrap().value;
    let service = |name: &str| value["services"][name].to_string();
    assert_eq!(
        value["configs"].to_string(),
        r#"{"c":{"file":"in/c.conf"},"d":{"file":"/d.conf"},"e":{"file":"${E}"}}"#
    );
    assert_eq!(
        service("a"),
        r#"{"command":["run","./it"],"env_file":["in/e",{"path":"in/../f","required":false}],"watch":["in/src",{"path":"in/lib"}],"environment":{"file":"f","path":"p"},"pre_start":{"command":"x","working_dir":"in/w"},"working_dir":"in"}"#
    );
    assert_eq!(service("b"), r#"{"command":"x","working_dir":"in/w"}"#);
    assert_eq!(service("c"), r#"{"command":"x","env_file":"e"}"#);
    assert_eq!(service("d"), r#"{"command":"x","working_dir":"in/w"}"#);
    for name in ["e", "f"] {
        let shown = r#"{"command":"x","working_dir":"in"}"#;
        assert_eq!(service(name), shown, "{name}");
    }
    assert_eq!(service("g"), r#"{"command":"x","working_dir":"in/$$"}"#);
}

#[test]
fn only_whole_keys_at_their_place_hold_paths() {
    let inner = "
services:
  environment: { command: x, working_dir: w, env_file: e }
  labels: { command: x, env_file: [{ path: e }] }
  watchdog:
    command: x
    healthcheck: { http: { path: /up, headers: { file: f } } }
    labels: { a.watch: l, working_dir: l, env_file.path: l }
    develop: { watch: [{ path: src, action: restart }] }
";
    let project = Project::new("include: [in/stack.yaml]").file("in/stack.yaml", inner);
    let (written, problems) = written(project.sources());
    assert_eq!(problems, []);
    let value = written.unwrap().value;
    let service = |name: &str| value["services"][name].to_string();
    assert_eq!(
        service("environment"),
        r#"{"command":"x","working_dir":"in/w","env_file":"in/e"}"#
    );
    assert_eq!(
        service("labels"),
        r#"{"command":"x","env_file":[{"path":"in/e"}],"working_dir":"in"}"#
    );
    assert_eq!(
        service("watchdog"),
        r#"{"command":"x","healthcheck":{"http":{"path":"/up","headers":{"file":"f"}}},"labels":{"a.watch":"l","working_dir":"l","env_file.path":"l"},"develop":{"watch":[{"path":"in/src","action":"restart"}]},"working_dir":"in"}"#
    );
}

#[test]
fn what_follows_a_flag_is_decided_alike_in_both_views() {
    let text = "
services:
  a: { command: [x, --password, hunter2, --token, -x, --token, $$X, --key, shown], healthcheck: { test: [CMD, x, --password, -y] } }
";
    let project = Project::new(text);
    let (written, _) = written(project.sources());
    let written = written.unwrap().value["services"]["a"].clone();
    let resolved = project.good().show(None);
    let resolved = serde_json::to_value(&resolved).unwrap()["services"]["a"].clone();
    let words = r#"["x","--password","********","--token","-x","--token","$$X","--key","shown"]"#;
    assert_eq!(written["command"].to_string(), words);
    assert_eq!(resolved["command"].to_string(), words);
    let test = r#"["CMD","x","--password","-y"]"#;
    assert_eq!(written["healthcheck"]["test"].to_string(), test);
    assert_eq!(resolved["healthcheck"]["test"].to_string(), test);
}
