//! Which directory each watch is on, and which watches are below a directory.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::path::{Path, PathBuf};

use nix::sys::inotify::WatchDescriptor;

/// The watches there are.
#[derive(Debug, Default)]
pub(super) struct Watches {
    paths: HashMap<WatchDescriptor, PathBuf>,
    /// The last one of each path: one that was removed has a watch until its end is read.
    watches: BTreeMap<PathBuf, WatchDescriptor>,
}

impl Watches {
    /// A directory is watched.
    pub(super) fn insert(&mut self, watch: WatchDescriptor, dir: &Path) {
        let before = self.paths.insert(watch, dir.to_path_buf());
        // It has been moved meanwhile.
        if let Some(before) = before.filter(|before| before != dir) {
            self.end_at(&before, watch);
        }
        self.watches.insert(dir.to_path_buf(), watch);
    }

    /// A watch has ended.
    pub(super) fn ended(&mut self, watch: WatchDescriptor) {
        if let Some(dir) = self.paths.remove(&watch) {
            self.end_at(&dir, watch);
        }
    }

    fn end_at(&mut self, dir: &Path, watch: WatchDescriptor) {
        if self.watches.get(dir) == Some(&watch) {
            self.watches.remove(dir);
        }
    }

    /// On what a watch is.
    pub(super) fn path(&self, watch: WatchDescriptor) -> Option<&Path> {
        self.paths.get(&watch).map(PathBuf::as_path)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.paths.len()
    }

    /// Those on a directory and on all below it.
    pub(super) fn below(&self, dir: &Path) -> Vec<WatchDescriptor> {
        let from = self
            .watches
            .range::<Path, _>((Bound::Included(dir), Bound::Unbounded));
        let below = from.take_while(|(path, _)| looked_at(path).starts_with(dir));
        below.map(|(_, watch)| *watch).collect()
    }

    /// Those on directories of some kind.
    pub(super) fn filter(&self, is_meant: impl Fn(&Path) -> bool) -> Vec<WatchDescriptor> {
        let meant = self
            .paths
            .iter()
            .filter(|(_, path)| is_meant(looked_at(path)));
        meant.map(|(watch, _)| *watch).collect()
    }
}

/// Each path that is looked at is work.
fn looked_at(path: &Path) -> &Path {
    #[cfg(test)]
    super::work::done(1);
    path
}
