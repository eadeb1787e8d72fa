//! What a plan is made of: the texts of all files, the caller's environment, the flags.
//!
//! A client reads them, since it alone has the caller's standard input and environment. They can be
//! sent as they are, and whoever has them can make the same plan again, anywhere: each file that
//! drafting asks for, the included ones among them, is read once and kept, whether it is there or not. Only an `env_file` whose
//! path depends on a port is read later, when the plan is finished; it is not known earlier.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indexmap::IndexMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::home::Home;
use super::port_argument::PortArgument;
use crate::spec::Problem;
use crate::spec::find::{FilePath, Found, Request, find, read};
use crate::support::fs::read_limited;
use crate::support::name::ServiceName;
use crate::support::text;

/// The environment of whoever called `stack`.
pub type Caller = Arc<Vec<(OsString, OsString)>>;

/// The largest file that is read, in bytes: an `env_file` may be a device by mistake.
const MAX_BYTES: u64 = 64 << 20;

/// What a plan is made of, ports aside.
#[derive(Debug, Serialize, Deserialize)]
pub struct Sources {
    /// The `stack.yaml`, and what is merged over it.
    pub(super) file: Found,
    /// The text of each of them.
    pub(super) bytes: Vec<Bytes>,
    environment: Vec<(Bytes, Bytes)>,
    /// What the command line says.
    pub arguments: Arguments,
    /// Every other file that was asked for, by its path.
    texts: Mutex<BTreeMap<PathBuf, Arc<FileText>>>,
    /// Where the instance keeps what is its own, once that is known: the rest says nothing of it.
    #[serde(default)]
    home: Mutex<Option<Home>>,
}

/// What a command line says about a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Arguments {
    /// The project's name (`-p`, `STACK_PROJECT_NAME`).
    pub project_name: Option<String>,
    /// How many replicas services should have (`--scale`), whatever the file says.
    pub scale: IndexMap<ServiceName, u32>,
    /// Which ports should have which numbers (`--port`).
    pub ports: Vec<PortArgument>,
    /// Which profiles are active (`--profile`); `*` is all. Without any, those of `STACK_PROFILES`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<String>,
    /// The services that are named, which take part with their profiles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceName>,
    /// The services that run already: they take part as long as the files have them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub running: Vec<ServiceName>,
    /// The files in place of `.env` (`--env-file`, `STACK_ENV_FILES`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env_files: Vec<FilePath>,
}

impl Arguments {
    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Any other file, as it was found.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FileText {
    /// Its path without links and dots, if there is something.
    pub(super) real: Option<Bytes>,
    pub(super) content: Content,
}

/// What is in a file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Content {
    Bytes(Bytes),
    Missing,
    /// It cannot be read, for this reason.
    Unreadable(String),
}

impl Sources {
    /// Finds and reads the `stack.yaml` that is meant, and what is merged over it. `stdin` is standard input, or what stands for
    /// it; `caller` the caller's environment.
    pub fn read(
        request: &Request<'_>,
        stdin: &mut dyn Read,
        caller: &Caller,
        arguments: Arguments,
    ) -> Result<Self, Problem> {
        let found = find(request)?;
        let bytes = read(&found, stdin)?;
        let environment = caller.iter();
        Ok(Self {
            file: found,
            bytes: bytes.into_iter().map(Bytes).collect(),
            environment: environment
                .map(|(key, value)| (key.clone().into(), value.clone().into()))
                .collect(),
            arguments,
            texts: Mutex::default(),
            home: Mutex::default(),
        })
    }

    /// The same beside a stack that runs these services: one of an inactive profile is left alone.
    #[must_use]
    pub fn beside(&self, running: Vec<ServiceName>) -> Self {
        let texts = self.texts();
        Self {
            file: self.file.clone(),
            bytes: self.bytes.clone(),
            environment: self.environment.clone(),
            arguments: Arguments {
                running,
                ..self.arguments.clone()
            },
            texts: Mutex::new(texts.clone()),
            home: Mutex::new(self.home()),
        }
    }

    pub(super) fn caller(&self) -> Caller {
        let pairs = self.environment.iter();
        Arc::new(
            pairs
                .map(|(key, value)| (key.to_os(), value.to_os()))
                .collect(),
        )
    }

    /// Where the instance keeps what is its own, if that is known.
    pub(super) fn home(&self) -> Option<Home> {
        let home = self.home.lock().unwrap_or_else(PoisonError::into_inner);
        home.clone()
    }

    pub(super) fn set_home(&self, home: Home) {
        *self.home.lock().unwrap_or_else(PoisonError::into_inner) = Some(home);
    }

    /// Whether a file was asked for.
    pub fn has_read(&self, path: &Path) -> bool {
        let texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        texts.keys().any(|known| known == path)
    }

    /// Every other file that was asked for so far.
    pub(super) fn texts(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Arc<FileText>>> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A file as it was when it was asked for first.
    pub(super) fn text(&self, path: &Path) -> Arc<FileText> {
        let mut texts = self.texts();
        let text = texts
            .entry(path.to_path_buf())
            .or_insert_with(|| Arc::new(FileText::read(path)));
        Arc::clone(text)
    }
}

impl FileText {
    pub(super) fn read(path: &Path) -> Self {
        let content = match read_bytes(path) {
            Ok(bytes) => Content::Bytes(Bytes(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Content::Missing,
            Err(error) => Content::Unreadable(text::io_reason(&error)),
        };
        let real = fs_err::canonicalize(path).ok();
        Self {
            real: real.map(Bytes::from),
            content,
        }
    }
}

/// The bytes of a file, if they are not too many.
fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    // Whoever opens a FIFO waits for its writer, perhaps for ever: `down` must not.
    if std::fs::metadata(path)?.file_type().is_fifo() {
        return Err(io::Error::other("it is a FIFO"));
    }
    read_limited(std::fs::File::open(path)?, MAX_BYTES)
}

/// Bytes that are nearly always text, and travel as such: a value of an environment, a file.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bytes(pub(super) Vec<u8>);

/// Stands before bytes that are not text, each of which follows as a character of its own.
const NO_TEXT: char = '\u{1}';

impl Bytes {
    fn to_os(&self) -> OsString {
        OsStr::from_bytes(&self.0).to_owned()
    }
}

impl<T: Into<OsString>> From<T> for Bytes {
    fn from(text: T) -> Self {
        Self(text.into().into_vec())
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(&self.0).fmt(f)
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) if !text.starts_with(NO_TEXT) => serializer.serialize_str(text),
            Ok(_) | Err(_) => {
                let bytes = self.0.iter().map(|&byte| char::from(byte));
                let text: String = std::iter::once(NO_TEXT).chain(bytes).collect();
                serializer.serialize_str(&text)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let Some(coded) = text.strip_prefix(NO_TEXT) else {
            return Ok(Self(text.into_bytes()));
        };
        let bytes: Result<Vec<u8>, _> = coded.chars().map(u8::try_from).collect();
        bytes.map(Self).map_err(de::Error::custom)
    }
}
