//! Any bytes as two files, one merged over the other, and as two that they may include and extend: read without
//! a panic, every problem in its place, and what is written of all of them as one file is written again.
#![no_main]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use stack::spec::find::{FilePath, Found};
use stack::spec::model::EnvFileSpec;
use stack::spec::{Problem, Scope, Source, Written, load, written};
use stack::support::yaml;

const PROJECT: &str = "/project";

/// What stands between two files. No file holds it.
const BETWEEN: u8 = 0;

/// What the files that may be included or extended are called.
const OTHERS: [&str; 2] = ["part.yaml", "base.yaml"];

/// One variable, and the files that there are.
struct Surroundings<'f> {
    files: HashMap<PathBuf, &'f [u8]>,
    realms: usize,
}

impl Scope for Surroundings<'_> {
    fn variable(&self, _: &Source, name: &str) -> Option<String> {
        (name == "SET").then(|| "a ${B} $<PORT> $$".to_owned())
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        let file = self.files.get(path).map(|bytes| bytes.to_vec());
        file.ok_or_else(|| "it does not exist".to_owned())
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
}

fn found(count: usize) -> Found {
    let mut over = (0..count).map(|number| FilePath {
        file: Path::new(PROJECT).join(format!("{number}.yaml")),
        shown: format!("{number}.yaml").into(),
    });
    let FilePath { file, shown } = over.next().expect("there is a first");
    Found {
        file,
        shown,
        project_dir: PROJECT.into(),
        over: over.collect(),
    }
}

/// Everything as one file, if it can be put together.
fn as_one(texts: Vec<Vec<u8>>, scope: &mut Surroundings<'_>) -> Option<String> {
    let found = found(texts.len());
    let (written, problems) = written(found, texts, scope);
    let is_good = problems.iter().all(|problem| !problem.is_error());
    let Written { value, .. } = written.filter(|_| is_good)?;
    yaml::to_string(&value).ok()
}

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.split(|byte| *byte == BETWEEN);
    let main: Vec<Vec<u8>> = parts.by_ref().take(2).map(<[u8]>::to_vec).collect();
    let files = OTHERS.map(|name| Path::new(PROJECT).join(name));
    let mut scope = Surroundings {
        files: files.into_iter().zip(parts).collect(),
        realms: 0,
    };
    let loaded = load(found(main.len()), main.clone(), &mut scope);
    for problem in &loaded.problems {
        for label in &problem.labels {
            // Inside of its text, and no half of a character.
            label.span.text();
            label.span.location();
        }
    }
    let is_good = loaded.problems.iter().all(|problem| !problem.is_error());
    if let Some(one) = as_one(main, &mut scope).filter(|_| is_good) {
        let again = as_one(vec![one.clone().into_bytes()], &mut scope);
        assert_eq!(again.as_ref(), Some(&one));
    }
});
