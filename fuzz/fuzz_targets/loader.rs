//! Any bytes as a `stack.yaml`: loaded, drafted, planned and shown without a panic, and what is
//! shown loads again.
#![no_main]

use std::path::PathBuf;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use stack::plan::{Assignment, Draft, Inputs};
use stack::spec::{Input, Problem, load};

/// A directory that is not there: no `env_file` leads anywhere.
const NOWHERE: &str = "/nowhere/stack-fuzz";

fn draft(bytes: &[u8]) -> Option<Draft> {
    let loaded = load(Input {
        bytes: bytes.to_vec(),
        shown: PathBuf::from("stack.yaml"),
        file: PathBuf::from(NOWHERE).join("stack.yaml"),
        project_dir: PathBuf::from(NOWHERE),
    });
    let mut problems = loaded.problems;
    let caller = vec![("SET".into(), "a ${B} $<PORT> $$".into())];
    let inputs = Inputs {
        caller: Arc::new(caller),
        project_name: None,
    };
    let draft = Draft::new(loaded.spec?, &inputs, &mut problems)?;
    problems
        .iter()
        .all(|problem: &Problem| !problem.is_error())
        .then_some(draft)
}

fuzz_target!(|bytes: &[u8]| {
    // An `env_file: /dev/stdin` would wait for somebody to type.
    if bytes
        .windows(5)
        .any(|window| window == b"/dev/" || window == b"/proc")
    {
        return;
    }
    let Some(draft) = draft(bytes) else { return };
    let requests = draft.requests(&mut Vec::new());
    let ports: Assignment = requests.into_iter().map(|it| it.key).zip(8000..).collect();
    draft.finish(&ports, &mut Vec::new());
    draft.show(Some(&ports));
    draft.show(None);
});
