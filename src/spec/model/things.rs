//! What two copies of a stack would fight over besides ports, and the files that services are given.

use super::{Problem, Span, Template};

/// Something of a service's own: `$<DATA:dir>` and its like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
pub enum Thing {
    /// A private directory.
    Dir,
    /// The path of a unix socket.
    Socket,
    /// A random text that stays the same.
    Secret,
}

impl Thing {
    /// All of them, as they are written.
    pub const WORDS: [(&str, Self); 3] = [
        ("dir", Self::Dir),
        ("socket", Self::Socket),
        ("secret", Self::Secret),
    ];
}

/// A declared thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThingDeclaration {
    /// What it is.
    pub thing: Thing,
    /// Where the first declaration stands.
    pub span: Span,
}

/// The two kinds of files that a service is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
pub enum FileKind {
    /// One of `configs:`.
    Config,
    /// One of `secrets:`.
    Secret,
}

impl FileKind {
    /// Both by the key under which they stand.
    pub const WORDS: [(&str, Self); 2] = [("configs", Self::Config), ("secrets", Self::Secret)];

    /// The key under which they stand.
    pub fn key(self) -> &'static str {
        super::word_of(&Self::WORDS, &self)
    }

    /// What one of them is called.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Secret => "secret",
        }
    }
}

/// A file that services are given, as the top level defines it.
#[derive(Debug, Clone)]
pub struct FileSpec {
    /// How it is given, which is what is shown of it.
    pub form: FileForm,
    /// What is in it.
    pub content: FileContent,
}

/// How the content of a file is given.
#[derive(Debug, Clone)]
pub enum FileForm {
    /// `content:`.
    Content,
    /// `file:`, a path relative to the directory of the text in which it stands.
    File(Template),
    /// `environment:`, a variable.
    Environment(String),
}

/// What is in a file.
#[derive(Clone)]
pub enum FileContent {
    /// Text in which placeholders may stand.
    Template(Template),
    /// Bytes as they are.
    Bytes(Vec<u8>),
    /// It cannot be had, which matters only where a service is given it.
    Missing(Problem),
}

impl std::fmt::Debug for FileContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Template(template) => template.fmt(f),
            // They may be a secret.
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Missing(problem) => problem.fmt(f),
        }
    }
}

/// A file that a service is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileUse {
    /// Which kind.
    pub kind: FileKind,
    /// Its name at the top level.
    pub name: String,
    /// Where it is asked for.
    pub span: Span,
}
