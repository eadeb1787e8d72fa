//! Any bytes as a `stack.yaml`: loaded, drafted, planned and shown without a panic, and what is
//! shown loads again.
#![no_main]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use stack::plan::{Arguments, Assignment, Draft, Sources};
use stack::spec::find::Request;

/// A directory that is not there: no `env_file` leads anywhere.
const NOWHERE: &str = "/nowhere/stack-fuzz";

fn draft(bytes: &[u8]) -> Option<Draft> {
    let request = Request {
        files: &[PathBuf::from("-")],
        stack_file: None,
        origin: None,
        working_dir: Path::new(NOWHERE),
    };
    let caller = Arc::new(vec![("SET".into(), "a ${B} $<PORT> $$".into())]);
    let mut stdin = bytes;
    let sources = Sources::read(&request, &mut stdin, &caller, Arguments::default()).ok()?;
    let (draft, problems) = Draft::new(sources);
    draft.filter(|_| problems.iter().all(|problem| !problem.is_error()))
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
