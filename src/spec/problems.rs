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

    /// Adds those that were found elsewhere.
    pub(super) fn extend(&mut self, problems: Vec<Problem>) {
        for problem in problems {
            self.push(problem);
        }
    }

    /// All of them.
    pub(super) fn into_vec(self) -> Vec<Problem> {
        self.list
    }
}
