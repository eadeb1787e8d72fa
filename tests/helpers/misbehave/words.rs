//! The words of the command line: positional arguments, options, and what comes after `--`.

use std::collections::VecDeque;
use std::str::FromStr;
use std::time::Duration;

use crate::Failure;

/// The words that no one has taken yet.
#[derive(Debug)]
pub(crate) struct Words(VecDeque<String>);

impl Words {
    pub(crate) fn from_arguments() -> Self {
        Self(std::env::args().skip(1).collect())
    }

    /// Takes the next word.
    pub(crate) fn text(&mut self, what: &str) -> Result<String, Failure> {
        self.0
            .pop_front()
            .ok_or_else(|| format!("{what} is missing").into())
    }

    /// Takes the next word as a number or whatever else has a text form.
    pub(crate) fn value<T: FromStr>(&mut self, what: &str) -> Result<T, Failure> {
        let text = self.text(what)?;
        text.parse()
            .map_err(|_| format!("`{text}` is not a valid {what}").into())
    }

    /// Takes the next word as milliseconds; none at all are zero.
    pub(crate) fn millis_or_none(&mut self) -> Result<Duration, Failure> {
        if self.0.is_empty() {
            return Ok(Duration::ZERO);
        }
        self.value("MS").map(Duration::from_millis)
    }

    /// Takes `--name`, wherever it stands before a `--`.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        self.find(name)
            .inspect(|&index| drop(self.0.remove(index)))
            .is_some()
    }

    /// Takes `--name VALUE`, wherever it stands before a `--`.
    pub(crate) fn option<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, Failure> {
        let Some(index) = self.find(name) else {
            return Ok(None);
        };
        self.0.remove(index);
        let text = self
            .0
            .remove(index)
            .ok_or_else(|| format!("{name} needs a value"))?;
        text.parse()
            .map(Some)
            .map_err(|_| format!("`{text}` is not a value for {name}").into())
    }

    /// Takes `--`; what follows is another mode.
    pub(crate) fn then(&mut self) -> Result<Self, Failure> {
        if self.text("`--`")? != "--" {
            return Err("`--` and another mode are missing".into());
        }
        Ok(Self(std::mem::take(&mut self.0)))
    }

    /// All words that are left, as the arguments of a program.
    pub(crate) fn into_arguments(self) -> Vec<String> {
        self.0.into()
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.0
            .iter()
            .take_while(|word| *word != "--")
            .position(|word| word == name)
    }
}
