//! Compose files of other projects: each is refused for the reasons that are known, and told so.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::plan::{Arguments, Draft, Sources};
use crate::spec::find::Request;

#[test]
fn compose_files_are_refused_for_known_reasons() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus/compose");
    if !corpus.is_dir() {
        let is_required = std::env::var("STACK_TEST_REQUIRE").is_ok_and(|value| value == "all");
        assert!(!is_required, "the corpus is required and not there");
        println!("skipped: needs the corpus");
        return;
    }
    let mut files: Vec<PathBuf> = fs_err::read_dir(&corpus)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    let mut table = String::new();
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let began = Instant::now();
        let request = Request {
            files: &["-".into()],
            stack_file: None,
            origin: None,
            working_dir: Path::new("/shop"),
        };
        let bytes = fs_err::read(&file).unwrap();
        let caller = Arc::default();
        let arguments = Arguments::default();
        let sources = Sources::read(&request, &mut bytes.as_slice(), &caller, arguments);
        let (_, problems) = Draft::new(sources.unwrap());
        assert!(began.elapsed() < Duration::from_secs(10), "{name}");
        for problem in &problems {
            assert!(!problem.labels.is_empty(), "{name}: {problem:?}");
            assert!(problem.hint.is_some(), "{name}: {problem:?}");
        }
        let codes: BTreeSet<&str> = problems
            .iter()
            .filter(|problem| problem.is_error())
            .map(|problem| problem.code.trim_start_matches("stack::"))
            .collect();
        let codes: Vec<&str> = codes.into_iter().collect();
        writeln!(table, "{name}: {}", codes.join(" ")).unwrap();
    }
    insta::assert_snapshot!(table);
}
