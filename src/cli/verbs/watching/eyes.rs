//! Sees files change: inotify(7), one watch a directory, on a thread of its own.
//!
//! The thread waits in the kernel, and looks through directories without keeping anybody. It ends with
//! the process, or when nobody wants to know any more.

mod watches;
#[cfg(test)]
pub(super) mod work;

use std::collections::HashSet;
use std::io::{self, PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Builder;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use self::watches::Watches;
use super::rules::{Owner, Rules};
use super::way::{Home, Way};

/// What was seen.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// Everything that can be watched is.
    Ready,
    /// Paths that have changed, each with the owner of the rule that it concerns.
    Changed(Vec<(Owner, PathBuf)>),
    /// Something is not watched, and why.
    Blind(String),
    /// Nobody lets us look into this directory.
    Closed(PathBuf),
}

/// A file was closed after it could be written, or a name came or went.
const EVENTS: AddWatchFlags = AddWatchFlags::IN_CLOSE_WRITE
    .union(AddWatchFlags::IN_CREATE)
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_MOVED_FROM)
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_ONLYDIR)
    .union(AddWatchFlags::IN_DONT_FOLLOW);

const CAME: AddWatchFlags = AddWatchFlags::IN_CREATE.union(AddWatchFlags::IN_MOVED_TO);

/// What sees. Dropping it ends the watching.
#[derive(Debug)]
pub(super) struct Eyes {
    sight_rx: UnboundedReceiver<Sight>,
    rules_tx: Sender<Rules>,
    /// Wakes the thread: there are other rules, or, once it is closed, nobody wants to know any more.
    wake: PipeWriter,
}

impl Eyes {
    /// Begins to watch; the project directory is where `.gitignore`s count from without a repository.
    pub(super) fn open(rules: Rules, project_dir: PathBuf) -> io::Result<Self> {
        let (sight_tx, sight_rx) = unbounded_channel();
        let (rules_tx, rules_rx) = channel();
        let (woken, wake) = pipe()?;
        let looking = Looking {
            inotify: Inotify::init(InitFlags::IN_CLOEXEC)?,
            rules: Rules::default(),
            watches: Watches::default(),
            sight_tx,
            is_full: false,
        };
        Builder::new()
            .name("watch".to_owned())
            .spawn(move || looking.run(&Home::of(project_dir), &rules_rx, woken))?;
        let mut eyes = Self {
            sight_rx,
            rules_tx,
            wake,
        };
        eyes.look_by(rules);
        Ok(eyes)
    }

    /// Watches by other rules. What is watched before and after misses nothing.
    pub(super) fn look_by(&mut self, rules: Rules) {
        // A thread that has ended has said why.
        let _ = self.rules_tx.send(rules);
        let _ = self.wake.write_all(&[0]);
    }

    /// What is seen next; nothing once it cannot be seen any more.
    pub(super) async fn next(&mut self) -> Option<Sight> {
        self.sight_rx.recv().await
    }
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

struct Looking {
    inotify: Inotify,
    rules: Rules,
    watches: Watches,
    sight_tx: UnboundedSender<Sight>,
    /// Whether the limit was reached and told.
    is_full: bool,
}

impl Looking {
    fn run(mut self, home: &Home, rules_rx: &Receiver<Rules>, mut woken: PipeReader) {
        loop {
            let is_there = |polled: &PollFd<'_>| polled.any() == Some(true);
            let event = PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN);
            let mut either = [event, PollFd::new(woken.as_fd(), PollFlags::POLLIN)];
            let polled = poll(&mut either, PollTimeout::NONE);
            let [has_events, is_woken] = [is_there(&either[0]), is_there(&either[1])];
            let read = match polled {
                Ok(_) if is_woken => {
                    let Ok(1..) = woken.read(&mut [0]) else {
                        return;
                    };
                    for rules in rules_rx.try_iter() {
                        self.begin(rules, home);
                    }
                    continue;
                }
                Ok(_) if has_events => self.inotify.read_events(),
                Ok(_) => continue,
                Err(error) => Err(error),
            };
            match read {
                Ok(events) => {
                    let changed = self.take_in(&events, home);
                    if !changed.is_empty() {
                        let owner = |(rule, path): (usize, _)| (self.rules.items[rule].owner, path);
                        let changed = changed.into_iter().map(owner).collect();
                        self.tell(Sight::Changed(changed));
                    }
                }
                Err(Errno::EINTR) => {}
                Err(error) => {
                    self.tell(Sight::Blind(format!("files are not watched: {error}")));
                    return;
                }
            }
        }
    }

    /// Watches by these rules, and what only others wanted no more.
    fn begin(&mut self, rules: Rules, home: &Home) {
        self.rules = rules;
        for never in &mut self.rules.never {
            let end = home.way(never, &mut |_| {}).steps.pop();
            *never = end.unwrap_or_default();
        }
        let all = self.rules.by_path(0..self.rules.items.len());
        self.find(&all, home, &mut |_, _| {});
        for rule in &self.rules.items {
            if rule.way.end.is_none() {
                let shown = rule.root.strip_prefix(&home.called).unwrap_or(&rule.root);
                let shown = shown.display();
                self.tell(Sight::Blind(format!("`{shown}` does not exist yet")));
            }
        }
        self.forget_needless();
        self.tell(Sight::Ready);
    }

    /// Finds out where the path of some rules leads, and of some others, watches the way there and what is
    /// at its end, and shows whose the files are that are there.
    fn find(
        &mut self,
        by_path: &[Vec<usize>],
        home: &Home,
        show: &mut dyn FnMut(&[usize], PathBuf),
    ) {
        let mut ends = Vec::new();
        for alike in by_path {
            let Some(&first) = alike.first() else {
                continue;
            };
            let root = self.rules.items[first].root.clone();
            let way = home.way(&root, &mut |dir| {
                self.add(dir);
            });
            for &at in alike {
                self.rules.items[at].way.clone_from(&way);
            }
            let Some(end) = way.end else { continue };
            let top = end.ancestors().find(|dir| dir.join(".git").exists());
            let top = top.unwrap_or(&home.real);
            for dir in end.ancestors().filter(|dir| dir.starts_with(top)) {
                self.rules.read_gitignore(dir);
            }
            ends.push((alike, end, way.is_dir));
        }
        self.rules.settle();
        for (alike, end, is_dir) in ends {
            if is_dir {
                self.look_through(&end, &mut |file| show(alike, file));
            } else {
                show(alike, end);
            }
        }
    }

    /// Something has happened to a name on the way of some rules: finds out where that leads now. What is
    /// at its end counts as changed.
    fn find_anew(&mut self, over: &[usize], home: &Home, has_come: bool) -> Vec<(usize, PathBuf)> {
        let before = over.iter().map(|&at| self.rules.items[at].way.clone());
        let before: Vec<Way> = before.collect();
        let by_path = self.rules.by_path(over.iter().copied());
        let mut files = Vec::new();
        self.find(&by_path, home, &mut |alike, file| {
            files.push((alike.to_vec(), file));
        });
        let mut changed = Vec::new();
        for (alike, file) in files {
            changed.extend(self.rules.concerned_of(alike, &file, false));
        }
        let mut leads_elsewhere = false;
        for (&at, before) in over.iter().zip(&before) {
            let rule = &self.rules.items[at];
            let is_other = before.end != rule.way.end;
            leads_elsewhere |= is_other;
            if before.end.is_some() && (is_other || !has_come) {
                let itself = rule.itself(before.is_dir || rule.way.is_dir);
                changed.extend(itself.map(|path| (at, path)));
            }
        }
        if leads_elsewhere {
            self.forget_needless();
        }
        changed
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
                self.watches.insert(watch, dir);
                true
            }
            Err(Errno::ENOSPC) => {
                if !std::mem::replace(&mut self.is_full, true) {
                    let count = self.watches.len();
                    let hint = advice(Errno::ENOSPC).unwrap_or_default();
                    self.tell(Sight::Blind(format!(
                        "only {count} directories are watched: the limit fs.inotify.max_user_watches \
                         is reached\n{hint}"
                    )));
                }
                false
            }
            Err(Errno::EACCES) => {
                if let Some(path) = self.rules.called(dir) {
                    self.tell(Sight::Closed(path));
                }
                false
            }
            // It has just gone.
            Err(_) => false,
        }
    }

    fn take_in(&mut self, events: &[InotifyEvent], home: &Home) -> Vec<(usize, PathBuf)> {
        let mut changed = HashSet::new();
        for event in events {
            if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                let all = self.rules.by_path(0..self.rules.items.len());
                self.find(&all, home, &mut |_, _| {});
                let roots = self.rules.items.iter().map(|rule| rule.root.clone());
                changed.extend(roots.enumerate());
                continue;
            }
            if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                self.watches.ended(event.wd);
                continue;
            }
            let (Some(dir), Some(name)) = (self.watches.path(event.wd), &event.name) else {
                continue;
            };
            let (dir, path) = (dir.to_path_buf(), dir.join(name));
            let is_dir = event.mask.contains(AddWatchFlags::IN_ISDIR);
            let has_come = event.mask.intersects(CAME);
            if is_dir && event.mask.contains(AddWatchFlags::IN_MOVED_FROM) {
                // It is called otherwise now: its watches would tell of wrong paths. Those of a directory
                // that was removed end by themselves.
                self.forget(self.watches.below(&path));
            }
            let over = self.rules.over(&path);
            if !event.mask.contains(AddWatchFlags::IN_CLOSE_WRITE) && !over.is_empty() {
                changed.extend(self.find_anew(&over, home, has_come));
            }
            let mut paths = Vec::new();
            if is_dir && has_come {
                // What is in it may have come before anybody could watch it.
                self.look_through(&path, &mut |path| paths.push(path));
            } else {
                if name == ".gitignore" {
                    self.rules.read_gitignore(&dir);
                    self.rules.settle();
                    // What it does not name any more is not watched yet.
                    for end in self.rules.ends() {
                        self.look_through(&end, &mut |_| {});
                    }
                }
                paths.push(path);
            }
            for path in paths {
                changed.extend(self.rules.concerned(&path, is_dir && !has_come));
            }
        }
        let mut changed: Vec<_> = changed.into_iter().collect();
        changed.sort();
        changed
    }

    /// Watches no directory that nobody wants to be watched any more.
    fn forget_needless(&mut self) {
        let is_needless = |dir: &Path| !self.rules.is_worth(dir) && !self.rules.is_on_a_way(dir);
        self.forget(self.watches.filter(is_needless));
    }

    fn forget(&mut self, watches: Vec<WatchDescriptor>) {
        for watch in watches {
            // It may have ended by itself.
            let _ = self.inotify.rm_watch(watch);
            self.watches.ended(watch);
        }
    }

    fn tell(&self, sight: Sight) {
        // Nobody may want to know any more.
        let _ = self.sight_tx.send(sight);
    }
}

#[cfg(test)]
mod tests;
