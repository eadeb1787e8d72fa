//! What the parts of this room promise together, and what other readers make of it.

use std::path::Path;
use std::process::{Command, Stdio};

use fs_err as fs;
use proptest::prelude::*;

use super::fence::{Block, render, split, user_part};
use super::quote::{Quoted, line};
use super::read::{Contents, read};

/// Whether tests must not be skipped.
fn is_all_required() -> bool {
    std::env::var_os("STACK_TEST_REQUIRE").is_some_and(|value| value == "all")
}

/// Says that a test needs something this machine lacks; a failure where skipping is not allowed.
pub(super) fn skip(what: &str) {
    assert!(!is_all_required(), "needs {what}");
    println!("skipped: needs {what}");
}

/// Values that lie where the forms of quoting meet.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9:/.=@,-]{0,12}",
        "[a-b'\"$`\\\\ #\n{}()=~!\t]{0,8}",
        "\\PC{0,8}",
    ]
}

fn writable() -> impl Strategy<Value = (String, String)> {
    ("[A-Z_][A-Z0-9_]{0,6}", value())
        .prop_filter("must be writable", |(key, value)| line(key, value).is_ok())
}

fn entries() -> impl Strategy<Value = Vec<(String, String)>> {
    proptest::collection::vec(writable(), 0..6).prop_map(|mut entries| {
        entries.sort();
        entries.dedup_by(|a, b| a.0 == b.0);
        entries
    })
}

/// Bytes that may hold anything, also pieces of what we write.
fn user_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..8),
        Just(b"A=1\n".to_vec()),
        Just(b"B='x\r\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"# >>> stack".to_vec()),
    ];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn pairs(contents: Contents) -> Vec<(String, String)> {
    assert_eq!(contents.errors, []);
    let entries = contents.entries.into_iter();
    entries
        .map(|e| (e.key, e.value.unwrap_or_default()))
        .collect()
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(entries in entries()) {
        let file = render(b"# mine", &entries).unwrap().bytes;
        // Whatever is set in the environment: nothing in the block is a variable to us.
        prop_assert_eq!(pairs(read(&file, |_| Some("wrong".to_owned()))), entries);
    }

    #[test]
    fn the_users_bytes_survive_everything(
        user in user_bytes(), first in entries(), second in entries(),
    ) {
        prop_assume!(split(&user).block == Block::Absent);
        let once = render(&user, &first).unwrap().bytes;
        prop_assert!(once.starts_with(&user));
        prop_assert_eq!(&user_part(&once), &user);
        prop_assert_eq!(&render(&once, &first).unwrap().bytes, &once);
        let twice = render(&once, &second).unwrap().bytes;
        prop_assert_eq!(&twice, &render(&user, &second).unwrap().bytes);
        prop_assert_eq!(&render(&twice, &[]).unwrap().bytes, &user);
    }

    /// Whichever lines of a block are gone, the user's lines are all there afterwards.
    #[test]
    fn a_torn_block_keeps_the_users_lines(generated in entries(), gone in any::<u64>()) {
        let file = render(b"MINE_1=a\nMINE_2='b'", &generated).unwrap().bytes;
        let mut torn = Vec::new();
        for (n, line) in file.split_inclusive(|&b| b == b'\n').enumerate() {
            if n < 2 || gone >> (n % 64) & 1 == 0 {
                torn.extend_from_slice(line);
            }
        }
        torn.extend_from_slice(b"MINE_3=c\n");
        let again = render(&torn, &generated).unwrap().bytes;
        let user = String::from_utf8(user_part(&again)).unwrap();
        prop_assert!(user.starts_with("MINE_1=a\nMINE_2='b'"), "{}", user);
        prop_assert!(user.ends_with("MINE_3=c\n"), "{}", user);
        prop_assert_eq!(&render(&again, &generated).unwrap().bytes, &again);
    }

    /// Wherever a file with a block is cut off, the user's lines are all there afterwards.
    #[test]
    fn a_block_cut_off_keeps_the_users_lines(generated in entries(), length in 0usize..500) {
        let user = b"MINE_1=a\nMINE_2='b'";
        let mut file = render(user, &generated).unwrap().bytes;
        file.truncate(user.len() + length);
        let again = render(&file, &generated).unwrap().bytes;
        prop_assert!(user_part(&again).starts_with(user));
        prop_assert_eq!(&render(&again, &generated).unwrap().bytes, &again);
    }

    #[test]
    fn the_reader_never_panics_and_points_into_the_file(bytes in proptest::collection::vec(
        prop_oneof![any::<u8>(), proptest::sample::select(b"A=\"'\\${}:-?\n #".to_vec())], 0..60,
    )) {
        let contents = read(&bytes, |_| None);
        let lines = bytes.split(|&b| b == b'\n').count();
        for error in &contents.errors {
            prop_assert!(String::from_utf8_lossy(&bytes).is_char_boundary(error.at));
        }
        for entry in &contents.entries {
            prop_assert!((1..=lines).contains(&entry.line));
        }
    }
}

/// The files of compose-go's own tests, where they are beside the project.
#[test]
fn the_corpus_reads_as_in_compose() {
    let corpus =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus/compose/compose-go-dotenv");
    if !corpus.is_dir() {
        return skip("the corpus of compose-go's .env files");
    }
    let plain = "OPTION_A=1 OPTION_B=2 OPTION_C=3 OPTION_D=4 OPTION_E=5 456=ABC OPTION_F= OPTION_G= \
                 OPTION_H=my string";
    for (file, expected) in [
        ("plain.env", plain),
        ("utf8-bom.env", plain),
        (
            "equals.env",
            "OPTION_A=postgres://localhost:5432/database?sslmode=disable",
        ),
        ("exported.env", "OPTION_A=2 OPTION_B=\\n"),
        (
            "quoted.env",
            "OPTION_A=1 OPTION_B=2 OPTION_C= OPTION_D=\\n OPTION_E=1 OPTION_F=2 OPTION_G= \
             OPTION_H=\n OPTION_I=echo 'asd' OPTION_J=first line\nsecond line\nthird line\nand so on \
             OPTION_K=Let's go! OPTION_Z=last value",
        ),
        (
            "special.env",
            "VAR.WITH.DOTS=dots VAR_WITH_UNDERSCORES=underscores VAR-WITH-DASHES=dashes",
        ),
        (
            "substitutions.env",
            "OPTION_A=1 OPTION_B=1 OPTION_C=1 OPTION_D=1_1 OPTION_E=",
        ),
        (
            "substitutions-default.env",
            "OPTION_A=1 OPTION_B=1 OPTION_C=1 OPTION_D=1_1 OPTION_E=",
        ),
        ("inherited-single-var.env", "VAR_TO_BE_LOADED_FROM_OS_ENV="),
        (
            "inherited-multi-var.env",
            "foo=bar VAR_TO_BE_LOADED_FROM_OS_ENV= bar=baz",
        ),
    ] {
        let contents = read(&fs::read(corpus.join(file)).unwrap(), |_| None);
        let found: Vec<_> = pairs(contents)
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        assert_eq!(found.join(" "), expected, "{file}");
    }
    let invalid = read(&fs::read(corpus.join("invalid1.env")).unwrap(), |_| None);
    assert_eq!(
        invalid.errors[0].kind.to_string(),
        "a key cannot hold a space"
    );
    assert_eq!(invalid.entries.last().unwrap().key, "zot");
}

/// Values of every kind that the measured rule distinguishes.
const VALUES: &[&str] = &[
    "",
    "8000",
    "http://127.0.0.1:8000/a?b=c&d=e",
    "a b",
    " lead",
    "trail ",
    "#x",
    "a #b",
    "=x",
    "it's",
    "say \"hi\"",
    "`x`",
    "a\\b",
    "\\n",
    "$HOME",
    "${HOME:-x}",
    "$$",
    "$",
    "a;b|c>d<e&f",
    "{\"a\":[1,2]}",
    "*?[a-z]{b,c}!^",
    "~",
    "a:~",
    "two\nlines",
    "end\n",
    "\ttab",
    "ünïcödé",
    "\u{a0}x",
    "it's \"both\"",
    "it's $5",
    "C:\\",
    "\\\\host\\share",
    "\\'",
    "%PATH%",
    "export A=1",
    "yes",
    "010",
];

/// What of [`VALUES`] a reader is promised: everything without a warning that names it.
fn block_for(reader: &str) -> (Vec<(String, String)>, Vec<u8>) {
    let entries: Vec<_> = VALUES
        .iter()
        .enumerate()
        .map(|(n, value)| (format!("V_{n}"), (*value).to_owned()))
        .filter(|(key, value)| {
            let Quoted { warnings, .. } = line(key, value).unwrap();
            !warnings.iter().any(|w| w.readers().contains(reader))
        })
        .collect();
    let file = render(b"# the user's part: it's `$(x)` here", &entries)
        .unwrap()
        .bytes;
    (entries, file)
}

/// Runs a reader that prints `KEY=value` NUL-terminated, and compares.
fn check_reader(reader: &str, program: &str, arguments: &[&str]) {
    let (expected, file) = block_for(reader);
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("test.env"), file).unwrap();
    let child = Command::new(program)
        .args(arguments)
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .output();
    let Ok(output) = child else {
        if program == "bash" {
            return skip("bash");
        }
        println!("skipped: needs {program}");
        return;
    };
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(program != "bash", "{message}");
        println!(
            "skipped: {program} cannot do this: {}",
            message.lines().last().unwrap_or("")
        );
        return;
    }
    let found: std::collections::HashMap<&str, &str> = std::str::from_utf8(&output.stdout)
        .unwrap()
        .split('\0')
        .filter_map(|pair| pair.split_once('='))
        .collect();
    for (key, value) in &expected {
        assert_eq!(
            found.get(key.as_str()),
            Some(&value.as_str()),
            "{reader}: {key}"
        );
    }
    // Nothing was run and no file was made.
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn shells_read_the_same_values() {
    for shell in ["bash", "dash", "zsh"] {
        check_reader(shell, shell, &["-c", "set -a; . ./test.env; exec env -0"]);
    }
}

#[test]
fn node_reads_the_same_values() {
    let script =
        "for (const [k, v] of Object.entries(process.env)) process.stdout.write(`${k}=${v}\\0`)";
    check_reader(
        "node --env-file",
        "node",
        &["--env-file=test.env", "-e", script],
    );
}

#[test]
fn python_dotenv_reads_the_same_values() {
    let script = "import dotenv\nfor k, v in dotenv.dotenv_values('test.env').items():\n    print(f'{k}={v}', end='\\0')";
    check_reader("python-dotenv", "python3", &["-c", script]);
}
