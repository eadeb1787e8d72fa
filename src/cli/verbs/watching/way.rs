//! Where a path leads: through directories and symbolic links, name by name, as the kernel goes.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// More links than this are a circle, for the kernel as well.
const MOST_LINKS: usize = 40;

/// The way that a path takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Way {
    /// The names on it, each in the directory where it really stands. Whatever happens to one of them, the
    /// path may lead elsewhere from then on.
    pub(super) steps: Vec<PathBuf>,
    /// What it leads to, without a link on the way there; nothing while a name is missing.
    pub(super) end: Option<PathBuf>,
    /// Whether that is a directory.
    pub(super) is_dir: bool,
}

/// The project directory, above which a way into it is not looked at.
#[derive(Debug)]
pub(super) struct Home {
    /// As it is called.
    pub(super) called: PathBuf,
    /// Without links.
    pub(super) real: PathBuf,
}

impl Home {
    pub(super) fn of(project_dir: PathBuf) -> Self {
        let real = project_dir.canonicalize();
        Self {
            real: real.unwrap_or_else(|_| project_dir.clone()),
            called: project_dir,
        }
    }

    /// Where the way of an absolute path begins, and its names from there on, the last one first.
    fn begin(&self, path: &Path) -> (PathBuf, Vec<OsString>) {
        let inside = [&self.called, &self.real];
        let inside = inside.iter().find_map(|dir| path.strip_prefix(dir).ok());
        match inside {
            Some(rest) => (self.real.clone(), names(rest)),
            None => (PathBuf::from("/"), names(path)),
        }
    }

    /// Goes the way of an absolute path. `enter` is told of each directory before anything is looked up
    /// in it, so that whoever watches it from then on misses nothing.
    pub(super) fn way(&self, path: &Path, enter: &mut dyn FnMut(&Path)) -> Way {
        let (mut at, mut rest) = self.begin(path);
        let mut way = Way {
            is_dir: true,
            ..Way::default()
        };
        let mut links = 0;
        while let Some(name) = rest.pop() {
            if name == ".." {
                at.pop();
                continue;
            }
            enter(&at);
            let step = at.join(name);
            way.steps.push(step.clone());
            let Ok(found) = step.symlink_metadata() else {
                return way;
            };
            way.is_dir = found.is_dir();
            if !found.is_symlink() {
                at = step;
                continue;
            }
            links += 1;
            let Some(target) = step.read_link().ok().filter(|_| links <= MOST_LINKS) else {
                return way;
            };
            if target.is_absolute() {
                let (from, names) = self.begin(&target);
                at = from;
                rest.extend(names);
            } else {
                rest.extend(names(&target));
            }
        }
        way.end = Some(at);
        way
    }
}

/// The names of a path, the last one first.
fn names(path: &Path) -> Vec<OsString> {
    let names = path.components().rev().filter(|part| match part {
        Component::Normal(_) | Component::ParentDir => true,
        Component::CurDir | Component::RootDir | Component::Prefix(_) => false,
    });
    names.map(|part| part.as_os_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_way_goes_through_links_and_ends_where_a_name_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        let at = |path: &str| real.join(path);
        fs_err::create_dir_all(at("p/releases/2")).unwrap();
        symlink("2", at("p/releases/last")).unwrap();
        symlink(at("p/releases/last"), at("p/current")).unwrap();
        symlink("round", at("p/round")).unwrap();
        symlink("p", at("alias")).unwrap();
        let home = Home::of(at("alias"));
        let way = |path: &str| {
            let mut entered = Vec::new();
            let way = home.way(&at("alias").join(path), &mut |dir| {
                entered.push(dir.to_owned());
            });
            let above: Vec<_> = way
                .steps
                .iter()
                .map(|step| step.parent().unwrap())
                .collect();
            assert_eq!(entered, above);
            let short = |path: &Path| path.strip_prefix(&real).unwrap().display().to_string();
            let steps: Vec<String> = way.steps.iter().map(|step| short(step)).collect();
            (steps.join(" "), way.end.as_deref().map(short))
        };
        let found = |steps: &str, end: &str| (steps.to_owned(), Some(end.to_owned()));
        let links = "p/current p/releases p/releases/last p/releases/2";
        assert_eq!(way("current"), found(links, "p/releases/2"));
        let more = format!("{links} p/releases/2/app");
        assert_eq!(way("current/app"), (more, None));
        assert_eq!(way("a/b/c"), ("p/a".to_owned(), None));
        assert_eq!(way("../alias/x"), ("alias p p/x".to_owned(), None));
        assert_eq!(way("."), found("", "p"));
        assert_eq!(way("round").1, None);
    }
}
