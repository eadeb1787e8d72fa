//! Where problems are collected while a file is read.

use super::problem::Problem;

/// More problems than anybody reads. Past it a file is rubbish or an attack, and neither should
/// fill the memory with its report.
const MAX_PROBLEMS: usize = 1_000;

/// The problems so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    list: Vec<Problem>,
}

impl Problems {
    /// Adds a problem, unless there are too many already.
    pub(super) fn push(&mut self, problem: Problem) {
        if !self.is_full() {
            self.list.push(problem);
        }
    }

    /// Whether no more are taken.
    pub(super) fn is_full(&self) -> bool {
        self.list.len() >= MAX_PROBLEMS
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// All of them, in the order of the file; those without a place come first.
    pub(super) fn into_sorted(mut self) -> Vec<Problem> {
        self.list
            .sort_by_key(|problem| problem.labels.first().map(|label| label.span.start));
        self.list
    }
}
