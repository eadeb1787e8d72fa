//! Reading a text in tests, without any variables.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::find::{FilePath, Found};
use super::model::EnvFileSpec;
use super::{Loaded, Problem, Scope, Source, load};

/// The scope of tests: one variable, `SET`, in every realm another one, and the files that there are.
#[derive(Default)]
struct OneVariable {
    files: HashMap<PathBuf, String>,
    realms: usize,
}

impl Scope for OneVariable {
    fn variable(&self, source: &Source, name: &str) -> Option<String> {
        match name {
            "SET" => Some("value".to_owned()),
            "REALM" => Some(source.home.realm.to_string()),
            _ => None,
        }
    }

    fn on_dotenv(&mut self, _: Option<&str>, _: &mut Vec<Problem>) {}

    fn on_name(&mut self, _: &str) {}

    fn on_env_file(&mut self, _: &EnvFileSpec, _: &mut Vec<Problem>) {}

    fn enter(
        &mut self,
        _: usize,
        _: &Path,
        _: Option<&[EnvFileSpec]>,
        _: &mut Vec<Problem>,
    ) -> usize {
        self.realms += 1;
        self.realms
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        let text = self.files.get(path).map(|text| text.clone().into_bytes());
        text.ok_or_else(|| "it does not exist".to_owned())
    }
}

/// Reads a text as `stack.yaml`.
pub(crate) fn load_text(text: impl Into<Vec<u8>>) -> Loaded {
    load_all(vec![text.into()], OneVariable::default())
}

/// Reads the first texts as `stack.yaml` and what is merged over it; the others are files that these
/// may name.
pub(crate) fn load_files(main: &[&str], others: &[(&str, &str)]) -> Loaded {
    let project = Path::new("/project");
    let others = others.iter();
    let files = others.map(|(path, text)| (project.join(path), (*text).to_owned()));
    let scope = OneVariable {
        files: files.collect(),
        realms: 0,
    };
    load_all(
        main.iter().map(|text| text.as_bytes().to_vec()).collect(),
        scope,
    )
}

fn load_all(texts: Vec<Vec<u8>>, mut scope: OneVariable) -> Loaded {
    let over = (1..texts.len()).map(|number| FilePath {
        file: PathBuf::from(format!("/project/{number}.yaml")),
        shown: PathBuf::from(format!("{number}.yaml")),
    });
    let found = Found {
        shown: PathBuf::from("stack.yaml"),
        file: PathBuf::from("/project/stack.yaml"),
        project_dir: PathBuf::from("/project"),
        over: over.collect(),
    };
    load(found, texts, &mut scope)
}
