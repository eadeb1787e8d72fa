//! Generated secrets (`$<NAME:secret>`): random texts that an instance keeps between its runs, each in a
//! file of its own that nobody else can read.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::plan::SECRET_LENGTH;
use crate::support::fs::{create_private_dir, name_file, open_private};

/// The directory of an instance in which they are.
const DIRECTORY: &str = "generated";

/// How long a text of somebody's own may be, in bytes: it has to fit into an environment.
const MAX_LENGTH: u64 = 65_536;

/// Why a secret cannot be kept.
#[derive(Debug)]
pub enum SecretError {
    /// The directory in which they are is a symbolic link.
    IsLink {
        /// Its path.
        path: PathBuf,
    },
    /// A file that was put there holds what cannot be one.
    Unusable {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// The system refused something.
    Io(io::Error),
}

/// What is wrong with a text that somebody wants for a secret.
#[derive(Debug)]
pub enum Flaw {
    /// There is nothing in it.
    Empty,
    /// It has a NUL byte in it, as no variable can.
    HasNul,
    /// It has too many bytes.
    TooLong {
        /// How many it may have.
        most: u64,
    },
    /// It is not UTF-8.
    NotText,
}

impl From<io::Error> for SecretError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Those of these names that there are.
pub fn read(dir: &Path, names: impl Iterator<Item = String>) -> BTreeMap<String, String> {
    let secrets = names.filter_map(|name| {
        // What is wrong with one is told by whoever keeps them.
        let secret = read_one(&dir.join(DIRECTORY).join(&name)).ok()??;
        Some((name, secret))
    });
    secrets.collect()
}

/// All of these names; for what is missing something as long stands in, and nothing is made.
pub fn foresee(dir: &Path, names: impl Iterator<Item = String>) -> BTreeMap<String, String> {
    let names: Vec<String> = names.collect();
    let there = read(dir, names.iter().cloned());
    let missing = names
        .into_iter()
        .map(|name| (name, "0".repeat(SECRET_LENGTH)));
    missing.chain(there).collect()
}

/// All of these names; what is missing is made. Only for the holder of the instance's lock, or whoever
/// asks its supervisor.
pub fn keep(
    dir: &Path,
    names: impl Iterator<Item = String>,
) -> Result<BTreeMap<String, String>, SecretError> {
    let mut secrets = BTreeMap::new();
    for name in names {
        let directory = dir.join(DIRECTORY);
        create_private_dir(&directory)?;
        if directory.is_symlink() {
            return Err(SecretError::IsLink { path: directory });
        }
        let path = directory.join(&name);
        let secret = match read_one(&path)? {
            // A repository that was cloned may have brought it for everybody.
            Some(secret) => {
                fs_err::set_permissions(&path, Permissions::from_mode(0o600))?;
                secret
            }
            None => make(&path)?,
        };
        secrets.insert(name, secret);
    }
    Ok(secrets)
}

/// The text of a file without the newline at its end; nothing if there is no such file. It may have been
/// put there by somebody who wants another one.
fn read_one(path: &Path) -> Result<Option<String>, SecretError> {
    let file = match open_private(path, OpenOptions::new().read(true)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut bytes = Vec::new();
    file.take(MAX_LENGTH + 2).read_to_end(&mut bytes)?;
    if bytes.ends_with(b"\n") {
        bytes.pop();
    }
    let flaw = match String::from_utf8(bytes) {
        Ok(text) if text.is_empty() => Flaw::Empty,
        Ok(text) if text.contains('\0') => Flaw::HasNul,
        Ok(text) if text.len() as u64 <= MAX_LENGTH => return Ok(Some(text)),
        Ok(_) => Flaw::TooLong { most: MAX_LENGTH },
        Err(_) => Flaw::NotText,
    };
    let path = path.to_path_buf();
    Err(SecretError::Unusable { path, flaw })
}

fn make(path: &Path) -> Result<String, SecretError> {
    let mut halves = [[0; 16]; 2];
    let mut random = File::open("/dev/urandom")?;
    for half in &mut halves {
        random.read_exact(half)?;
    }
    let [first, second] = halves.map(u128::from_ne_bytes);
    let secret = format!("{first:032x}{second:032x}");
    let named = |error: io::Error| name_file(&error, path);
    // Whole from the first moment, and never over another one: two may begin at the same time.
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
    writeln!(file, "{secret}").map_err(named)?;
    file.as_file().sync_all().map_err(named)?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(secret),
        Err(error) => read_one(path)?.ok_or_else(|| named(error.error).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> impl Iterator<Item = String> {
        ["web.TOKEN", "api.TOKEN"].map(str::to_owned).into_iter()
    }

    #[test]
    fn a_secret_is_made_once_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path();
        assert!(read(dir, names()).is_empty());
        let foreseen = foresee(dir, names());
        assert_eq!(foreseen["web.TOKEN"], "0".repeat(SECRET_LENGTH));
        assert!(!dir.join(DIRECTORY).exists());
        let first = keep(dir, names()).unwrap();
        assert_eq!(first.len(), 2);
        assert_ne!(first["web.TOKEN"], first["api.TOKEN"]);
        assert!(first.values().all(|secret| secret.len() == SECRET_LENGTH));
        assert_eq!(keep(dir, names()).unwrap(), first);
        assert_eq!(read(dir, names()), first);
        assert_eq!(foresee(dir, names()), first);
        let path = dir.join("generated/web.TOKEN");
        let mode = || fs_err::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        fs_err::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        fs_err::write(&path, "chosen\n").unwrap();
        assert_eq!(keep(dir, names()).unwrap()["web.TOKEN"], "chosen");
        assert_eq!(mode(), 0o600);
    }

    #[test]
    fn a_text_of_ones_own_is_taken_as_it_is_or_it_is_said_what_is_wrong_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path();
        let long = vec![b'x'; 65_537];
        keep(dir, names()).unwrap();
        let path = dir.join("generated/web.TOKEN");
        let kept = |bytes: &[u8]| {
            fs_err::write(&path, bytes).unwrap();
            let kept = keep(dir, names()).map(|mut secrets| secrets.remove("web.TOKEN").unwrap());
            let there = read(dir, names()).remove("web.TOKEN");
            assert_eq!(there, kept.as_ref().ok().cloned());
            kept
        };
        for (text, secret) in [
            ("two words\n", "two words"),
            ("a\nb\n", "a\nb"),
            ("\u{e9}\n\n", "\u{e9}\n"),
            (" x ", " x "),
        ] {
            assert_eq!(kept(text.as_bytes()).unwrap(), secret);
        }
        for (bytes, wrong) in [
            (&b"\xff"[..], "NotText"),
            (b"", "Empty"),
            (b"\n", "Empty"),
            (b"a\0b", "HasNul"),
            (&long, "TooLong { most: 65536 }"),
        ] {
            let Err(SecretError::Unusable { path: at, flaw }) = kept(bytes) else {
                panic!("{wrong}");
            };
            assert_eq!((at, format!("{flaw:?}")), (path.clone(), wrong.to_owned()));
        }
        kept(&long[1..]).unwrap();
    }

    #[test]
    fn no_link_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path();
        fs_err::write(dir.join("elsewhere"), "theirs").unwrap();
        fs_err::create_dir(dir.join("generated")).unwrap();
        fs_err::os::unix::fs::symlink("../elsewhere", dir.join("generated/web.TOKEN")).unwrap();
        assert!(read(dir, names()).is_empty());
        assert!(keep(dir, names()).is_err());
        assert_eq!(
            fs_err::read_to_string(dir.join("elsewhere")).unwrap(),
            "theirs"
        );
    }
}
