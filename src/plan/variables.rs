//! Where `${VAR}` gets its value: the caller's environment, the top-level `env_file`s, the part of
//! `.env` that `stack` did not write; in this order.
//!
//! The user's part is that of the generated file and, where that one is elsewhere or turned off, of
//! the `.env` beside it, which is then the user's alone.
//!
//! The files of an `include` are a realm of their own: they see all that the including file sees, and
//! after that their own `env_file`s.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;

use super::code;
use super::env_file::{self, Entries};
use super::sources::{Content, Sources};
use crate::dotenv;
use crate::spec::Scope;
use crate::spec::find::FilePath;
use crate::spec::model::EnvFileSpec;
use crate::spec::problem::{Problem, Severity, Source};
use crate::support::name::ProjectName;

/// The default path of the generated file.
const DEFAULT_DOTENV: &str = ".env";

/// The variable that names the project, unless a flag does.
pub(super) const PROJECT_NAME: &str = "STACK_PROJECT_NAME";

/// Where what the caller's environment has is from.
const CALLER: &str = "the environment";

/// Every variable that the file may ask for.
#[derive(Debug, Clone)]
pub(super) struct Variables {
    sources: Arc<Sources>,
    caller: HashMap<String, String>,
    /// What the files call the project.
    name: Option<String>,
    /// The project's own, then one for each `include`.
    realms: Vec<Realm>,
    /// The generated file, as far as it is known; what `stack` wrote there is no `env_file`.
    generated: PathBuf,
    /// Whether it is going to be written, if it is not there yet.
    is_written: bool,
}

/// What one set of files sees.
#[derive(Debug, Clone, Default)]
struct Realm {
    /// The realm of the file that includes these.
    outer: Option<usize>,
    /// The top-level `env_file`s, later ones over earlier ones.
    files: IndexMap<String, Option<String>>,
    /// Which of them has a key.
    origins: HashMap<String, String>,
    /// What is the user's in `.env`; the first one that has a key counts.
    own: Vec<OwnPart>,
    /// What the command line puts in the place of `.env`, which is stronger than `files`.
    given: Vec<OwnPart>,
}

/// The user's part of one file.
#[derive(Debug, Clone)]
struct OwnPart {
    /// The file's path as it is shown.
    shown: String,
    values: HashMap<String, String>,
}

impl Scope for Variables {
    fn variable(&self, source: &Source, name: &str) -> Option<String> {
        self.get(source.home.realm, name)
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

    fn on_name(&mut self, name: &str) {
        self.name = Some(name.to_owned());
    }

    fn on_env_file(&mut self, file: &EnvFileSpec, problems: &mut Vec<Problem>) {
        let path = file.path.as_literal().unwrap_or_default();
        let entries = self.read_env_file(file, &path, problems);
        let realm = file.path.span.source.home.realm;
        let realm = &mut self.realms[realm];
        let origins = entries.iter().map(|(key, _)| (key.clone(), path.clone()));
        realm.origins.extend(origins);
        realm.files.extend(entries);
    }

    fn enter(
        &mut self,
        outer: usize,
        dir: &Path,
        env_files: Option<&[EnvFileSpec]>,
        problems: &mut Vec<Problem>,
    ) -> usize {
        let mut own = Vec::new();
        for file in env_files.unwrap_or_default() {
            let shown = file.path.as_literal().unwrap_or_default();
            let values = self.read_env_file(file, &shown, problems).into_iter();
            let values = values
                .filter_map(|(key, value)| Some((key, value?)))
                .collect();
            own.insert(0, OwnPart { shown, values });
        }
        if env_files.is_none() {
            let lookup = |name: &str| self.get(outer, name);
            own.extend(self.own_part(&lookup, &dir.join(DEFAULT_DOTENV), problems));
        }
        self.realms.push(Realm {
            outer: Some(outer),
            own,
            ..Realm::default()
        });
        self.realms.len() - 1
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
            name: None,
            realms: vec![Realm::default()],
            generated: usual.clone(),
            is_written: true,
        };
        for file in &sources.arguments.env_files {
            variables.read_given(file, problems);
        }
        variables.read_own(&usual, problems);
        variables
    }

    /// Adds a file that the command line names, over those that were added before.
    fn read_given(&mut self, file: &FilePath, problems: &mut Vec<Problem>) {
        let shown = file.shown.display().to_string();
        let reason = match &self.sources.text(&file.file).content {
            Content::Bytes(_) => None,
            Content::Missing => Some("it does not exist".to_owned()),
            Content::Unreadable(reason) => Some(reason.clone()),
        };
        if let Some(reason) = reason {
            let message = format!("`{shown}` (`--env-file`) cannot be read: {reason}");
            let hint = "it is a file with lines of `KEY=value`, in place of `.env`";
            problems.push(Problem::without_place(code::ENV_FILE, message).hint(hint));
            return;
        }
        let lookup = |name: &str| self.get(0, name);
        if let Some(mut part) = self.own_part(&lookup, &file.file, problems) {
            part.shown = shown;
            self.realms[0].given.insert(0, part);
        }
    }

    /// The value of a variable in the files of a realm.
    fn get(&self, realm: usize, name: &str) -> Option<String> {
        if name == PROJECT_NAME {
            return self.project_name();
        }
        let realm = self.realms.get(realm)?;
        let before = match realm.outer {
            Some(outer) => self.get(outer, name),
            None => self.caller.get(name).cloned(),
        };
        let own = |parts| of_parts(parts, name).map(|(value, _)| value.to_owned());
        before
            .or_else(|| own(&realm.given))
            .or_else(|| realm.files.get(name).cloned().flatten())
            .or_else(|| own(&realm.own))
    }

    /// The project's name, as far as it is known while the files are read.
    fn project_name(&self) -> Option<String> {
        let asked = self.sources.arguments.project_name.as_deref();
        let own = || self.of_own_dotenv(PROJECT_NAME).map(|(name, _)| name);
        let said = asked.or_else(own).or(self.name.as_deref());
        let of_directory = || {
            let name = self.sources.file.project_dir.file_name()?;
            Some(ProjectName::normalised(&name.to_string_lossy())?.to_string())
        };
        said.map(str::to_owned).or_else(of_directory)
    }

    /// Every variable that the project's files see, with its value and where that is from, sorted.
    pub(super) fn all(&self) -> BTreeMap<String, (String, String)> {
        let realm = &self.realms[0];
        let mut all = BTreeMap::new();
        let mut add = |key: &str, value: &str, from: &str| {
            all.insert(key.to_owned(), (value.to_owned(), from.to_owned()));
        };
        // The weakest first.
        let lay = |parts: &[OwnPart], add: &mut dyn FnMut(&str, &str, &str)| {
            for part in parts.iter().rev() {
                for (key, value) in &part.values {
                    add(key, value, &part.shown);
                }
            }
        };
        lay(&realm.own, &mut add);
        for (key, value) in &realm.files {
            let from = realm.origins.get(key).map_or("", String::as_str);
            if let Some(value) = value {
                add(key, value, from);
            }
        }
        lay(&realm.given, &mut add);
        for (key, value) in &self.caller {
            add(key, value, CALLER);
        }
        if let Some(name) = self.project_name() {
            let asked = &self.sources.arguments.project_name;
            let is_callers = self.of_caller(PROJECT_NAME).map(str::to_owned) == *asked;
            let from = match self.of_own_dotenv(PROJECT_NAME) {
                _ if asked.is_some() && is_callers => CALLER,
                _ if asked.is_some() => "-p",
                Some((_, file)) => file,
                None if self.name.is_some() => "name",
                None => "the directory",
            };
            add(PROJECT_NAME, &name, from);
        }
        all
    }

    /// The entries of the top-level `env_file`s of a realm; `None` removes a key.
    pub(super) fn files(&self, realm: usize) -> &IndexMap<String, Option<String>> {
        &self.realms[realm].files
    }

    /// The realms from one outwards to the project's own.
    pub(super) fn outwards(&self, realm: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(realm), |&realm| self.realms[realm].outer)
    }

    /// The value that the caller's environment gives a key.
    pub(super) fn of_caller(&self, key: &str) -> Option<&str> {
        self.caller.get(key).map(String::as_str)
    }

    /// The value that the user's own part of `.env` gives a key, and the path of that file.
    pub(super) fn of_own_dotenv(&self, key: &str) -> Option<(&str, &str)> {
        let realm = &self.realms[0];
        of_parts(&realm.given, key).or_else(|| of_parts(&realm.own, key))
    }

    /// The value of a variable that steers `stack` itself: of the caller, else of the user's `.env`.
    pub(super) fn of_user(&self, key: &str) -> Option<&str> {
        let own = || self.of_own_dotenv(key).map(|(value, _)| value);
        self.of_caller(key).or_else(own)
    }

    /// Adds the user's part of a file, over those that were added before.
    pub(super) fn read_own(&mut self, path: &Path, problems: &mut Vec<Problem>) {
        if !self.sources.arguments.env_files.is_empty() {
            return;
        }
        let lookup = |name: &str| self.caller.get(name).cloned();
        if let Some(part) = self.own_part(&lookup, path, problems) {
            self.realms[0].own.insert(0, part);
        }
    }

    fn own_part(
        &self,
        lookup: &dyn Fn(&str) -> Option<String>,
        path: &Path,
        problems: &mut Vec<Problem>,
    ) -> Option<OwnPart> {
        let text = self.sources.text(path);
        // Whatever keeps it from being read keeps it from being written, and is told there.
        let Content::Bytes(bytes) = &text.content else {
            return None;
        };
        let user = dotenv::user_part(&bytes.0);
        let shown = path
            .strip_prefix(&self.sources.file.project_dir)
            .unwrap_or(path);
        let contents = dotenv::read(&user, lookup);
        env_file::tell(&contents, &user, shown, Severity::Warning, problems);
        let values = contents
            .entries
            .into_iter()
            .filter_map(|entry| Some((entry.key, entry.value?)))
            .collect();
        let shown = shown.display().to_string();
        Some(OwnPart { shown, values })
    }

    /// The entries of an `env_file` whose path is `shown`; a key alone has the caller's value, or
    /// removes the key.
    pub(super) fn read_env_file(
        &self,
        file: &EnvFileSpec,
        shown: &str,
        problems: &mut Vec<Problem>,
    ) -> Entries {
        let home = &file.path.span.source.home;
        let path = home.dir.join(shown);
        let text = self.sources.text(&path);
        let is_ours = self.is_generated(&path);
        let is_awaited = self.is_written && normal(&path) == normal(&self.generated);
        let rules = (is_ours, is_awaited || !file.is_required);
        let lookup = |name: &str| self.get(home.realm, name);
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

/// The value of a key in the first file that has it, and the path of that file.
fn of_parts<'p>(parts: &'p [OwnPart], key: &str) -> Option<(&'p str, &'p str)> {
    let mut parts = parts.iter();
    parts.find_map(|part| Some((part.values.get(key)?.as_str(), part.shown.as_str())))
}

/// The path without `.` in it.
fn normal(path: &Path) -> PathBuf {
    path.components().collect()
}
