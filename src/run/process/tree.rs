//! All processes of the machine at one moment, and how they hang together.

use crate::support::proc::{Stat, for_each_pid};

/// How many processes there is room for before anything is allocated. What is reserved and not
/// touched costs nothing.
const ROOM: usize = 16_384;

/// One reading of `/proc`: for whoever asks about many processes at once. It takes some 10 µs for
/// each process of the machine.
#[derive(Debug)]
pub(crate) struct ProcessTree {
    /// In the order of their pids.
    processes: Vec<Stat>,
    /// Parent and pid of each, in this order.
    children: Vec<(i32, i32)>,
}

impl ProcessTree {
    /// One with nothing in it, and room.
    pub(crate) fn new() -> Self {
        Self {
            processes: Vec::with_capacity(ROOM),
            children: Vec::with_capacity(ROOM),
        }
    }

    /// The processes as they are now.
    pub(crate) fn read() -> Self {
        let mut tree = Self {
            processes: Vec::new(),
            children: Vec::new(),
        };
        tree.read_again();
        tree
    }

    /// Reads all processes anew. Allocates only where the machine has more of them than there is
    /// room for, and does with less if that fails.
    pub(crate) fn read_again(&mut self) {
        self.processes.clear();
        for_each_pid(|pid| {
            if let Some(stat) = Stat::of(pid) {
                push(&mut self.processes, stat);
            }
        });
        self.sort();
    }

    fn sort(&mut self) {
        self.processes.sort_unstable_by_key(|stat| stat.pid);
        self.children.clear();
        for stat in &self.processes {
            push(&mut self.children, (stat.parent, stat.pid));
        }
        self.children.sort_unstable();
    }

    /// The process that has `pid`.
    pub(crate) fn get(&self, pid: i32) -> Option<&Stat> {
        let place = self.processes.binary_search_by_key(&pid, |stat| stat.pid);
        self.processes.get(place.ok()?)
    }

    /// Every process, in the order of the pids.
    pub(crate) fn all(&self) -> &[Stat] {
        &self.processes
    }

    /// The children of a process.
    pub(crate) fn children_of(&self, pid: i32) -> impl Iterator<Item = &Stat> {
        let first = self.children.partition_point(|&(parent, _)| parent < pid);
        let children = self.children[first..].iter();
        children
            .take_while(move |&&(parent, _)| parent == pid)
            .filter_map(|&(_, child)| self.get(child))
    }

    /// Adds to `found` everything that hangs below what is in it already, parents before their
    /// children. `tag` makes what is noted of a process from that process and its parent's; one for
    /// which it returns nothing is left out, with everything below it.
    pub(crate) fn extend<T: Copy>(
        &self,
        found: &mut Vec<(Stat, T)>,
        mut tag: impl FnMut(&Stat, T) -> Option<T>,
    ) {
        let mut next = 0;
        // With a pid that was reused while they were read, two processes could each be the other's
        // ancestor.
        while next < found.len() && found.len() <= self.processes.len() {
            let (parent, above) = found[next];
            next += 1;
            for child in self.children_of(parent.pid) {
                if let Some(tag) = tag(child, above) {
                    push(found, (*child, tag));
                }
            }
        }
    }

    /// The processes with these pids and everything below them, each once.
    pub(crate) fn with_descendants(&self, pids: impl IntoIterator<Item = i32>) -> Vec<Stat> {
        let mut roots: Vec<i32> = pids.into_iter().collect();
        roots.sort_unstable();
        roots.dedup();
        let stats = roots.iter().filter_map(|&pid| self.get(pid));
        let mut found: Vec<(Stat, ())> = stats.map(|&stat| (stat, ())).collect();
        self.extend(&mut found, |child, ()| {
            roots.binary_search(&child.pid).is_err().then_some(())
        });
        found.into_iter().map(|(stat, ())| stat).collect()
    }
}

/// Adds `item` where there is memory for it.
pub(crate) fn push<T>(items: &mut Vec<T>, item: T) {
    if items.try_reserve(1).is_ok() {
        items.push(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Processes of these pids and parents.
    fn tree(processes: &[(i32, i32)]) -> ProcessTree {
        let mut tree = ProcessTree::new();
        tree.processes = processes
            .iter()
            .map(|&(pid, parent)| Stat {
                pid,
                state: b'S',
                parent,
                group: pid,
                session: pid,
                started: 0,
            })
            .collect();
        tree.sort();
        tree
    }

    fn pids(found: &[Stat]) -> Vec<i32> {
        found.iter().map(|stat| stat.pid).collect()
    }

    #[test]
    fn descendants_are_found_once_whatever_hangs_below_whom() {
        let tree = tree(&[(1, 0), (90, 7), (7, 1), (8, 1), (12, 90), (13, 90)]);
        assert_eq!(pids(&tree.with_descendants([7])), [7, 90, 12, 13]);
        assert_eq!(
            pids(&tree.with_descendants([8, 90, 7, 7])),
            [7, 8, 90, 12, 13]
        );
        assert!(tree.with_descendants([5]).is_empty());
        assert_eq!(tree.get(12).map(|stat| stat.parent), Some(90));
    }

    #[test]
    fn processes_that_are_each_others_ancestors_make_no_endless_search() {
        let tree = tree(&[(3, 4), (4, 3)]);
        assert!(tree.with_descendants([3]).len() <= 3);
    }

    #[test]
    fn a_process_inherits_from_its_parent() {
        let tree = tree(&[(1, 0), (2, 1), (3, 2), (4, 1), (5, 4)]);
        let mut found = vec![(*tree.get(1).unwrap(), 0)];
        tree.extend(&mut found, |child, above| {
            (child.pid != 4).then_some(above + child.pid)
        });
        let tags: Vec<(i32, i32)> = found.iter().map(|(stat, tag)| (stat.pid, *tag)).collect();
        assert_eq!(tags, [(1, 0), (2, 2), (3, 5)]);
    }

    #[test]
    fn a_reading_has_this_process_and_its_parent() {
        let tree = ProcessTree::read();
        let own = tree.get(nix::unistd::getpid().as_raw()).unwrap();
        assert!(pids(&tree.with_descendants([own.parent])).contains(&own.pid));
    }
}
