use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use proptest::prelude::*;

use super::*;

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// The words into which the real shell splits a line.
fn split_by_shell(line: &str) -> Vec<String> {
    let script = format!("set -- {line}\nfor word do printf '%s\\0' \"$word\"; done");
    let output = Command::new("/bin/sh")
        .args(["-c", &script])
        .output()
        .unwrap();
    assert!(output.status.success(), "{line:?}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut words: Vec<_> = text.split('\0').map(str::to_owned).collect();
    words.pop();
    words
}

#[test]
fn plain_lines_need_no_shell() {
    for (line, expected) in [
        ("node", words(&["node"])),
        (
            "uvicorn app:app --port 8000",
            words(&["uvicorn", "app:app", "--port", "8000"]),
        ),
        (" \tnode\t a  b \n\n", words(&["node", "a", "b"])),
        ("./run", words(&["./run"])),
        ("/bin/echo x", words(&["/bin/echo", "x"])),
        ("node ''", words(&["node", ""])),
        ("node '' \"\"x", words(&["node", "", "x"])),
        (
            "node 'a  b' \"c 'd'\" e\\ f",
            words(&["node", "a  b", "c 'd'", "e f"]),
        ),
        ("no'd'\"e\" a", words(&["node", "a"])),
        (
            "node '$HOME `x` \\ | & *'",
            words(&["node", "$HOME `x` \\ | & *"]),
        ),
        (
            "node \"| & ; < > ( ) { } * ? [ ] # ~ ! ^\"",
            words(&["node", "| & ; < > ( ) { } * ? [ ] # ~ ! ^"]),
        ),
        (
            "node \\$HOME \\* \\\\ \\' a\\\"b",
            words(&["node", "$HOME", "*", "\\", "'", "a\"b"]),
        ),
        (
            "node a=b %1 x,y:z@w +5 -- -",
            words(&["node", "a=b", "%1", "x,y:z@w", "+5", "--", "-"]),
        ),
        ("näh ü\u{a0}ö\u{3000}", words(&["näh", "ü\u{a0}ö\u{3000}"])),
        (
            "node if then done echo",
            words(&["node", "if", "then", "done", "echo"]),
        ),
        ("iff", words(&["iff"])),
        ("env A=1 node", words(&["env", "A=1", "node"])),
        ("sleep 5", words(&["sleep", "5"])),
    ] {
        assert_eq!(decide(line, false), Some(expected), "{line:?}");
        assert_eq!(decide(line, true), None, "{line:?}");
    }
}

#[test]
fn whatever_a_shell_does_more_with_is_the_shells() {
    for line in [
        // Nothing to execute.
        "",
        " ",
        "\n",
        "\t\n",
        "# comment",
        "''",
        "\"\"",
        "'' x",
        // More than one command, or none.
        "a\nb",
        "\na",
        "a;b",
        "a|b",
        "a&b",
        "a &",
        "a||b",
        "(a)",
        "{ a; }",
        "! a",
        // Redirections, expansions, patterns, comments.
        "a>b",
        "a 2>&1",
        "a<b",
        "a $B",
        "a ${B}",
        "a $(b)",
        "a `b`",
        "a *",
        "a ?",
        "a [b]",
        "a]",
        "a {b,c}",
        "a {}",
        "a ~",
        "a ~/b",
        "a=~",
        "a #b",
        "a b#c",
        "a^b",
        "a $'b'",
        // Inside double quotes.
        "a \"$B\"",
        "a \"`b`\"",
        "a \"b\\c\"",
        "a \"b\\\"c\"",
        // Quotes and backslashes without an end.
        "a 'b",
        "a \"b",
        "a 'b\n",
        "a \"'",
        "a \\",
        "a \\\n",
        "a \\\nb",
        "a 'b\nc'",
        // The first word.
        "A=1",
        "A=1 b",
        "'A=1' b",
        "a=b",
        "%1",
        "-x",
        "+x",
        "-",
        "if",
        "\"if\" x",
        "\\if",
        "i'f'",
        "cd x",
        "exec a",
        "echo a",
        "e\\cho a",
        ". a",
        ": a",
        "[ a",
        "test a",
        "time a",
        "export A",
        "kill 1",
        "source a",
        "wait",
        "printf x",
        "ulimit -n",
        "eval a",
        "command a",
        "function a",
        // What shells do not agree on.
        "a\rb",
        "a\r",
        "a\u{b}b",
        "a\0",
        "a '\u{1}'",
        "a \"\u{7f}\"",
        "a \\\u{1b}",
        "a\u{85}b",
    ] {
        assert_eq!(decide(line, false), None, "{line:?}");
    }
}

#[test]
fn every_builtin_and_keyword_of_bash_is_known() {
    let Ok(output) = Command::new("bash").args(["-c", "compgen -bk"]).output() else {
        println!("skipped: needs bash");
        return;
    };
    for word in String::from_utf8(output.stdout).unwrap().lines() {
        assert_eq!(decide(&format!("{word} x"), false), None, "{word}");
    }
}

/// In dash, which lists nothing: what `type` calls a builtin or a keyword.
#[test]
fn no_builtin_of_the_shell_here_is_taken_for_a_program() {
    let candidates = "alias bg break builtin cd chdir command continue declare dirs echo eval exec \
        exit export false fc fg getopts hash help histcmd history jobs kill let local login logout \
        mapfile newgrp popd print printf pushd pwd read readonly return select set shift shopt \
        source suspend test times trap true type typeset ulimit umask unalias unset wait";
    let script = format!("for w in {candidates}; do type $w; done 2>/dev/null");
    let output = Command::new("/bin/sh")
        .args(["-c", &script])
        .output()
        .unwrap();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        if !line.contains(": not found") && (line.contains("builtin") || line.contains("keyword")) {
            let word = line.split(' ').next().unwrap();
            assert_eq!(decide(word, false), None, "{line}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_line_that_is_split_here_is_split_the_same_by_the_shell(
        line in "([ab\u{e9}\u{20ac}=%,@:/+-]|[ \t'\"\\\\]|[|&;<>(){}$`*?#~!^\\[\\]\n]){0,12}",
        start in prop_oneof![Just("p"), Just("")],
    ) {
        let line = format!("{start}{line}");
        if let Some(words) = decide(&line, false) {
            prop_assert_eq!(split_by_shell(&line), words);
        }
    }

    #[test]
    fn any_line_is_decided(line in "\\PC{0,40}") {
        if let Some(words) = decide(&line, false) {
            prop_assert!(!words.is_empty() && !words[0].is_empty());
        }
    }
}

/// A directory with `bin/tool` (executable), `other/tool` (not), `dirs/tool/` (a directory).
fn tree() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, mode) in [("bin/tool", 0o755), ("other/tool", 0o644), ("here", 0o755)] {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    }
    fs::create_dir_all(directory.path().join("dirs/tool")).unwrap();
    directory
}

fn find(name: &str, path: &str, cwd: &Path) -> Result<PathBuf, FindError> {
    find_program(name, Some(OsStr::new(path)), cwd)
}

#[test]
fn the_path_is_searched_as_execvp_does() {
    let tree = tree();
    let cwd = tree.path();
    let absolute = format!("/nowhere:{0}/dirs:{0}/other:{0}/bin", cwd.display());
    assert_eq!(find("tool", &absolute, cwd), Ok(cwd.join("bin/tool")));
    // Relative elements stay relative: the program is executed in `cwd`.
    assert_eq!(
        find("tool", "other:bin", cwd),
        Ok(PathBuf::from("bin/tool"))
    );
    for path in ["", ":/nowhere", "/nowhere:", "/nowhere::/bin"] {
        assert_eq!(
            find("here", path, cwd),
            Ok(PathBuf::from("./here")),
            "{path:?}"
        );
    }
    assert_eq!(find_program("sh", None, cwd), Ok(PathBuf::from("/bin/sh")));
}

#[test]
fn a_name_with_a_slash_is_a_path_in_the_directory() {
    let tree = tree();
    assert_eq!(
        find("./here", "/nowhere", tree.path()),
        Ok(PathBuf::from("./here"))
    );
    assert_eq!(
        find("bin/tool", "/nowhere", tree.path()),
        Ok(PathBuf::from("bin/tool"))
    );
    assert_eq!(
        find("/bin/sh", "", tree.path()),
        Ok(PathBuf::from("/bin/sh"))
    );
    assert!(matches!(
        find("bin/none", "", tree.path()),
        Err(FindError::NotFound { name }) if name == "bin/none"
    ));
}

#[test]
fn a_file_that_may_not_be_executed_says_more_than_not_found() {
    let tree = tree();
    let cwd = tree.path();
    for (name, path, found) in [
        ("tool", "/nowhere:other:dirs", "other/tool"),
        ("dirs/tool", "", "dirs/tool"),
    ] {
        let path_of = cwd.join(found);
        let expected = FindError::NotExecutable { path: path_of };
        assert_eq!(find(name, path, cwd), Err(expected));
    }
    // A directory on the way that is none.
    assert!(matches!(
        find("here/x", "", cwd),
        Err(FindError::NotFound { .. })
    ));
    assert!(matches!(
        find("tool", "dirs", cwd),
        Err(FindError::NotFound { .. })
    ));
}

#[test]
fn an_odd_name_is_not_found() {
    let tree = tree();
    for odd in ["", "a\0b"] {
        let found = find(odd, "/bin", tree.path());
        assert!(matches!(found, Err(FindError::NotFound { .. })));
    }
}
