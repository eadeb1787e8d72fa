//! What a unit finds in the file system when it starts: its directories and sockets, and its files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::resolver::{Inside, Resolver};
use crate::spec::model::{FileContent, FileKind, Thing};
use crate::support::hash::fnv1a;

/// What is made for a unit before it starts.
#[derive(Debug, Clone, Default)]
pub struct Belongings {
    /// Private directories, which are kept.
    pub dirs: Vec<PathBuf>,
    /// Paths on which it may listen.
    pub sockets: Vec<PathBuf>,
    /// Configs and secrets.
    pub files: Vec<FilePlan>,
}

impl Belongings {
    /// Where all of it is.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let made = self.dirs.iter().chain(&self.sockets);
        let files = self.files.iter().map(|file| &file.path);
        made.chain(files).map(PathBuf::as_path)
    }
}

/// A file for a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FilePlan {
    /// Config or secret.
    pub kind: FileKind,
    /// Its name.
    pub name: String,
    /// Where it is. That says no more than its kind and name.
    #[serde(skip)]
    pub path: PathBuf,
    /// What is in it.
    pub content: FileBytes,
}

/// The bytes of a file, which are nobody's business.
#[derive(Clone, PartialEq, Eq)]
pub struct FileBytes(pub Arc<[u8]>);

impl fmt::Debug for FileBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for FileBytes {
    /// Enough to tell one content from another.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(fnv1a(self.0.iter()))
    }
}

/// What is made for a replica.
pub(super) fn belongings(inside: Inside<'_>, resolver: &Resolver<'_>) -> Belongings {
    let Inside { service, replica } = inside;
    let (spec, home) = (resolver.draft.spec(), resolver.draft.home());
    let mut belongings = Belongings::default();
    for (name, declaration) in &service.things {
        let place = |is_socket| home.place(is_socket, (&service.name, replica), name);
        match declaration.thing {
            Thing::Dir => belongings.dirs.push(place(false)),
            Thing::Socket => belongings.sockets.push(place(true)),
            Thing::Secret => {}
        }
    }
    for file in &service.files {
        // One that does not exist was reported.
        let Some(spec) = spec.files(file.kind).get(&file.name) else {
            continue;
        };
        let content = match &spec.content {
            // It is the same for all services.
            FileContent::Template(template) => resolver.outside().text(template).into_bytes(),
            FileContent::Bytes(bytes) => bytes.clone(),
            // That was told when it was known who takes part.
            FileContent::Missing(_) => continue,
        };
        belongings.files.push(FilePlan {
            kind: file.kind,
            name: file.name.clone(),
            path: home.file(file.kind, &service.name, &file.name),
            content: FileBytes(content.into()),
        });
    }
    belongings
}
