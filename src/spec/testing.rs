//! Reading a text in tests, without any variables.

use std::path::{Path, PathBuf};

use super::find::Found;
use super::model::EnvFileSpec;
use super::{Loaded, Problem, Scope, Source, load};

/// The scope of tests: one variable, `SET`.
struct OneVariable;

impl Scope for OneVariable {
    fn variable(&self, _: &Source, name: &str) -> Option<String> {
        (name == "SET").then(|| "value".to_owned())
    }

    fn read(&self, _: &Path) -> Result<Vec<u8>, String> {
        Err("it does not exist".to_owned())
    }

    fn on_dotenv(&mut self, _: Option<&str>, _: &mut Vec<Problem>) {}

    fn on_env_file(&mut self, _: &EnvFileSpec, _: &mut Vec<Problem>) {}
}

/// Reads a text as `stack.yaml`.
pub(crate) fn load_text(text: impl Into<Vec<u8>>) -> Loaded {
    let found = Found {
        shown: PathBuf::from("stack.yaml"),
        file: PathBuf::from("/project/stack.yaml"),
        project_dir: PathBuf::from("/project"),
    };
    load(found, text.into(), &mut OneVariable)
}
