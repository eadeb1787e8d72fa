//! Where `${VAR}` gets its value: the caller's environment, the top-level `env_file`s, the part of
//! `.env` that `stack` did not write; in this order.
//!
//! The user's part is that of the generated file and, where that one is elsewhere or turned off, of
//! the `.env` beside it, which is then the user's alone.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;

use super::env_file::{self, Entries, Reading};
use crate::dotenv;
use crate::spec::model::{EnvFileSpec, Setting, SettingError, StackSpec};
use crate::spec::problem::{Problem, Span};
use crate::spec::template::{Lookup, Placeholder, Template};

/// The environment of whoever called `stack`.
pub type Caller = Arc<Vec<(OsString, OsString)>>;

/// The default path of the generated file.
const DEFAULT_DOTENV: &str = ".env";

/// Every variable that the file may ask for.
#[derive(Debug, Clone)]
pub(super) struct Variables {
    caller: HashMap<String, String>,
    /// The top-level `env_file`s, later ones over earlier ones.
    files: IndexMap<String, Option<String>>,
    /// What is the user's in `.env`; the first one that has a key counts.
    own: Vec<OwnPart>,
    /// The generated file, as far as it is known; what `stack` wrote there is no `env_file`.
    generated: PathBuf,
}

/// The user's part of one file.
#[derive(Debug, Clone)]
struct OwnPart {
    /// The file's path as it is shown.
    shown: String,
    values: HashMap<String, String>,
}

/// The lookup for texts in which no placeholder can stand.
struct WithoutPlaceholders<'a>(&'a Variables);

impl Lookup for WithoutPlaceholders<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        self.0.get(name)
    }

    fn placeholder(&self, _: &Placeholder, _: &Span) -> Result<String, Problem> {
        // The spec has reported it; nothing is said twice.
        Ok(String::new())
    }
}

/// The value of a typed text, or nothing when it cannot be made or is wrong.
pub(super) fn settle<T>(
    template: &Template,
    parse: fn(&str) -> Result<T, SettingError>,
    lookup: &dyn Lookup,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let before = problems.len();
    let resolved = template.resolve(lookup, problems);
    if problems[before..].iter().any(Problem::is_error) {
        return None;
    }
    match parse(&resolved) {
        Ok(value) => Some(value),
        Err(error) => {
            let mut problem = Problem::error(error.code, error.message, &template.span)
                .label(format!("this comes to `{resolved}`"));
            problem.hint = error.hint;
            problems.push(problem);
            None
        }
    }
}

impl Variables {
    /// Collects the variables of a stack, and says where the generated file is.
    pub(super) fn collect(
        spec: &StackSpec,
        caller: &Caller,
        problems: &mut Vec<Problem>,
    ) -> (Self, Option<PathBuf>) {
        let caller = caller
            .iter()
            .filter_map(|(key, value)| Some((key.to_str()?.to_owned(), value.to_str()?.to_owned())))
            .collect();
        let usual = spec.project_dir.join(DEFAULT_DOTENV);
        let mut variables = Self {
            caller,
            files: IndexMap::new(),
            own: Vec::new(),
            generated: usual.clone(),
        };
        variables.read_own(&usual, &spec.project_dir, problems);
        let dotenv = spec.dotenv.as_ref().map(|dotenv| match &dotenv.path {
            Some(path) => spec.project_dir.join(variables.resolve(path, problems)),
            None => usual.clone(),
        });
        if let Some(path) = dotenv.as_ref().filter(|path| **path != usual) {
            variables.generated.clone_from(path);
            variables.read_own(path, &spec.project_dir, problems);
        }
        for file in &spec.env_file {
            let before = problems.len();
            let path = variables.resolve(&file.path, problems);
            // A path that could not be made has its problem already.
            if file.path.holds_placeholder() || problems[before..].iter().any(Problem::is_error) {
                continue;
            }
            let entries = variables.read_env_file(file, &path, &spec.project_dir, problems);
            variables.files.extend(entries);
        }
        (variables, dotenv)
    }

    /// A text without placeholders.
    pub(super) fn resolve(&self, template: &Template, problems: &mut Vec<Problem>) -> String {
        template.resolve(&WithoutPlaceholders(self), problems)
    }

    /// A typed value in which no placeholder can stand, or nothing when it is wrong.
    pub(super) fn setting<T: Copy>(
        &self,
        setting: &Setting<T>,
        problems: &mut Vec<Problem>,
    ) -> Option<T> {
        match setting {
            Setting::Known(value) => Some(value.value),
            // The spec has reported it.
            Setting::Deferred(template, _) if template.holds_placeholder() => None,
            Setting::Deferred(template, parse) => {
                settle(template, *parse, &WithoutPlaceholders(self), problems)
            }
        }
    }

    /// The value of a variable.
    pub(super) fn get(&self, name: &str) -> Option<String> {
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
    pub(super) fn read_own(&mut self, path: &Path, base: &Path, problems: &mut Vec<Problem>) {
        // Whatever keeps it from being read keeps it from being written, and is told there.
        let Ok(bytes) = env_file::read_bytes(path) else {
            return;
        };
        let user = dotenv::user_part(&bytes);
        let shown = path.strip_prefix(base).unwrap_or(path);
        let contents = dotenv::read(&user, |name| self.caller.get(name).cloned());
        let source = env_file::source(shown, &user);
        for error in contents.errors.iter().take(env_file::MAX_TOLD) {
            let mut problem = Problem::warning(
                error.kind.code(),
                format!("{}; the line is left alone and not used", error.kind),
                &env_file::place(&source, error.line, error.column),
            );
            problem.hint = error.kind.hint().map(str::to_owned);
            problems.push(problem);
        }
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
        base: &Path,
        problems: &mut Vec<Problem>,
    ) -> Entries {
        let path = base.join(shown);
        let reading = Reading {
            file,
            shown,
            path: &path,
            without_block: self.is_generated(&path),
        };
        reading.entries(&|name| self.get(name), problems)
    }

    /// Whether a file is one that `stack` writes in this project: the generated one, or that of a
    /// second copy beside it. Its block holds the ports of the last run, which must not come back
    /// as if somebody had asked for them.
    fn is_generated(&self, path: &Path) -> bool {
        let normal = |path: &Path| path.components().collect::<PathBuf>();
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
            let canonical = |path: &Path| fs_err::canonicalize(path).ok();
            canonical(&path).is_some_and(|path| canonical(&generated) == Some(path))
        };
        path == generated || is_beside || is_same()
    }
}
