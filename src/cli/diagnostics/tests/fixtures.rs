//! Every code that a user's files can bring about has a bad fixture, and its report is known.
//!
//! - `tests/fixtures/spec/CODE[-VARIANT].yaml` is a `stack.yaml` that does not even load.
//! - `tests/fixtures/plan/CODE[-VARIANT]/` is a project directory called `shop`: a `stack.yaml`,
//!   other files beside it (`dotenv` stands for `.env`), and in `caller` the environment of whoever
//!   calls `stack`, whose `STACK_PROJECT_NAME` counts; `directory` holds another name for it, and
//!   `arguments` a `scale SERVICE=N` or `port SERVICE[.NAME]=N` on each line.
//! - `tests/fixtures/dotenv/CODE[-VARIANT].env` is an `env_file`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;

use super::{load_text, plain};
use crate::dotenv::read::ReadErrorKind;
use crate::plan::{self, Arguments, Draft, PortArgument, Sources};
use crate::spec::find::Request;
use crate::spec::{self, Problem};
use crate::support::name::ServiceName;

/// Codes that no file can show; each has a test beside what reports it.
const WITHOUT_FIXTURE: [&str; 5] = [
    spec::code::NO_FILE,
    spec::code::UNREADABLE,
    spec::code::TOO_LARGE,
    plan::code::NOT_ALLOCATED,
    plan::code::TOO_LONG,
];

/// The files and directories of one kind of fixture.
fn fixtures(kind: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(kind);
    let mut found: Vec<PathBuf> = fs_err::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().is_some_and(|name| name != "reports"))
        .collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

/// Holds the report of a fixture against the one that is known, and returns its codes.
#[track_caller]
fn check(kind: &str, fixture: &Path, problems: &[Problem]) -> Vec<&'static str> {
    let stem = fixture.file_stem().unwrap().to_str().unwrap();
    let meant = stem.split('-').next().unwrap();
    let codes: Vec<&'static str> = problems.iter().map(|problem| problem.code).collect();
    assert!(
        codes
            .iter()
            .any(|code| code.rsplit("::").next() == Some(meant)),
        "{stem} shows {problems:?}"
    );
    for problem in problems {
        assert!(problem.hint.is_some(), "{} has no hint", problem.code);
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(format!("../../../../tests/fixtures/{kind}/reports"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(stem, plain(problems)));
    codes
}

#[track_caller]
fn all_are_shown(all: &[&str], shown: &BTreeSet<&str>) {
    let missing: Vec<_> = all.iter().filter(|code| !shown.contains(**code)).collect();
    assert!(missing.is_empty(), "no fixture shows {missing:?}");
}

/// The problems of a project directory, copied so that its name is the same everywhere.
fn problems_of(fixture: &Path) -> Vec<Problem> {
    let parent = tempfile::tempdir().unwrap();
    // `directory` holds another name for it.
    let name = fs_err::read_to_string(fixture.join("directory"));
    let name = name.unwrap_or_else(|_| "shop".to_owned());
    let directory = fs_err::canonicalize(parent.path()).unwrap().join(name);
    fs_err::create_dir(&directory).unwrap();
    let mut caller: Vec<(OsString, OsString)> = Vec::new();
    let (mut scale, mut ports) = (IndexMap::new(), Vec::new());
    for entry in fs_err::read_dir(fixture).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name == "caller" {
            let text = fs_err::read_to_string(&path).unwrap();
            let pairs = text.lines().filter_map(|line| line.split_once('='));
            caller = pairs
                .map(|(key, value)| (key.into(), value.into()))
                .collect();
            continue;
        }
        if name == "arguments" {
            for line in fs_err::read_to_string(&path).unwrap().lines() {
                let (flag, value) = line.split_once(' ').unwrap();
                let (subject, number) = value.split_once('=').unwrap();
                if flag == "scale" {
                    let service = ServiceName::new(subject).unwrap();
                    scale.insert(service, number.parse().unwrap());
                } else {
                    ports.push(PortArgument {
                        port: subject.to_owned(),
                        number: number.parse().unwrap(),
                    });
                }
            }
            continue;
        }
        let name = if name == "dotenv" { ".env" } else { name };
        fs_err::copy(&path, directory.join(name)).unwrap();
    }
    let named = caller.iter().find(|(key, _)| key == "STACK_PROJECT_NAME");
    let arguments = Arguments {
        project_name: named.map(|(_, value)| value.to_str().unwrap().to_owned()),
        scale,
        ports,
        ..Arguments::default()
    };
    let request = Request {
        files: &[],
        stack_file: None,
        origin: None,
        working_dir: &directory,
    };
    let caller = Arc::new(caller);
    let sources = Sources::read(&request, &mut std::io::empty(), &caller, arguments).unwrap();
    let (draft, mut problems) = Draft::new(sources);
    if let Some(draft) = draft {
        draft.requests(&mut problems);
    }
    let parent = parent.path().to_str().unwrap();
    for problem in &mut problems {
        problem.message = problem.message.replace(parent, "/home/me");
        let hint = problem.hint.take();
        problem.hint = hint.map(|hint| hint.replace(parent, "/home/me"));
    }
    problems
}

#[test]
fn every_code_of_the_spec_and_the_plan_has_a_bad_fixture_and_its_report_is_known() {
    let mut shown: BTreeSet<&str> = WITHOUT_FIXTURE.into();
    for file in fixtures("spec") {
        let loaded = load_text(fs_err::read(&file).unwrap());
        shown.extend(check("spec", &file, &loaded.problems));
    }
    for directory in fixtures("plan") {
        shown.extend(check("plan", &directory, &problems_of(&directory)));
    }
    all_are_shown(spec::code::ALL, &shown);
    all_are_shown(plan::code::ALL, &shown);
}

/// One of each kind: a new one does not compile until it stands here.
fn kinds() -> Vec<&'static str> {
    use ReadErrorKind as Kind;
    let next = |kind: &Kind| match kind {
        Kind::KeyMissing => Some(Kind::KeyCharacter('x')),
        Kind::KeyCharacter(_) => Some(Kind::KeySpace),
        Kind::KeySpace => Some(Kind::Unterminated('"')),
        Kind::Unterminated(_) => Some(Kind::TextAfterQuote),
        Kind::TextAfterQuote => Some(Kind::BadVariable),
        Kind::BadVariable => Some(Kind::Required {
            name: String::new(),
            message: String::new(),
        }),
        Kind::Required { .. } => Some(Kind::TooDeep),
        Kind::TooDeep => Some(Kind::TooLong),
        Kind::TooLong => Some(Kind::Nul),
        Kind::Nul => Some(Kind::NotUtf8),
        Kind::NotUtf8 => None,
    };
    let kinds = std::iter::successors(Some(Kind::KeyMissing), next);
    kinds.map(|kind| kind.code()).collect()
}

#[test]
fn every_mistake_in_an_env_file_has_a_fixture_and_its_report_is_known() {
    // A fixture of megabytes; what it is told by is tested beside the reader.
    let mut shown: BTreeSet<&str> = [ReadErrorKind::TooLong.code()].into();
    for file in fixtures("dotenv") {
        let directory = tempfile::tempdir().unwrap();
        let yaml = "env_file: .env.local\nservices: { a: { command: serve } }\n";
        fs_err::write(directory.path().join("stack.yaml"), yaml).unwrap();
        fs_err::copy(&file, directory.path().join(".env.local")).unwrap();
        shown.extend(check("dotenv", &file, &problems_of(directory.path())));
    }
    all_are_shown(&kinds(), &shown);
}
