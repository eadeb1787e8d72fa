//! Where `${VAR}` gets its value: the caller's environment, the top-level `env_file`s, the part of
//! `.env` that `stack` did not write; in this order.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;

use crate::dotenv;
use crate::spec::model::{EnvFileSpec, StackSpec};
use crate::spec::problem::{Problem, Source, Span};
use crate::spec::template::{Lookup, Placeholder, Template};

/// The environment of whoever called `stack`.
pub type Caller = Arc<Vec<(OsString, OsString)>>;

/// The default path of the generated file.
pub(super) const DEFAULT_DOTENV: &str = ".env";

/// Every variable that the file may ask for.
#[derive(Debug, Clone)]
pub(super) struct Variables {
    caller: HashMap<String, String>,
    /// The top-level `env_file`s, later ones over earlier ones, in the order of their keys.
    pub(super) files: Vec<(String, Option<String>)>,
    /// The user's own part of `.env`.
    own: HashMap<String, String>,
}

/// The lookup for texts in which no placeholder can stand.
struct WithoutPlaceholders<'a>(&'a Variables);

impl Lookup for WithoutPlaceholders<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        self.0.get(name)
    }

    fn placeholder(&self, _: &Placeholder, span: &Span) -> Result<String, Problem> {
        // The spec has reported it already; this is the value that goes nowhere.
        Err(Problem::error(
            "stack::spec::placeholder_place",
            "no placeholder can stand here",
            span,
        ))
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
        let mut variables = Self {
            caller,
            files: Vec::new(),
            own: HashMap::new(),
        };
        let dotenv = spec.dotenv.as_ref().map(|dotenv| {
            let path = match &dotenv.path {
                Some(path) => variables.resolve(path, problems),
                None => DEFAULT_DOTENV.to_owned(),
            };
            spec.project_dir.join(path)
        });
        if let Some(path) = &dotenv {
            variables.read_own(path, problems);
        }
        for file in &spec.env_file {
            let entries = variables.read_env_file(file, &spec.project_dir, problems);
            variables.files.extend(entries);
        }
        (variables, dotenv)
    }

    /// A text without placeholders.
    pub(super) fn resolve(&self, template: &Template, problems: &mut Vec<Problem>) -> String {
        template.resolve(&WithoutPlaceholders(self), problems)
    }

    /// The value of a variable.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        self.caller
            .get(name)
            .cloned()
            .or_else(|| self.in_files(name))
            .or_else(|| self.own.get(name).cloned())
    }

    fn in_files(&self, name: &str) -> Option<String> {
        let entry = self.files.iter().rev().find(|(key, _)| key == name)?;
        entry.1.clone()
    }

    /// The value that the caller's environment gives a key.
    pub(super) fn of_caller(&self, key: &str) -> Option<&str> {
        self.caller.get(key).map(String::as_str)
    }

    /// The value that the user's own part of `.env` gives a key.
    pub(super) fn of_own_dotenv(&self, key: &str) -> Option<&str> {
        self.own.get(key).map(String::as_str)
    }

    fn read_own(&mut self, path: &Path, problems: &mut Vec<Problem>) {
        let Ok(bytes) = fs::read(path) else { return };
        let user = dotenv::user_part(&bytes);
        let contents = dotenv::read(&user, |name| self.caller.get(name).cloned());
        if !contents.errors.is_empty() {
            let source = source(path, &user);
            for error in &contents.errors {
                let mut problem = Problem::warning(
                    error.kind.code(),
                    format!("{}; the line is left alone and not used", error.kind),
                    &place(&source, error.line, error.column),
                );
                problem.hint = error.kind.hint().map(str::to_owned);
                problems.push(problem);
            }
        }
        for entry in contents.entries {
            if let Some(value) = entry.value {
                self.own.insert(entry.key, value);
            }
        }
    }

    /// The entries of an `env_file`; a key alone has the caller's value, or removes the key.
    pub(super) fn read_env_file(
        &self,
        file: &EnvFileSpec,
        base: &Path,
        problems: &mut Vec<Problem>,
    ) -> Vec<(String, Option<String>)> {
        let shown = self.resolve(&file.path, problems);
        let path = base.join(&shown);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !file.is_required => {
                return Vec::new();
            }
            Err(error) => {
                let reason = match error.kind() {
                    io::ErrorKind::NotFound => "does not exist".to_owned(),
                    _ => format!("cannot be read: {error}"),
                };
                problems.push(
                    Problem::error(
                        "stack::plan::env_file",
                        format!("the env_file `{shown}` {reason}"),
                        &file.path.span,
                    )
                    .hint(format!(
                        "create it, or write `{{path: {shown}, required: false}}` if it may be missing"
                    )),
                );
                return Vec::new();
            }
        };
        let contents = dotenv::read(&bytes, |name| self.get(name));
        let source = source(Path::new(&shown), &bytes);
        for error in &contents.errors {
            let mut problem = Problem::error(
                error.kind.code(),
                error.kind.to_string(),
                &place(&source, error.line, error.column),
            );
            problem.hint = error.kind.hint().map(str::to_owned);
            problems.push(problem);
        }
        for unset in &contents.unset {
            problems.push(
                Problem::warning(
                    "stack::spec::unset_variable",
                    format!(
                        "the variable `{}` is not set; its place stays empty",
                        unset.name
                    ),
                    &place(&source, unset.line, unset.column),
                )
                .hint("put the value in single quotes if the `$` is meant as it stands"),
            );
        }
        contents
            .entries
            .into_iter()
            .map(|entry| {
                let value = entry.value.or_else(|| self.get(&entry.key));
                (entry.key, value)
            })
            .collect()
    }
}

fn source(path: &Path, bytes: &[u8]) -> Arc<Source> {
    Arc::new(Source {
        path: path.to_path_buf(),
        text: String::from_utf8_lossy(bytes).into_owned(),
    })
}

/// The span of one character at a line and column, both from 1.
fn place(source: &Arc<Source>, line: usize, column: usize) -> Span {
    let text = &source.text;
    let line_start = if line <= 1 {
        0
    } else {
        text.match_indices('\n')
            .nth(line - 2)
            .map_or(text.len(), |(at, _)| at + 1)
    };
    let start = text[line_start..]
        .char_indices()
        .nth(column.saturating_sub(1))
        .map_or(text.len(), |(at, _)| line_start + at);
    let end = text[start..]
        .chars()
        .next()
        .map_or(start, |c| start + c.len_utf8());
    Span {
        source: Arc::clone(source),
        start,
        end,
    }
}
