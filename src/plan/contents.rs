//! What was in the files of a plan: whether they hold something else by now can be told without
//! planning, and whatever the environment of the one who asks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::sources::{Content, FileText, Sources};
use crate::dotenv;
use crate::spec::find::STDIN;
use crate::support::fs::below;
use crate::support::hash::fnv1a;

/// A hash of every file that was read, by its path: from the project directory where it is below that,
/// which may be moved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Contents(BTreeMap<PathBuf, String>);

impl Sources {
    /// What was in the files that were read so far.
    pub fn contents(&self) -> Contents {
        let dir = &self.file.project_dir;
        let all = self.files().zip(&self.bytes);
        let mut contents: BTreeMap<PathBuf, String> = all
            .map(|(file, bytes)| (below(file, dir), hash(&Content::Bytes(bytes.clone()))))
            .collect();
        for (path, text) in &*self.texts() {
            contents.insert(below(path, dir), hash(&text.content));
        }
        Contents(contents)
    }

    /// Where the `stack.yaml` is, and what is merged over it, whatever the directory is called by now.
    pub(super) fn places(&self) -> Vec<PathBuf> {
        let dir = &self.file.project_dir;
        self.files().map(|file| below(file, dir)).collect()
    }

    /// The `stack.yaml`, and what is merged over it.
    fn files(&self) -> impl Iterator<Item = &Path> {
        let over = self.file.over.iter().map(|over| &*over.file);
        std::iter::once(&*self.file.file).chain(over)
    }
}

impl Contents {
    /// Whether nothing is known of any file.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a part of it came from standard input, of which nobody knows what it would be now.
    pub fn is_of_stdin(&self) -> bool {
        self.0.contains_key(Path::new(STDIN))
    }

    /// Whether the files hold something else now, or others would be merged over the first one, as
    /// `now` has them.
    pub fn differ(&self, now: &Sources) -> bool {
        let dir = &now.file.project_dir;
        let is_same_first = self.0.contains_key(&below(&now.file.file, dir));
        let is_more = is_same_first
            && now
                .files()
                .any(|file| !self.0.contains_key(&below(file, dir)));
        let is_other = |(path, before): (&PathBuf, &String)| {
            hash(&FileText::read(&dir.join(path)).content) != *before
        };
        is_more || self.0.iter().any(is_other)
    }
}

/// What `stack` itself wrote into a file is nothing that anybody has changed, and a file that is empty is
/// as good as none.
fn hash(content: &Content) -> String {
    let text = match content {
        Content::Bytes(bytes) => dotenv::user_part(&bytes.0),
        Content::Missing => Vec::new(),
        Content::Unreadable(reason) => reason.clone().into_bytes(),
    };
    format!("{:016x}", fnv1a(&text))
}
