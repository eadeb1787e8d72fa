//! Tests of the room as a whole; what one file does is tested beside it.

mod agreement;
mod compose;
mod files;
mod limits;
mod places;
mod services;

use std::path::PathBuf;
use std::sync::Arc;

use super::testing::{load_files, load_text};
use super::{Home, Source, StackSpec};

/// The spec of a text in which nothing is wrong.
fn good(text: &str) -> StackSpec {
    let loaded = load_text(text);
    assert!(loaded.problems.is_empty(), "{text}\n{:#?}", loaded.problems);
    loaded.spec.expect("a text without problems gives a spec")
}

/// The codes of everything that is wrong, in the order of the file.
fn codes(text: impl Into<Vec<u8>>) -> Vec<&'static str> {
    let problems = load_text(text).problems;
    problems.iter().map(|problem| problem.code).collect()
}

fn source(text: &str) -> Arc<Source> {
    Arc::new(Source {
        path: PathBuf::from("stack.yaml"),
        text: text.to_owned(),
        home: Home::default(),
    })
}

/// What the tree loader alone says about a text.
fn tree_codes(text: &str) -> Vec<&'static str> {
    let source = source(text);
    let mut problems = Vec::new();
    if let Err(problem) = super::load::tree(&source, &mut problems) {
        problems.push(problem);
    }
    problems.iter().map(|problem| problem.code).collect()
}
