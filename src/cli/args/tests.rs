use std::ffi::OsString;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::CommandFactory;

use super::{Cli, Color, ListFormat, LogsArgs, NotRun, PortsVerb, Progress, Tail, Verb, parse};

fn read(line: &str) -> Result<Cli, NotRun> {
    let words = std::iter::once("stack").chain(line.split_whitespace());
    parse(words.map(OsString::from))
}

fn verb(line: &str) -> Verb {
    read(line).unwrap().verb.unwrap()
}

fn wrong(line: &str) -> String {
    match read(line) {
        Err(NotRun::Wrong(text)) => text,
        other => panic!("{line}: {other:?}"),
    }
}

fn help(line: &str) -> String {
    match read(line) {
        Err(NotRun::Show(text)) => text,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn the_first_page_names_every_verb_with_its_own_words() {
    let page = help("--help");
    for verb in Cli::command().get_subcommands() {
        let about = verb
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default();
        let line = format!("  {:<9} {about}\n", verb.get_name());
        let is_there = page.contains(&line);
        assert!(is_there, "{line}");
    }
}

#[test]
fn help_pages() {
    let mut pages = help("--help");
    for verb in Cli::command().get_subcommands() {
        let line = format!("{} --help", verb.get_name());
        write!(pages, "\n---- stack {line}\n\n{}", help(&line)).unwrap();
    }
    for below in ["ports who --help", "ports free --help"] {
        write!(pages, "\n---- stack {below}\n\n{}", help(below)).unwrap();
    }
    insta::assert_snapshot!(pages);
}

#[test]
fn both_ways_to_ask_for_help_say_the_same() {
    assert_eq!(help("-h"), help("--help"));
    assert_eq!(help("up -h"), help("up --help"));
    assert!(help("--version").starts_with("stack "));
}

#[test]
fn bare_stack_has_no_verb() {
    assert_eq!(read("").unwrap().verb, None);
    assert_eq!(read("-p shop").unwrap().verb, None);
}

#[test]
fn flags_before_the_verb_hold_for_all_of_it() {
    let cli = read("-f a/stack.yaml -p shop --progress json --color never -v logs -f").unwrap();
    assert_eq!(cli.global.file, ["a/stack.yaml"].map(PathBuf::from));
    assert_eq!(
        cli.global.project_name.map(|n| n.to_string()),
        Some("shop".into())
    );
    assert_eq!(cli.global.progress, Progress::Json);
    assert_eq!(cli.global.color, Color::Never);
    assert!(cli.global.verbose);
    assert!(matches!(
        cli.verb,
        Some(Verb::Logs(LogsArgs { follow: true, .. }))
    ));
    let profiles = read("--profile a --profile b up --env-file x")
        .unwrap()
        .global;
    assert_eq!(profiles.profile, ["a", "b"]);
    assert_eq!(profiles.env_file, [PathBuf::from("x")]);
    let several = read("-f a --file b -f - config").unwrap().global.file;
    assert_eq!(several, ["a", "b", "-"].map(PathBuf::from));
}

#[test]
fn flags_of_every_verb_may_stand_behind_it() {
    let before = read("-p shop --progress json --color never -v up -d").unwrap();
    let behind = read("up -d -p shop --progress json --color never -v").unwrap();
    assert_eq!(behind, before);
}

#[test]
fn times_are_seconds_or_durations() {
    for (text, seconds) in [("10", 10), ("0", 0), ("1m30s", 90), ("2h", 7_200)] {
        match verb(&format!("down -t {text}")) {
            Verb::Down(down) => assert_eq!(down.timeout, Some(Duration::from_secs(seconds))),
            other => panic!("{other:?}"),
        }
        match verb(&format!("up --wait --wait-timeout {text} -t {text} web")) {
            Verb::Up(up) => {
                assert_eq!(up.wait_timeout, Some(Duration::from_secs(seconds)));
                assert_eq!(up.timeout, Some(Duration::from_secs(seconds)));
                assert_eq!(up.services.len(), 1);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_tail_is_a_number_or_all() {
    for (line, tail) in [
        ("logs", Tail::All),
        ("logs -n all", Tail::All),
        ("logs -n 20 web api", Tail::Lines(20)),
        ("logs --tail=0", Tail::Lines(0)),
    ] {
        match verb(line) {
            Verb::Logs(logs) => assert_eq!(logs.tail, tail, "{line}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_command_is_taken_as_it_is() {
    for line in [
        "run -s api -- cargo test -- --nocapture -s x",
        "run --service=api cargo test -- --nocapture -s x",
    ] {
        match verb(line) {
            Verb::Run(run) => {
                assert_eq!(run.service.map(|n| n.to_string()), Some("api".into()));
                assert_eq!(
                    run.command,
                    ["cargo", "test", "--", "--nocapture", "-s", "x"]
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn free_ports_have_a_count_and_a_range() {
    match verb("ports free -n 3 --range 8000-8009") {
        Verb::Ports(ports) => {
            let Some(PortsVerb::Free(free)) = ports.verb else {
                panic!("{ports:?}")
            };
            assert_eq!((free.count, free.range.count()), (3, 10));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn up_takes_replicas_and_ports() {
    let Verb::Up(up) = verb("up --scale web=3 --scale=a.b=0 --port web=8000 --port a.b.C=1 db")
    else {
        panic!();
    };
    let scale: Vec<String> = up
        .scale
        .iter()
        .map(|(name, n)| format!("{name} {n}"))
        .collect();
    assert_eq!(scale, ["web 3", "a.b 0"]);
    let ports = up.ports.iter();
    let ports: Vec<String> = ports
        .map(|it| format!("{} {}", it.port, it.number))
        .collect();
    assert_eq!(ports, ["web 8000", "a.b.C 1"]);
    assert_eq!(up.services.len(), 1);
}

#[test]
fn ports_alone_lists_and_a_verb_below_it_does_something_else() {
    let ports = |line| match verb(line) {
        Verb::Ports(ports) => ports,
        other => panic!("{other:?}"),
    };
    let list = ports("ports -a --format json");
    assert!(list.verb.is_none() && list.all && list.format == ListFormat::Json);
    let list = ports("ports");
    assert!(list.verb.is_none() && !list.all && list.format == ListFormat::Table);
    for line in [
        "ports --color never who 8123 --format json",
        "ports who --format json 8123 -v",
        "ports -v --format json who 8123",
    ] {
        let ports = ports(line);
        assert_eq!(ports.format, ListFormat::Json);
        match ports.verb {
            Some(PortsVerb::Who(who)) => assert_eq!(who.port, 8123),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn wrong_usage() {
    let lines = [
        "upp",
        "xyzzy",
        "up --waiit",
        "up -x",
        "up -f a.yaml",
        "up --file=a.yaml",
        "--nope up",
        "--dry-run up",
        "--progress fast up",
        "up --wait-timeout 5",
        "up -d --exit-code-from api",
        "up ../x",
        "down -t soon",
        "down web",
        "logs -n many",
        "port",
        "port web 1x",
        "run",
        "ports free -n 0",
        "ports free --range 9-8",
        "ports free --range 9-",
        "ports free --range 8000-x",
        "-p Shop up",
        "kill web",
        "completions bash",
        "ports who",
        "ports who 0",
        "ports who 65536",
        "ports who abc",
        "ports who 8000/udp",
        "ports whoo",
        "ports 8123",
        "ports -x",
        "--profile",
        "up --scale web",
        "up --scale web=-1",
        "up --scale ../x=2",
        "up --port web",
        "up --port =8000",
        "up --port web=0",
        "port web --index 0",
        "port web --index x",
        "up --attach web",
        "up --env-file",
        "logs --since=soon",
        "logs --grep a(",
        "logs --stream both",
        "logs --clear -f",
        "ps -a",
    ];
    let mut said = String::new();
    for line in lines {
        write!(said, "$ stack {line}\n{}\n\n", wrong(line)).unwrap();
    }
    insta::assert_snapshot!(said);
}

#[test]
fn every_verb_of_the_design_is_built_or_says_that_it_is_not() {
    let all = "up down ps logs start stop restart kill run exec env port ports config graph events \
               wait top ls scale init export doctor tui web completions";
    let built: Vec<String> = Cli::command()
        .get_subcommands()
        .map(|verb| verb.get_name().to_owned())
        .collect();
    for name in all.split_whitespace() {
        let is_built = built.iter().any(|verb| verb == name);
        let expected = format!("error: `{name}` is not supported yet");
        assert!(is_built || wrong(name).starts_with(&expected), "{name}");
    }
}

/// `stack up` is measured in single milliseconds. The bound is for the build that is shipped; a debug
/// build is many times slower, and only has to be quick enough not to be noticed.
#[test]
fn reading_the_command_line_takes_no_time() {
    const ROUNDS: u32 = 20;
    let begin = std::time::Instant::now();
    for _ in 0..ROUNDS {
        read("-p shop up -d --wait web api").unwrap();
    }
    let one = begin.elapsed() / ROUNDS;
    println!("{one:?}");
    let bound = Duration::from_millis(if cfg!(debug_assertions) { 50 } else { 1 });
    assert!(one < bound, "{one:?}");
}
