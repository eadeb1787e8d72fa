//! Sees files change: inotify(7), one watch a directory, on a thread of its own.
//!
//! The thread waits in the kernel, and looks through directories without keeping anybody. It ends with
//! the process, or when nobody wants to know any more.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::Builder;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use tokio::sync::mpsc::UnboundedSender;

use super::rules::Rules;

/// What was seen.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// Everything that can be watched is, as so many directories.
    Ready(usize),
    /// Paths that have changed, each with the rule that it concerns.
    Changed(Vec<(usize, PathBuf)>),
    /// Something is not watched, and why.
    Blind(String),
}

/// A file was closed after it could be written, or a name came or went.
const EVENTS: AddWatchFlags = AddWatchFlags::IN_CLOSE_WRITE
    .union(AddWatchFlags::IN_CREATE)
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_MOVED_FROM)
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_ONLYDIR);

const CAME: AddWatchFlags = AddWatchFlags::IN_CREATE.union(AddWatchFlags::IN_MOVED_TO);

/// Begins to watch; `project_dir` is where `.gitignore`s count from without a repository.
pub(super) fn open(
    rules: Rules,
    project_dir: PathBuf,
    sight_tx: UnboundedSender<Sight>,
) -> io::Result<()> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC)?;
    let eyes = Eyes {
        inotify,
        rules,
        directories: HashMap::new(),
        sight_tx,
        is_full: false,
    };
    Builder::new()
        .name("watch".to_owned())
        .spawn(move || eyes.run(&project_dir))
        .map(drop)
}

/// What to do about a limit of the kernel.
pub(super) fn advice(error: Errno) -> Option<&'static str> {
    match error {
        Errno::ENOSPC => Some(
            "hint: raise it: `sudo sysctl fs.inotify.max_user_watches=524288`, or leave directories \
             out with `ignore`",
        ),
        Errno::EMFILE => Some(
            "hint: raise it: `sudo sysctl fs.inotify.max_user_instances=1024`, or end programs that \
             watch files",
        ),
        _ => None,
    }
}

struct Eyes {
    inotify: Inotify,
    rules: Rules,
    directories: HashMap<WatchDescriptor, PathBuf>,
    sight_tx: UnboundedSender<Sight>,
    /// Whether the limit was reached and told.
    is_full: bool,
}

impl Eyes {
    fn run(mut self, project_dir: &Path) {
        let roots: Vec<PathBuf> = self.rules.items.iter().map(|it| it.root.clone()).collect();
        let mut above: Vec<&Path> = Vec::new();
        for root in &roots {
            let top = root.ancestors().find(|dir| dir.join(".git").exists());
            let top = top.unwrap_or(project_dir);
            above.extend(root.ancestors().filter(|dir| dir.starts_with(top)));
        }
        for dir in above {
            self.rules.read_gitignore(dir);
        }
        self.rules.settle_roots();
        self.look_at_roots(&roots);
        for root in roots.iter().filter(|root| !root.exists()) {
            let shown = root.strip_prefix(project_dir).unwrap_or(root).display();
            self.tell(Sight::Blind(format!("`{shown}` does not exist yet")));
        }
        let mut is_wanted = self.tell(Sight::Ready(self.directories.len()));
        while is_wanted {
            match self.inotify.read_events() {
                Ok(events) => {
                    let changed = self.take_in(&events, &roots);
                    is_wanted = if changed.is_empty() {
                        !self.sight_tx.is_closed()
                    } else {
                        self.tell(Sight::Changed(changed))
                    };
                }
                Err(Errno::EINTR) => {}
                Err(error) => {
                    self.tell(Sight::Blind(format!("files are not watched: {error}")));
                    return;
                }
            }
        }
    }

    /// Watches everything that is worth it. The directory above each root tells of the root itself.
    fn look_at_roots(&mut self, roots: &[PathBuf]) {
        for root in roots {
            if let Some(parent) = root.parent() {
                self.add(parent);
            }
            if root.is_dir() {
                self.look_through(root, &mut |_| {});
            }
        }
    }

    /// Watches a directory with all below it that is worth it, and shows the files that are there.
    fn look_through(&mut self, from: &Path, show: &mut dyn FnMut(PathBuf)) {
        let mut stack = vec![from.to_path_buf()];
        while let Some(dir) = stack.pop() {
            // Watched before it is read, so that nothing falls between.
            if !self.rules.is_worth(&dir) || !self.add(&dir) {
                continue;
            }
            self.rules.read_gitignore(&dir);
            for entry in dir.read_dir().into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    stack.push(entry.path());
                } else {
                    show(entry.path());
                }
            }
        }
    }

    /// Whether a directory is watched from now on.
    fn add(&mut self, dir: &Path) -> bool {
        match self.inotify.add_watch(dir, EVENTS) {
            Ok(watch) => {
                self.directories.insert(watch, dir.to_path_buf());
                true
            }
            Err(Errno::ENOSPC) => {
                if !std::mem::replace(&mut self.is_full, true) {
                    let count = self.directories.len();
                    let hint = advice(Errno::ENOSPC).unwrap_or_default();
                    self.tell(Sight::Blind(format!(
                        "only {count} directories are watched: the limit fs.inotify.max_user_watches \
                         is reached\n{hint}"
                    )));
                }
                false
            }
            // It has just gone, or nobody may read it.
            Err(_) => false,
        }
    }

    fn take_in(&mut self, events: &[InotifyEvent], roots: &[PathBuf]) -> Vec<(usize, PathBuf)> {
        let mut changed = HashSet::new();
        for event in events {
            if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                self.look_at_roots(roots);
                changed.extend(roots.iter().cloned().enumerate());
                continue;
            }
            if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                self.directories.remove(&event.wd);
                continue;
            }
            let (Some(dir), Some(name)) = (self.directories.get(&event.wd), &event.name) else {
                continue;
            };
            let path = dir.join(name);
            let is_dir = event.mask.contains(AddWatchFlags::IN_ISDIR);
            let has_come = event.mask.intersects(CAME);
            let mut paths = Vec::new();
            if is_dir && has_come {
                // What is in it may have come before anybody could watch it.
                self.look_through(&path, &mut |path| paths.push(path));
            } else {
                if is_dir {
                    self.forget(&path);
                } else if name == ".gitignore" {
                    self.rules.read_gitignore(&dir.clone());
                }
                paths.push(path);
            }
            for path in paths {
                let rules = self.rules.concerned(&path, is_dir && !has_come);
                changed.extend(rules.into_iter().map(|rule| (rule, path.clone())));
            }
        }
        let mut changed: Vec<_> = changed.into_iter().collect();
        changed.sort();
        changed
    }

    /// A directory has gone, or is called otherwise now: its watches would tell of wrong paths.
    fn forget(&mut self, gone: &Path) {
        let (inotify, directories) = (&self.inotify, &mut self.directories);
        directories.retain(|&watch, dir| {
            let stays = !dir.starts_with(gone);
            if !stays {
                // It has ended by itself where the directory was removed.
                let _ = inotify.rm_watch(watch);
            }
            stays
        });
    }

    /// Returns whether anybody wants to know.
    fn tell(&self, sight: Sight) -> bool {
        self.sight_tx.send(sight).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
    use tokio::time::timeout;

    use super::*;
    use crate::cli::verbs::watching::rules::Rule;
    use crate::plan::model::{Reaction, WatchPlan};

    async fn open_at(dir: &Path, path: &str) -> UnboundedReceiver<Sight> {
        let plan = WatchPlan {
            path: path.into(),
            ignore: vec![],
            include: vec![],
            reaction: Reaction::Restart,
        };
        let (rule, _) = Rule::new(&plan, dir);
        let (sight_tx, mut sight_rx) = unbounded_channel();
        let rules = Rules::new(vec![rule], vec![dir.join(".env")]);
        open(rules, dir.to_path_buf(), sight_tx).unwrap();
        while !matches!(sight_rx.recv().await, Some(Sight::Ready(_))) {}
        sight_rx
    }

    /// Waits for a change of `name`. What else is seen must be among `others`.
    async fn await_change(sight_rx: &mut UnboundedReceiver<Sight>, name: &str, others: &[&str]) {
        let seen = timeout(Duration::from_secs(10), async {
            loop {
                let Some(Sight::Changed(changed)) = sight_rx.recv().await else {
                    panic!("no change");
                };
                let ends = |path: &PathBuf, name: &str| path.ends_with(name);
                for (_, path) in &changed {
                    let is_known = ends(path, name) || others.iter().any(|it| ends(path, it));
                    assert!(is_known, "{path:?}");
                }
                if changed.iter().any(|(_, path)| ends(path, name)) {
                    return;
                }
            }
        });
        seen.await.expect(name);
    }

    #[tokio::test]
    async fn writes_renames_removals_and_new_directories_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        fs_err::create_dir_all(at("src/.git")).unwrap();
        fs_err::write(at("src/a"), "1").unwrap();
        let mut sight_rx = open_at(dir.path(), "src").await;
        fs_err::write(at(".env"), "never").unwrap();
        fs_err::write(at("src/.git/HEAD"), "never").unwrap();
        fs_err::write(at("src/4913"), "never").unwrap();
        fs_err::write(at("src/a"), "2").unwrap();
        await_change(&mut sight_rx, "src/a", &[]).await;
        // As editors save: a file beside it takes its name.
        fs_err::write(at("src/a.new~"), "3").unwrap();
        fs_err::rename(at("src/a.new~"), at("src/a")).unwrap();
        await_change(&mut sight_rx, "src/a", &[]).await;
        // Read, or made executable: nothing to see.
        fs_err::read(at("src/a")).unwrap();
        fs_err::create_dir_all(at("src/x/y")).unwrap();
        fs_err::write(at("src/x/y/b"), "1").unwrap();
        await_change(&mut sight_rx, "x/y/b", &[]).await;
        fs_err::write(at("src/x/y/b"), "2").unwrap();
        await_change(&mut sight_rx, "x/y/b", &[]).await;
        fs_err::rename(at("src/x"), at("src/z")).unwrap();
        await_change(&mut sight_rx, "z/y/b", &["src/x", "x/y/b"]).await;
        fs_err::write(at("src/z/y/b"), "3").unwrap();
        await_change(&mut sight_rx, "z/y/b", &[]).await;
        fs_err::remove_dir_all(at("src/z")).unwrap();
        await_change(&mut sight_rx, "src/z", &["z/y/b", "z/y"]).await;
    }

    #[tokio::test]
    async fn a_path_may_be_a_file_or_come_later() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        fs_err::write(at("a.conf"), "1").unwrap();
        let mut sight_rx = open_at(dir.path(), "a.conf").await;
        fs_err::write(at("b.conf"), "never").unwrap();
        fs_err::write(at("new"), "2").unwrap();
        fs_err::rename(at("new"), at("a.conf")).unwrap();
        await_change(&mut sight_rx, "a.conf", &[]).await;
        let mut sight_rx = open_at(dir.path(), "src").await;
        fs_err::create_dir(at("src")).unwrap();
        fs_err::write(at("src/a"), "1").unwrap();
        await_change(&mut sight_rx, "src/a", &["src"]).await;
    }

    #[test]
    fn limits_are_named_with_what_raises_them() {
        let named = |error| advice(error).unwrap_or_default();
        assert!(named(Errno::ENOSPC).contains("sysctl fs.inotify.max_user_watches="));
        assert!(named(Errno::EMFILE).contains("sysctl fs.inotify.max_user_instances="));
        assert_eq!(advice(Errno::EACCES), None);
    }
}
