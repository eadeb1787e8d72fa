//! The house's import rule, read off the source: which room may know which, and which file alone
//! may name a certain crate. `docs/architecture.md` has the map.

use std::collections::BTreeSet;
use std::path::Path;

use fs_err as fs;

/// Each room with the rooms it may import from, and so may whoever may import it.
const ARROWS: [(&str, &[&str]); 12] = [
    ("cli", &["api", "convert"]),
    ("tui", &["api"]),
    ("web", &["api"]),
    ("api", &["run"]),
    ("run", &["plan", "ports", "dotenv"]),
    ("plan", &["spec", "ports", "dotenv"]),
    ("convert", &["spec"]),
    ("spec", &["support"]),
    ("ports", &["support"]),
    ("dotenv", &["support"]),
    ("support", &[]),
    // The front door.
    ("main", &["cli"]),
];

/// What only some files may name: a word of the source, the files or directories that may, and why
/// nobody else.
const RESERVED: [(&str, &[&str], &str); 5] = [
    (
        "saphyr_parser::",
        &["spec/load.rs", "spec/load/"],
        "one reader of what the user wrote",
    ),
    (
        "serde_yaml::",
        &["support/yaml.rs"],
        "one place where YAML is written",
    ),
    (
        "miette::",
        &["cli/diagnostics.rs", "cli/diagnostics/"],
        "one place where problems are drawn",
    ),
    ("stdout()", PRINTERS, "all printing is in the printer"),
    ("stderr()", PRINTERS, "all printing is in the printer"),
];

/// The printer; and what runs without one, after a fork or in the guardian, where a last word goes
/// straight to the descriptor.
const PRINTERS: &[&str] = &[
    "cli/printer.rs",
    "cli/printer/",
    "run/process/",
    "run/guardian.rs",
    "run/guardian/",
];

/// What only `cli` may know of a terminal.
const TERMINAL_WORDS: [&str; 5] = [
    "is_terminal",
    "terminal_size",
    "indicatif::",
    "console::",
    "crossterm::",
];

/// Where the supervisor and what it is made of stand: data goes in and comes out, never a sentence.
const WORDLESS: [&str; 7] = [
    "run/state/",
    "run/supervisor/",
    "run/runner/",
    "run/probe/",
    "run/unit",
    "run/snapshot.rs",
    "run/waits.rs",
];

/// Names under which a unit could be a bare number.
const UNIT_NAMES: [&str; 5] = ["unit", "index", "dependent", "dependency", "other"];

/// How long a file should be at most; longer ones are listed, not refused.
const COMFORTABLE_LINES: usize = 400;

/// A source file: its path below `src`, and its text without comments and tests.
struct Source {
    path: String,
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    collect(&root, &root, &mut found);
    assert!(found.len() > 10, "the source is not where it was");
    found
}

fn collect(root: &Path, directory: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(directory).expect("src is readable").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("src is readable");
            let below = path.strip_prefix(root).expect("it was found there");
            found.push(Source {
                path: below.to_string_lossy().into_owned(),
                code: without_comments_and_tests(&text),
            });
        }
    }
}

/// Drops line comments and everything from the tests on, which stand last in a file by habit.
fn without_comments_and_tests(text: &str) -> String {
    text.lines()
        .take_while(|line| line.trim_end() != "#[cfg(test)]")
        .map(|line| match line.find("//") {
            // The two slashes of an address are no comment.
            Some(at) if !line[..at].ends_with(':') => &line[..at],
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// The room that a file belongs to; `None` for `lib.rs`, which only lists the rooms.
fn room_of(path: &str) -> Option<&str> {
    match path.split_once('/') {
        Some((room, _)) => Some(room),
        None if path == "lib.rs" => None,
        None => path.strip_suffix(".rs"),
    }
}

/// Every room that stands behind an arrow from `room`, or behind an arrow from there.
fn allowed(room: &str) -> BTreeSet<&'static str> {
    let mut reached = BTreeSet::from(["support"]);
    let mut ahead = vec![room];
    while let Some(next) = ahead.pop() {
        let arrows = ARROWS.iter().find(|(from, _)| *from == next);
        for to in arrows.map_or(&[][..], |(_, to)| to) {
            if reached.insert(to) {
                ahead.push(to);
            }
        }
    }
    reached
}

/// The rooms that a text names by `crate::room`, `use crate::{room, …}` or, in the binary,
/// `stack::room`.
fn named_rooms(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for root in ["crate::", "stack::"] {
        for (at, _) in code.match_indices(root) {
            let is_path_start = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            // Codes of problems, `stack::port::exhausted`, are texts and no paths.
            let is_text = code[..at].ends_with('"');
            if is_path_start && !is_text {
                let rest = &code[at + root.len()..];
                match rest.strip_prefix('{') {
                    Some(list) => rooms.extend(heads_of_list(list)),
                    None => rooms.extend(identifier(rest)),
                }
            }
        }
    }
    rooms
}

fn identifier(text: &str) -> Option<String> {
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

/// The first names of a `{…}` list, with whatever stands in inner braces left out.
fn heads_of_list(text: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let mut depth = 1_usize;
    let mut is_at_head = true;
    for (at, character) in text.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => is_at_head = true,
            c if c.is_whitespace() => {}
            _ if is_at_head => {
                heads.extend(identifier(&text[at..]));
                is_at_head = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    heads
}

/// Everything in `sources` that the house does not allow.
fn violations(sources: &[Source]) -> Vec<String> {
    let rooms: BTreeSet<&str> = ARROWS.iter().map(|(room, _)| *room).collect();
    let mut found = Vec::new();
    for Source { path, code } in sources {
        for (word, may, why) in RESERVED {
            let is_allowed = may
                .iter()
                .any(|place| path == place || place.ends_with('/') && path.starts_with(place));
            // `use_stderr()` is another word.
            let is_named = code.match_indices(word).any(|(at, _)| {
                !code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_')
            });
            if is_named && !is_allowed {
                found.push(format!("{path} names `{word}`: {why}"));
            }
        }
        found.extend(told_by_the_wrong_room(path, code));
        let Some(room) = room_of(path) else { continue };
        if !rooms.contains(room) {
            found.push(format!("{path} is in no room of the house"));
        }
        let allowed = allowed(room);
        for named in named_rooms(code) {
            let is_room = rooms.contains(named.as_str());
            if is_room && named != room && !allowed.contains(named.as_str()) {
                found.push(format!("{path}: `{room}` may not import `{named}`"));
            }
        }
    }
    found
}

/// Sentences and terminals where only data belongs, and units that are bare numbers.
fn told_by_the_wrong_room(path: &str, code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let is_test =
        path.contains("/tests/") || path.ends_with("tests.rs") || path.ends_with("testing.rs");
    if is_test {
        return found;
    }
    if !path.starts_with("cli/") {
        let words = TERMINAL_WORDS.iter().filter(|word| code.contains(**word));
        found.extend(words.map(|word| format!("{path} knows a terminal: `{word}`")));
    }
    if path.starts_with("run/") || path == "plan/model.rs" {
        let names = UNIT_NAMES.iter().map(|name| format!("{name}: usize"));
        let bare = names.filter(|name| code.contains(name.as_str()));
        found.extend(bare.map(|name| format!("{path} takes a number for a unit: `{name}`")));
    }
    if WORDLESS.iter().any(|place| path.starts_with(place)) {
        let texts = code.match_indices("format!(\"").map(|(at, lead)| {
            let text = &code[at + lead.len()..];
            &text[..text.find('"').unwrap_or(text.len())]
        });
        let sentences = texts.filter(|text| text.trim().contains(' '));
        found.extend(sentences.map(|text| format!("{path} makes a sentence: `{text}`")));
    }
    found
}

#[test]
fn every_room_imports_only_what_stands_behind_its_arrows() {
    let found = violations(&sources());
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn nothing_is_tied_to_the_end_of_a_thread() {
    // A signal "at the parent's death" is sent when the thread that started the child ends.
    for Source { path, code } in sources() {
        let code = code.to_lowercase();
        assert!(!code.contains("pdeathsig"), "{path}");
    }
}

/// What may read the wall clock below `run`: the times of states and of lines, for whoever looks; and a
/// `cron` schedule, which means the times of the day, and expects them to jump. The age of a link in the
/// registry of runs is that of a file; a run that goes on makes one anew that was removed.
const WITH_WALL_CLOCK: [&str; 5] = [
    "run/unit.rs",
    "run/registry.rs",
    "run/supervisor/parts.rs",
    "run/supervisor/schedule.rs",
    "run/logs/",
];

#[test]
fn no_timer_goes_by_a_clock_that_can_be_set() {
    for Source { path, code } in sources() {
        let reads = [
            "SystemTime::now",
            "Timestamp::now",
            "ZonedDateTime::now",
            "unix_millis()",
            "unix_nanos()",
        ]
        .into_iter()
        .find(|call| code.contains(call));
        let may = WITH_WALL_CLOCK.iter().any(|place| path.starts_with(place));
        if path.starts_with("run/") && !may {
            assert_eq!(reads, None, "{path}");
        }
    }
}

#[test]
fn long_files_are_listed() {
    for Source { path, code } in sources() {
        let lines = code.lines().count();
        if lines > COMFORTABLE_LINES {
            println!("{path}: {lines} lines of code");
        }
    }
}

#[test]
fn the_check_itself_can_fail() {
    let source = |path: &str, code: &str| Source {
        path: path.to_owned(),
        code: without_comments_and_tests(code),
    };
    let count = |path: &str, code: &str| violations(&[source(path, code)]).len();
    // Against the arrows: upwards, sideways, in a list, inline, by the library's name.
    assert_eq!(count("spec/load.rs", "use crate::run::Phase;"), 1);
    assert_eq!(count("ports/hold.rs", "use crate::dotenv::Block;"), 1);
    assert_eq!(
        count(
            "plan/graph.rs",
            "use crate::{\n    spec::Spec,\n    api::{Client, run},\n};"
        ),
        1
    );
    assert_eq!(count("support/fs.rs", "fn f() { crate::spec::load(); }"), 1);
    assert_eq!(count("main.rs", "fn main() { stack::tui::go() }"), 1);
    // Reserved words, and a room that nobody planned.
    assert_eq!(count("run/unit.rs", "use miette::Report;"), 1);
    assert_eq!(count("spec/check.rs", "use saphyr_parser::Parser;"), 1);
    assert_eq!(
        count("run/unit.rs", "std::io::stdout().write_all(b\"\");"),
        1
    );
    assert_eq!(count("utils/mod.rs", ""), 1);
    // A terminal, a sentence and a bare number where they do not belong.
    assert_eq!(count("run/launch.rs", "io::stdin().is_terminal()"), 1);
    assert_eq!(count("run/unit.rs", "format!(\"port {port} is taken\")"), 1);
    assert_eq!(count("run/supervisor/mod.rs", "fn f(unit: usize) {}"), 1);
    assert_eq!(count("run/unit.rs", "format!(\"localhost:{port}\")"), 0);
    assert_eq!(
        count("cli/words/news.rs", "format!(\"port {port} is taken\")"),
        0
    );
    // With the arrows, over several of them, and in words that are no imports.
    assert_eq!(
        count(
            "cli/up.rs",
            "use crate::plan::Plan;\nuse crate::support::fs;"
        ),
        0
    );
    assert_eq!(count("run/unit.rs", "use super::control::Command;"), 0);
    assert_eq!(count("spec/load.rs", "// crate::run does the rest"), 0);
    assert_eq!(
        count("ports/mod.rs", "const CODE: &str = \"stack::spec::x\";"),
        0
    );
    assert_eq!(
        count(
            "ports/mod.rs",
            "#[cfg(test)]\nmod tests { use crate::run::x; }"
        ),
        0
    );
}
