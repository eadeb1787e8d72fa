//! Which paths concern which rule. What is known of them comes in; nothing is looked up here but the
//! patterns of a `.gitignore`, when it is taken in.
//!
//! Paths are real ones, without links. A rule knows where its own leads, and calls what is there by the
//! name that was written.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

#[cfg(test)]
use super::eyes::work;
use super::way::Way;
use crate::plan::model::WatchPlan;

/// A subject, and an item of its `watch`.
pub(super) type Owner = (usize, usize);

/// An item of a service's `watch`.
#[derive(Debug)]
pub(super) struct Rule {
    /// Whose it is.
    pub(super) owner: Owner,
    /// What is watched, as it is called; absolute.
    pub(super) root: PathBuf,
    /// Where that leads.
    pub(super) way: Way,
    /// What does not count, and what alone does.
    ignored: Gitignore,
    included: Option<Gitignore>,
    /// From which directory on a `.gitignore` is obeyed.
    git_from: PathBuf,
}

impl Rule {
    /// Makes a rule. Patterns that cannot be read come back as messages.
    pub(super) fn new(owner: Owner, plan: &WatchPlan, project_dir: &Path) -> (Self, Vec<String>) {
        let root: PathBuf = project_dir.join(&plan.path).components().collect();
        let mut problems = Vec::new();
        let mut patterns = |lines: &[String]| {
            let mut builder = GitignoreBuilder::new(&root);
            for line in lines {
                if let Err(error) = builder.add_line(None, line.trim_start_matches("./")) {
                    problems.push(format!("the pattern `{line}` cannot be read: {error}"));
                }
            }
            builder.build().unwrap_or_else(|error| {
                problems.push(format!("the patterns cannot be read: {error}"));
                Gitignore::empty()
            })
        };
        let ignored = patterns(&plan.ignore);
        let included = (!plan.include.is_empty()).then(|| patterns(&plan.include));
        let rule = Self {
            owner,
            git_from: PathBuf::from("/"),
            way: Way::default(),
            root,
            ignored,
            included,
        };
        (rule, problems)
    }

    fn ignores(&self, path: &Path, is_dir: bool) -> bool {
        self.ignored
            .matched_path_or_any_parents(path, is_dir)
            .is_ignore()
    }

    /// Where something is included that alone counts, no directory does: what is in it may.
    fn includes(&self, path: &Path, is_dir: bool) -> bool {
        let included = self.included.as_ref();
        included.is_none_or(|it| {
            // A file that is watched itself is meant.
            let is_meant = || path == self.root;
            !is_dir && (is_meant() || it.matched_path_or_any_parents(path, false).is_ignore())
        })
    }

    /// What is below the end of its way, as it is called, if it counts; `None` for all else.
    fn called(&self, path: &Path, is_dir: bool) -> Option<PathBuf> {
        let rest = path.strip_prefix(self.way.end.as_ref()?).ok()?;
        let called: PathBuf = self.root.join(rest).components().collect();
        (!is_never(rest) && !self.ignores(&called, is_dir)).then_some(called)
    }

    /// What it says of its own path, where that leads elsewhere now, or nowhere.
    pub(super) fn itself(&self, is_dir: bool) -> Option<PathBuf> {
        let counts = self.includes(&self.root, is_dir);
        counts.then(|| self.root.clone())
    }
}

/// All rules, and what else decides.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) items: Vec<Rule>,
    /// Files that never count: the generated one.
    pub(super) never: Vec<PathBuf>,
    /// By the directory in which each stands.
    gitignores: HashMap<PathBuf, Gitignore>,
}

impl Rules {
    pub(super) fn new(items: Vec<Rule>, never: Vec<PathBuf>) -> Self {
        Self {
            items,
            never,
            gitignores: HashMap::new(),
        }
    }

    /// Takes in the `.gitignore` of a directory, or that there is none any more.
    pub(super) fn read_gitignore(&mut self, dir: &Path) {
        let path = dir.join(".gitignore");
        if path.is_file() {
            // Lines that cannot be read are left out, as git does it.
            let (patterns, _) = Gitignore::new(path);
            self.gitignores.insert(dir.to_path_buf(), patterns);
        } else {
            self.gitignores.remove(dir);
        }
    }

    /// Whoever names what git ignores means it: from there on alone a `.gitignore` is obeyed. To be
    /// called once those above the ends of the ways are known.
    pub(super) fn settle(&mut self) {
        for at in 0..self.items.len() {
            let Some(end) = self.items[at].way.end.clone() else {
                continue;
            };
            let mut above = end.ancestors();
            let is_ignored = above.any(|path| self.is_git_ignored(path, true, Path::new("/")));
            self.items[at].git_from = if is_ignored { end } else { "/".into() };
        }
    }

    /// Rules, together where they are about the same path.
    pub(super) fn by_path(&self, rules: impl IntoIterator<Item = usize>) -> Vec<Vec<usize>> {
        let mut by_path: BTreeMap<&Path, Vec<usize>> = BTreeMap::new();
        for at in rules {
            by_path.entry(&self.items[at].root).or_default().push(at);
        }
        by_path.into_values().collect()
    }

    /// What is there of what is watched.
    pub(super) fn ends(&self) -> BTreeSet<PathBuf> {
        let ends = self.items.iter().filter_map(|rule| rule.way.end.clone());
        ends.collect()
    }

    /// Whose way goes over a name.
    pub(super) fn over(&self, path: &Path) -> Vec<usize> {
        let rules = self.items.iter().enumerate();
        rules
            .filter(|(_, rule)| rule.way.steps.iter().any(|step| step == path))
            .map(|(at, _)| at)
            .collect()
    }

    /// Which rules a path concerns that has changed, and what each calls it.
    pub(super) fn concerned(&self, path: &Path, is_dir: bool) -> Vec<(usize, PathBuf)> {
        self.concerned_of(0..self.items.len(), path, is_dir)
    }

    /// Which of some rules a path concerns that has changed, and what each calls it.
    pub(super) fn concerned_of(
        &self,
        rules: impl IntoIterator<Item = usize>,
        path: &Path,
        is_dir: bool,
    ) -> Vec<(usize, PathBuf)> {
        if self.never.iter().any(|never| never == path) {
            return Vec::new();
        }
        let rules = rules.into_iter().filter_map(|at| {
            #[cfg(test)]
            work::done(1);
            let rule = &self.items[at];
            let called = rule.called(path, is_dir)?;
            let counts = rule.includes(&called, is_dir) && !self.is_left_out(rule, path, is_dir);
            counts.then_some((at, called))
        });
        rules.collect()
    }

    /// Whether anything in a directory may concern a rule.
    pub(super) fn is_worth(&self, dir: &Path) -> bool {
        self.called(dir).is_some()
    }

    /// What a directory is called in which something may concern a rule.
    pub(super) fn called(&self, dir: &Path) -> Option<PathBuf> {
        self.items.iter().find_map(|rule| {
            let called = rule.called(dir, true)?;
            (!self.is_left_out(rule, dir, true)).then_some(called)
        })
    }

    /// Whether a directory is watched for the sake of a way.
    pub(super) fn is_on_a_way(&self, dir: &Path) -> bool {
        let mut steps = self.items.iter().flat_map(|rule| &rule.way.steps);
        steps.any(|step| step.parent() == Some(dir))
    }

    /// Whether git would ignore a path below what a rule watches, or a directory on the way.
    fn is_left_out(&self, rule: &Rule, path: &Path, is_dir: bool) -> bool {
        let end = rule.way.end.as_deref();
        let mut way = path
            .ancestors()
            .take_while(|it| end.is_some_and(|end| it.starts_with(end)));
        way.any(|it| self.is_git_ignored(it, is_dir || it != path, &rule.git_from))
    }

    /// Whether git would ignore a path whose directory it does not ignore: the nearest file that says
    /// anything of it decides.
    fn is_git_ignored(&self, path: &Path, is_dir: bool, from: &Path) -> bool {
        let above = path.ancestors().skip(1);
        for dir in above.take_while(|dir| dir.starts_with(from)) {
            let Some(patterns) = self.gitignores.get(dir) else {
                continue;
            };
            match patterns.matched(path, is_dir) {
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
                Match::None => {}
            }
        }
        false
    }
}

/// Whether what is at a path below a watched one never counts.
fn is_never(rest: &Path) -> bool {
    let mut parts = rest.iter();
    let is_editors = |name: &OsStr| is_editors(&name.to_string_lossy());
    parts.any(|part| part == ".git" || part == ".stack") || rest.file_name().is_some_and(is_editors)
}

/// Whether a file is one that an editor makes for a moment, by its name.
fn is_editors(name: &str) -> bool {
    let ends = ["~", ".swp", ".swo", ".swn", ".swx", ".swpx", ".kate-swp"];
    let jetbrains = ["___jb_tmp___", "___jb_old___"];
    name == "4913"
        || name.starts_with(".#")
        || name.starts_with(".goutputstream-")
        || name.len() > 1 && name.starts_with('#') && name.ends_with('#')
        || ends.iter().chain(&jetbrains).any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::model::Reaction;

    fn rule(path: &str, ignore: &[&str], include: &[&str]) -> Rule {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        let plan = WatchPlan {
            path: path.into(),
            ignore: texts(ignore),
            include: texts(include),
            reaction: Reaction::Restart,
        };
        let (rule, problems) = Rule::new((0, 0), &plan, Path::new("/p"));
        assert_eq!(problems, Vec::<String>::new());
        found(rule)
    }

    /// A rule whose path is there, and no link.
    fn found(mut rule: Rule) -> Rule {
        rule.way.end = Some(rule.root.clone());
        rule
    }

    fn counts(rules: &Rules, path: &str) -> bool {
        !rules.concerned(Path::new(path), false).is_empty()
    }

    #[test]
    fn what_editors_leave_for_a_moment_never_counts() {
        for name in [
            "4913",
            "app.py~",
            ".app.py.swp",
            ".app.py.swx",
            ".app.py.kate-swp",
            ".#app.py",
            "#app.py#",
            "app.py___jb_tmp___",
            ".goutputstream-X1",
        ] {
            assert!(is_editors(name), "{name}");
        }
        for name in ["app.py", "#", "swp", "4913.py", ".env.local", "a~b"] {
            assert!(!is_editors(name), "{name}");
        }
    }

    #[test]
    fn own_files_git_and_the_generated_env_never_count() {
        let rules = Rules::new(vec![rule(".", &[], &[])], vec!["/p/.env".into()]);
        for path in [
            "/p/.env",
            "/p/.git/HEAD",
            "/p/.stack/x/logs/web.log",
            "/q/a",
        ] {
            assert!(!counts(&rules, path), "{path}");
        }
        for path in ["/p/a", "/p/sub/.env", "/p/.gitignore"] {
            assert!(counts(&rules, path), "{path}");
        }
        assert!(!rules.is_worth(Path::new("/p/.git")));
        assert!(!rules.is_worth(Path::new("/p/x/.stack")));
    }

    #[test]
    fn patterns_are_relative_to_the_path() {
        let rules = Rules::new(
            vec![rule("src", &["/gen/", "*.md", "!keep.md"], &[])],
            vec![],
        );
        for path in [
            "/p/src/gen/a.rs",
            "/p/src/x/README.md",
            "/p/src2/a.rs",
            "/p/a",
        ] {
            assert!(!counts(&rules, path), "{path}");
        }
        for path in [
            "/p/src/a.rs",
            "/p/src/x/gen/a.rs",
            "/p/src/keep.md",
            "/p/src",
        ] {
            assert!(counts(&rules, path), "{path}");
        }
        assert!(!rules.is_worth(Path::new("/p/src/gen")));
        assert!(rules.is_worth(Path::new("/p/src/x")));
    }

    #[test]
    fn what_is_included_counts_alone() {
        let rules = Rules::new(vec![rule("src", &["b.rs"], &["*.rs", "assets/"])], vec![]);
        for path in ["/p/src/a.md", "/p/src/b.rs"] {
            assert!(!counts(&rules, path), "{path}");
        }
        for path in ["/p/src/a.rs", "/p/src/x/a.rs", "/p/src/assets/a.png"] {
            assert!(counts(&rules, path), "{path}");
        }
    }

    #[test]
    fn the_nearest_gitignore_decides_but_not_over_a_path_that_was_named() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        fs_err::create_dir_all(at("src")).unwrap();
        fs_err::write(at(".gitignore"), "*.log\ndist/\n").unwrap();
        fs_err::write(at("src/.gitignore"), "!keep.log\n").unwrap();
        let make = |path: &str| {
            let (rule, _) = Rule::new(
                (0, 0),
                &WatchPlan {
                    path: path.into(),
                    ignore: vec![],
                    include: vec![],
                    reaction: Reaction::Restart,
                },
                dir.path(),
            );
            found(rule)
        };
        let mut rules = Rules::new(vec![make("."), make("dist")], vec![]);
        rules.read_gitignore(dir.path());
        rules.read_gitignore(&at("src"));
        rules.settle();
        let concerned = |path: &str| {
            let concerned = rules.concerned(&at(path), false).into_iter();
            concerned.map(|(rule, _)| rule).collect::<Vec<_>>()
        };
        assert_eq!(concerned("a.log"), Vec::<usize>::new());
        assert_eq!(concerned("src/a.log"), Vec::<usize>::new());
        assert_eq!(concerned("src/keep.log"), [0]);
        assert_eq!(concerned("dist/a.js"), [1]);
        assert!(rules.is_worth(&at("dist")));
        fs_err::remove_file(at(".gitignore")).unwrap();
        rules.read_gitignore(dir.path());
        assert_eq!(rules.concerned(&at("a.log"), false), [(0, at("a.log"))]);
    }
}
