//! Where `${VAR}` gets its value: the caller's environment, the top-level `env_file`s, the part of
//! `.env` that `stack` did not write; in this order.
//!
//! The user's part is that of the generated file and, where that one is elsewhere or turned off, of
//! the `.env` beside it, which is then the user's alone.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;

use super::env_file::{self, Entries};
use super::sources::{Content, Sources};
use crate::dotenv;
use crate::spec::Scope;
use crate::spec::model::EnvFileSpec;
use crate::spec::problem::{Problem, Severity, Source};

/// The default path of the generated file.
const DEFAULT_DOTENV: &str = ".env";

/// Every variable that the file may ask for.
#[derive(Debug, Clone)]
pub(super) struct Variables {
    sources: Arc<Sources>,
    caller: HashMap<String, String>,
    /// The top-level `env_file`s, later ones over earlier ones.
    files: IndexMap<String, Option<String>>,
    /// What is the user's in `.env`; the first one that has a key counts.
    own: Vec<OwnPart>,
    /// The generated file, as far as it is known; what `stack` wrote there is no `env_file`.
    generated: PathBuf,
    /// Whether it is going to be written, if it is not there yet.
    is_written: bool,
}

/// The user's part of one file.
#[derive(Debug, Clone)]
struct OwnPart {
    /// The file's path as it is shown.
    shown: String,
    values: HashMap<String, String>,
}

impl Scope for Variables {
    fn variable(&self, _: &Source, name: &str) -> Option<String> {
        self.get(name)
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        let path = self.sources.file.project_dir.join(path);
        match &self.sources.text(&path).content {
            Content::Bytes(bytes) => Ok(bytes.0.clone()),
            Content::Missing => Err("it does not exist".to_owned()),
            Content::Unreadable(reason) => Err(reason.clone()),
        }
    }

    fn on_dotenv(&mut self, path: Option<&str>, problems: &mut Vec<Problem>) {
        self.is_written = path.is_some();
        let path = path.map(|path| self.sources.file.project_dir.join(path));
        if let Some(path) = path.filter(|path| *path != self.generated) {
            self.generated.clone_from(&path);
            self.read_own(&path, problems);
        }
    }

    fn on_env_file(&mut self, file: &EnvFileSpec, problems: &mut Vec<Problem>) {
        let path = file.path.as_literal().unwrap_or_default();
        let entries = self.read_env_file(file, &path, problems);
        self.files.extend(entries);
    }
}

impl Variables {
    /// The variables that there are before the `stack.yaml` is read.
    pub(super) fn new(sources: &Arc<Sources>, problems: &mut Vec<Problem>) -> Self {
        let caller = sources.caller();
        let caller = caller
            .iter()
            .filter_map(|(key, value)| Some((key.to_str()?.to_owned(), value.to_str()?.to_owned())))
            .collect();
        let usual = sources.file.project_dir.join(DEFAULT_DOTENV);
        let mut variables = Self {
            sources: Arc::clone(sources),
            caller,
            files: IndexMap::new(),
            own: Vec::new(),
            generated: usual.clone(),
            is_written: true,
        };
        variables.read_own(&usual, problems);
        variables
    }

    /// The value of a variable.
    fn get(&self, name: &str) -> Option<String> {
        self.caller
            .get(name)
            .cloned()
            .or_else(|| self.files.get(name).cloned().flatten())
            .or_else(|| self.of_own_dotenv(name).map(|(value, _)| value.to_owned()))
    }

    /// The entries of the top-level `env_file`s; `None` removes a key.
    pub(super) fn files(&self) -> &IndexMap<String, Option<String>> {
        &self.files
    }

    /// The value that the caller's environment gives a key.
    pub(super) fn of_caller(&self, key: &str) -> Option<&str> {
        self.caller.get(key).map(String::as_str)
    }

    /// The value that the user's own part of `.env` gives a key, and the path of that file.
    pub(super) fn of_own_dotenv(&self, key: &str) -> Option<(&str, &str)> {
        self.own
            .iter()
            .find_map(|part| Some((part.values.get(key)?.as_str(), part.shown.as_str())))
    }

    /// Adds the user's part of a file, over those that were added before.
    pub(super) fn read_own(&mut self, path: &Path, problems: &mut Vec<Problem>) {
        let text = self.sources.text(path);
        // Whatever keeps it from being read keeps it from being written, and is told there.
        let Content::Bytes(bytes) = &text.content else {
            return;
        };
        let user = dotenv::user_part(&bytes.0);
        let shown = path
            .strip_prefix(&self.sources.file.project_dir)
            .unwrap_or(path);
        let lookup = |name: &str| self.caller.get(name).cloned();
        let contents = env_file::read(&user, shown, Severity::Warning, &lookup, problems);
        let values = contents
            .entries
            .into_iter()
            .filter_map(|entry| Some((entry.key, entry.value?)))
            .collect();
        let shown = shown.display().to_string();
        self.own.insert(0, OwnPart { shown, values });
    }

    /// The entries of an `env_file` whose path is `shown`; a key alone has the caller's value, or
    /// removes the key.
    pub(super) fn read_env_file(
        &self,
        file: &EnvFileSpec,
        shown: &str,
        problems: &mut Vec<Problem>,
    ) -> Entries {
        let path = self.sources.file.project_dir.join(shown);
        let text = self.sources.text(&path);
        let is_ours = self.is_generated(&path);
        let is_awaited = self.is_written && normal(&path) == normal(&self.generated);
        let rules = (is_ours, is_awaited || !file.is_required);
        let lookup = |name: &str| self.get(name);
        env_file::entries(file, shown, &text, rules, &lookup, problems)
    }

    /// Whether a file is one that `stack` writes in this project: the generated one, or that of a
    /// second copy beside it. Its block holds the ports of the last run, which must not come back
    /// as if somebody had asked for them.
    fn is_generated(&self, path: &Path) -> bool {
        let (path, generated) = (normal(path), normal(&self.generated));
        let is_beside = path.parent() == generated.parent()
            && path
                .file_name()
                .zip(generated.file_name())
                .is_some_and(|(name, generated)| {
                    let (name, generated) = (name.to_string_lossy(), generated.to_string_lossy());
                    name.strip_prefix(&*generated)
                        .is_some_and(|rest| rest.starts_with('.'))
                });
        let is_same = || {
            let real = self.sources.text(&path).real.clone();
            real.is_some() && real == self.sources.text(&generated).real
        };
        path == generated || is_beside || is_same()
    }
}

/// The path without `.` in it.
fn normal(path: &Path) -> PathBuf {
    path.components().collect()
}
