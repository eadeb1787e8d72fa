//! Which files are meant: those of `-f` or `STACK_FILE`, or the nearest `stack.yaml` and its override.

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::code;
use super::problem::Problem;
use super::text::{MAX_BYTES, too_large};
use nix::unistd::geteuid;

use crate::support::fs::read_limited;

/// The file names that are looked for, in this order, in each directory.
pub const FILE_NAMES: [&str; 2] = ["stack.yaml", "stack.yml"];

/// What is merged over a file that was found beside it, under the same ending or the other one.
const OVERRIDE_NAMES: [&str; 2] = ["stack.override.yaml", "stack.override.yml"];

/// A `stack.yaml` to begin with.
pub const STARTER: &str = "\
services:
  web:
    command: python3 -m http.server $<PORT:auto>
    healthcheck: { http: / }
    restart: on-failure
";

/// What decides which file is read.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The values of `-f`, in order.
    pub files: &'a [PathBuf],
    /// The value of `STACK_FILE`: paths with `:` between them.
    pub stack_file: Option<&'a str>,
    /// Where that is from, if not from the caller's environment.
    pub origin: Option<&'a str>,
    /// The working directory, absolute.
    pub working_dir: &'a Path,
}

/// The files that are meant: one, and those that are merged over it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Its path, absolute; `-` is standard input.
    pub file: PathBuf,
    /// Its path as the user knows it, for messages.
    pub shown: PathBuf,
    /// Where relative paths start, canonical: its directory; with standard input the working
    /// directory.
    pub project_dir: PathBuf,
    /// The files that are merged over it, in this order.
    pub over: Vec<FilePath>,
}

/// A file that is merged over another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePath {
    /// Its path, absolute; `-` is standard input.
    pub file: PathBuf,
    /// Its path as the user knows it.
    pub shown: PathBuf,
}

/// What stands for standard input.
pub const STDIN: &str = "-";

/// Finds the files: those of `-f`, else of `STACK_FILE`, else the nearest `stack.yaml` or
/// `stack.yml`, from the working directory upwards, with the override beside it.
///
/// Fails as well where the path is not text: it goes into variables, messages between processes and
/// the ledger, and all of them hold text.
pub fn find(request: &Request<'_>) -> Result<Found, Problem> {
    let found = locate(request)?;
    let first = match &*found.file {
        stdin if stdin == Path::new(STDIN) => found.project_dir.as_path(),
        file => file,
    };
    let over = found.over.iter().map(|over| over.file.as_path());
    match std::iter::once(first)
        .chain(over)
        .find(|path| path.to_str().is_none())
    {
        None => Ok(found),
        Some(path) => {
            let message = format!("the path `{}` is not valid UTF-8", path.display());
            let hint = "rename the file or the directory";
            Err(Problem::without_place(code::UNREADABLE, message).hint(hint))
        }
    }
}

fn locate(request: &Request<'_>) -> Result<Found, Problem> {
    if let [first, over @ ..] = request.files {
        return all_named(
            first,
            over.iter().map(PathBuf::as_path),
            request.working_dir,
            "-f",
        );
    }
    let listed = request.stack_file.unwrap_or_default();
    let mut listed = listed
        .split(':')
        .filter(|path| !path.is_empty())
        .map(Path::new);
    if let Some(first) = listed.next() {
        let origin = request.origin.unwrap_or("STACK_FILE");
        return all_named(first, listed, request.working_dir, origin);
    }
    for directory in request.working_dir.ancestors() {
        for name in FILE_NAMES {
            let file = directory.join(name);
            if file.is_file() {
                // As short as it can be said.
                let is_here = directory == request.working_dir;
                if !is_here {
                    check_owner(&file, request.working_dir)?;
                }
                let shown = |file: &Path, name: &str| {
                    let is_said = is_here.then(|| name.into());
                    is_said.unwrap_or_else(|| file.to_path_buf())
                };
                let mut found = found(file.clone(), shown(&file, name));
                for name in OVERRIDE_NAMES {
                    let file = directory.join(name);
                    if file.is_file() {
                        if !is_here {
                            check_owner(&file, request.working_dir)?;
                        }
                        let shown = shown(&file, name);
                        let file = found.project_dir.join(name);
                        found.over.push(FilePath { file, shown });
                    }
                }
                return Ok(found);
            }
        }
    }
    Err(Problem::without_place(
        code::NO_FILE,
        format!(
            "there is no `stack.yaml` in `{}` or above",
            request.working_dir.display()
        ),
    )
    .hint(format!("write one to begin with:\n\n{STARTER}")))
}

/// Whoever stands in a directory below `/tmp` does not mean the file that somebody else has put there: of
/// a file above, the owner must be the caller, root, or the owner of the working directory.
fn check_owner(file: &Path, working_dir: &Path) -> Result<(), Problem> {
    match stranger(file, working_dir) {
        Some(uid) => {
            let shown = file.display();
            Err(Problem::without_place(
                code::NO_FILE,
                format!("`{shown}` belongs to another user (uid {uid}), and nobody has named it"),
            )
            .hint(format!("`-f {shown}` uses it all the same")))
        }
        None => Ok(()),
    }
}

/// The user to whom a file above the working directory belongs, if it is none of those.
pub fn stranger(file: &Path, working_dir: &Path) -> Option<u32> {
    let owner = |path: &Path| fs_err::metadata(path).map(|metadata| metadata.uid()).ok();
    let trusted = [Some(geteuid().as_raw()), Some(0), owner(working_dir)];
    owner(file).filter(|uid| !trusted.contains(&Some(*uid)))
}

/// Reads the files that were found, in their order. `stdin` is standard input, or what stands for it.
pub fn read(found: &Found, stdin: &mut dyn Read) -> Result<Vec<Vec<u8>>, Problem> {
    let first = (&found.file, &found.shown);
    let over = found.over.iter().map(|over| (&over.file, &over.shown));
    let all = std::iter::once(first).chain(over);
    all.map(|(file, shown)| read_one(file, shown, stdin))
        .collect()
}

fn read_one(file: &Path, shown: &Path, stdin: &mut dyn Read) -> Result<Vec<u8>, Problem> {
    let limit = MAX_BYTES as u64;
    let read = if file == Path::new(STDIN) {
        read_limited(stdin, limit)
    } else {
        std::fs::File::open(file).and_then(|file| read_limited(file, limit))
    };
    let shown = shown.display().to_string();
    read.map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => too_large(&shown),
        _ => Problem::without_place(
            code::UNREADABLE,
            format!("`{shown}` cannot be read: {error}"),
        )
        .hint("check its permissions"),
    })
}

/// Files that were asked for by name. Standard input can be one of them, and no second one.
fn all_named<'p>(
    first: &Path,
    over: impl Iterator<Item = &'p Path>,
    working_dir: &Path,
    origin: &str,
) -> Result<Found, Problem> {
    let mut found = named(first, working_dir, origin)?;
    for path in over {
        let Found { file, shown, .. } = named(path, working_dir, origin)?;
        found.over.push(FilePath { file, shown });
    }
    let files = std::iter::once(&found.file).chain(found.over.iter().map(|over| &over.file));
    if files.filter(|file| **file == Path::new(STDIN)).count() > 1 {
        let message = format!("standard input is named twice ({origin})");
        return Err(Problem::without_place(code::NO_FILE, message).hint("keep one `-`"));
    }
    Ok(found)
}

/// A file that was asked for by name.
fn named(file: &Path, working_dir: &Path, origin: &str) -> Result<Found, Problem> {
    if file == Path::new(STDIN) {
        return Ok(Found {
            file: STDIN.into(),
            shown: "stdin".into(),
            project_dir: canonical(working_dir),
            over: Vec::new(),
        });
    }
    let path = working_dir.join(file);
    if path.is_dir() {
        return Err(Problem::without_place(
            code::NO_FILE,
            format!("`{}` ({origin}) is a directory", file.display()),
        )
        .hint(format!(
            "name the file in it: `{}`",
            file.join(FILE_NAMES[0]).display()
        )));
    }
    // Pipes and devices are files too: `-f <(generate)`.
    if !path.exists() {
        return Err(Problem::without_place(
            code::NO_FILE,
            format!("there is no file `{}` ({origin})", file.display()),
        )
        .hint(format!("the path starts at `{}`", working_dir.display())));
    }
    Ok(found(path, file.to_path_buf()))
}

fn found(file: PathBuf, shown: PathBuf) -> Found {
    let directory = file.parent().unwrap_or(Path::new("/"));
    let project_dir = canonical(directory);
    let file = match file.file_name() {
        Some(name) => project_dir.join(name),
        None => file,
    };
    Found {
        file,
        shown,
        project_dir,
        over: Vec::new(),
    }
}

/// The path without links and dots; as it is where the system cannot say.
fn canonical(path: &Path) -> PathBuf {
    fs_err::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;
    use crate::spec::testing::load_text;

    fn request<'a>(
        files: &'a [PathBuf],
        stack_file: Option<&'a str>,
        working_dir: &'a Path,
    ) -> Request<'a> {
        Request {
            files,
            stack_file,
            origin: None,
            working_dir,
        }
    }

    fn file_of(found: Result<Found, Problem>) -> (PathBuf, PathBuf) {
        let found = found.unwrap();
        (found.file, found.shown)
    }

    #[test]
    fn the_nearest_file_is_found_and_yaml_comes_before_yml() {
        let directory = tempfile::tempdir().unwrap();
        let root = canonical(directory.path());
        let below = root.join("a/b");
        fs_err::create_dir_all(&below).unwrap();
        // A directory of that name is not a file.
        fs_err::create_dir_all(below.join("stack.yaml")).unwrap();
        fs_err::write(root.join("stack.yml"), "").unwrap();
        let found = file_of(find(&request(&[], None, &below)));
        assert_eq!(found, (root.join("stack.yml"), root.join("stack.yml")));
        fs_err::write(root.join("stack.yaml"), "").unwrap();
        let found = file_of(find(&request(&[], None, &root)));
        assert_eq!(found, (root.join("stack.yaml"), "stack.yaml".into()));
    }

    #[test]
    fn a_named_file_wins_and_is_relative_to_the_working_directory() {
        let directory = tempfile::tempdir().unwrap();
        let root = canonical(directory.path());
        fs_err::create_dir_all(root.join("sub")).unwrap();
        fs_err::write(root.join("sub/x.yaml"), "").unwrap();
        let files = [PathBuf::from("sub/x.yaml")];
        for request in [
            request(&files, Some("nope"), &root),
            request(&[], Some("sub/x.yaml"), &root),
        ] {
            let Found {
                file,
                shown,
                project_dir,
                over,
            } = find(&request).unwrap();
            assert!(over.is_empty());
            assert_eq!(file, root.join("sub/x.yaml"));
            assert_eq!(shown, Path::new("sub/x.yaml"));
            assert_eq!(project_dir, root.join("sub"));
        }
    }

    #[test]
    fn later_files_are_merged_over_the_first_which_has_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let root = canonical(directory.path());
        fs_err::create_dir_all(root.join("a")).unwrap();
        for name in ["a/one.yaml", "two.yaml"] {
            fs_err::write(root.join(name), name).unwrap();
        }
        let files = ["a/one.yaml", "two.yaml", "-"].map(PathBuf::from);
        for request in [
            request(&files, Some("nope"), &root),
            request(&[], Some("a/one.yaml:two.yaml:-"), &root),
        ] {
            let found = find(&request).unwrap();
            assert_eq!(found.project_dir, root.join("a"));
            let over: Vec<_> = found.over.iter().map(|over| over.file.clone()).collect();
            assert_eq!(over, [root.join("two.yaml"), "-".into()]);
            let texts = read(&found, &mut "stdin".as_bytes()).unwrap();
            assert_eq!(texts, [&b"a/one.yaml"[..], b"two.yaml", b"stdin"]);
        }
    }

    #[test]
    fn an_override_beside_the_file_counts_unless_files_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let root = canonical(directory.path());
        fs_err::create_dir_all(root.join("below")).unwrap();
        fs_err::write(root.join("stack.yaml"), "").unwrap();
        fs_err::write(root.join("stack.override.yml"), "").unwrap();
        // One that is nearer belongs to no file.
        fs_err::write(root.join("below/stack.override.yaml"), "").unwrap();
        let found = find(&request(&[], None, &root.join("below"))).unwrap();
        let over = root.join("stack.override.yml");
        assert_eq!(found.over.len(), 1);
        assert_eq!((&found.over[0].file, &found.over[0].shown), (&over, &over));
        let found = find(&request(&[], None, &root)).unwrap();
        assert_eq!(found.over[0].shown, Path::new("stack.override.yml"));
        let named = ["stack.yaml".into()];
        assert_eq!(find(&request(&named, None, &root)).unwrap().over, []);
    }

    #[test]
    fn standard_input_starts_at_the_working_directory() {
        let directory = tempfile::tempdir().unwrap();
        let found = find(&request(&["-".into()], None, directory.path())).unwrap();
        assert_eq!(found.project_dir, canonical(directory.path()));
        let bytes = read(&found, &mut "services:".as_bytes()).unwrap();
        assert_eq!(bytes, [b"services:"]);
        let endless = read(&found, &mut std::io::repeat(b'#'));
        assert_eq!(endless.unwrap_err().code, code::TOO_LARGE);
    }

    #[test]
    fn what_cannot_be_found_or_read_is_said_with_a_way_out() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs_err::write(root.join("a"), "").unwrap();
        let two = ["a".into(), "b".into()];
        let twice = ["-".into(), "-".into()];
        for (request, code) in [
            (request(&["nope".into()], None, root), code::NO_FILE),
            (request(&[".".into()], None, root), code::NO_FILE),
            (request(&two, None, root), code::NO_FILE),
            (request(&[], Some("a:b"), root), code::NO_FILE),
            (request(&twice, None, root), code::NO_FILE),
        ] {
            let problem = find(&request).unwrap_err();
            assert_eq!(problem.code, code);
            assert!(problem.hint.is_some());
        }
        let gone = Found {
            file: root.join("gone"),
            shown: "gone".into(),
            project_dir: root.to_path_buf(),
            over: Vec::new(),
        };
        let problem = read(&gone, &mut std::io::empty()).unwrap_err();
        assert_eq!(problem.code, code::UNREADABLE);
    }

    #[test]
    fn where_there_is_no_file_the_hint_is_a_starter_that_loads() {
        let empty = tempfile::tempdir().unwrap();
        // A `stack.yaml` above the directory for temporary files would be found.
        if let Err(problem) = find(&request(&[], None, empty.path())) {
            assert_eq!(problem.code, code::NO_FILE);
            assert!(problem.hint.is_some_and(|hint| hint.contains(STARTER)));
        }
        assert_eq!(STARTER.lines().count(), 5);
        let loaded = load_text(STARTER);
        assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    }

    #[test]
    fn a_path_that_is_not_text_is_refused_and_told() {
        let directory = tempfile::tempdir().unwrap();
        let latin = canonical(directory.path()).join(OsStr::from_bytes(b"caf\xe9"));
        fs_err::create_dir_all(&latin).unwrap();
        fs_err::write(latin.join("stack.yaml"), "").unwrap();
        let problem = find(&request(&[], None, &latin)).unwrap_err();
        assert!(
            problem
                .message
                .contains("caf\u{fffd}/stack.yaml` is not valid UTF-8")
        );
        let file = [latin.join("stack.yaml")];
        assert!(find(&request(&file, None, directory.path())).is_err());
        let stdin = [PathBuf::from("-")];
        assert!(find(&request(&stdin, None, &latin)).is_err());
    }
}
