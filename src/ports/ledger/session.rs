//! One transaction over the ledger: lock, read, change, write, unlock.

use std::mem::discriminant;
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};
use serde::{Deserialize, Serialize};

use super::kept::Kept;
use super::lock::{Lock, lock};
use super::place::Here;
use super::port_row::PortRow;
use super::row::{Line, Row};
use super::rows::{Mark, Place, RowsFile};
use super::running::{Noted, is_running, take_slot};
use super::stack_port::StackPort;
use super::{Ledger, LedgerWarning};
use crate::ports::request::Owner;
use crate::support::protocol::Protocol;

/// For how long a number that `ports free` printed is left to its caller, in milliseconds.
const GRANT_MILLIS: u64 = 120_000;

/// How long somebody who only looks waits for the lock, to learn whether others can have it.
const LOOK_WAIT: Duration = Duration::from_millis(200);

/// Numbers that `ports free` printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Grant {
    ports: Vec<u16>,
    boot: String,
    netns: u64,
    /// In milliseconds since boot, sleep included, so that setting the clock changes nothing.
    until: u64,
}

/// The ledger, open. Dropping it without [`commit`](Self::commit) changes nothing.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) here: Here,
    ledger: Ledger,
    rows: RowsFile,
    /// The place of the row of the stack that asks.
    own: Option<Place>,
    /// The places of the rows of stacks that run.
    running: Vec<Place>,
    grants: Vec<Grant>,
    /// What is to be changed in `rows`: the marks of lines, and the lines that are to be added.
    marks: Vec<(Place, Mark)>,
    more: String,
    warnings: Vec<LedgerWarning>,
    /// Unlocked by the kernel when it is closed, also by a crash. Without it nothing is written:
    /// another one's entries would be lost.
    lock: Option<Lock>,
}

impl Session {
    /// Locks and reads, for whom it may concern or for one stack, which is not among the others then.
    /// Whatever fails becomes a warning and is as if it were not there.
    pub(crate) fn begin(ledger: &Ledger, instance: Option<&str>) -> Self {
        let here = Here::now();
        let locked = lock(ledger);
        let mut session = Self::load(ledger, here.later(), locked.map_err(Some));
        session.own = instance.and_then(|instance| session.rows.of(instance));
        session
    }

    /// Reads, to look something up. Where the lock is not free in a moment, or the directory not be
    /// written, a warning says so, as stacks may run that could not be noted.
    pub(crate) fn look(ledger: &Ledger) -> Self {
        let directory = ledger.path();
        let locked = if directory.is_dir() {
            let wait = ledger.lock_wait.min(LOOK_WAIT);
            lock(&ledger.clone().with_lock_wait(wait)).map_err(Some)
        } else {
            // It will be made below the first that there is.
            let place = directory.ancestors().find(|place| place.exists());
            let place = place.unwrap_or(&directory);
            let refused = match access(place, AccessFlags::W_OK) {
                Ok(()) if place.is_dir() => None,
                Ok(()) => Some(Errno::ENOTDIR),
                Err(errno) => Some(errno),
            };
            Err(refused.map(|errno| LedgerWarning::Unusable {
                reason: format!("`{}`: {}", place.display(), errno.desc()),
            }))
        };
        let mut session = Self::load(ledger, Here::now(), locked);
        session.unlock();
        session
    }

    /// Reads. Without the lock there may be a warning, or nothing to warn of.
    pub(super) fn load(
        ledger: &Ledger,
        here: Here,
        locked: Result<Lock, Option<LedgerWarning>>,
    ) -> Self {
        let path = ledger.path().join("stacks");
        let mut session = Self {
            here,
            ledger: ledger.clone(),
            rows: RowsFile::empty(path.clone()),
            own: None,
            running: Vec::new(),
            grants: Vec::new(),
            marks: Vec::new(),
            more: String::new(),
            warnings: Vec::new(),
            lock: None,
        };
        match locked {
            Ok(lock) => session.lock = Some(lock),
            Err(warning) => {
                let is_unusable = matches!(warning, None | Some(LedgerWarning::Unusable { .. }));
                session.warnings.extend(warning);
                // That it cannot be read either says nothing more.
                if is_unusable && !ledger.path().is_dir() {
                    return session;
                }
            }
        }
        match RowsFile::read(path) {
            Ok(rows) => session.rows = rows,
            Err(warning) => {
                // What cannot be read is left alone; the next write is what mends damage.
                if !matches!(warning, LedgerWarning::Damaged { .. }) {
                    session.lock = None;
                }
                session.trouble(warning);
            }
        }
        session.find_running();
        session.read_grants();
        // Without the lock somebody may be writing at this moment.
        if session.lock.is_some() && session.rows.is_unfinished() {
            let last = session.rows.lines().last().map(|(place, _)| place);
            session.damage(last);
        }
        session
    }

    /// Finds out which of the stacks that ran do so still.
    fn find_running(&mut self) {
        let path = self.ledger.lock_path();
        let opened = self.lock.is_none().then(|| fs_err::File::open(path).ok());
        let opened = opened.flatten();
        let opened = opened.as_ref().map(fs_err::File::file);
        // Without the file nobody can be asked, and nobody has a lock.
        let Some(file) = self.lock.as_ref().map(Lock::file).or(opened) else {
            return;
        };
        for place in self.rows.running() {
            let line = self.rows.at(place);
            let is_ours = line.filter(|line| line.is_of_this_boot(&self.here));
            let slot = is_ours.and_then(|line| line.slot);
            if slot.is_some_and(|slot| is_running(file, slot)) {
                self.running.push(place);
            } else if line.is_some() {
                self.marks.push((place, Mark::Ended));
            }
        }
    }

    /// Notes that lines are damaged; they go with the next write.
    fn damage(&mut self, places: impl IntoIterator<Item = Place>) {
        let before = self.marks.len();
        let damaged = places.into_iter().map(|place| (place, Mark::Superseded));
        self.marks.extend(damaged);
        if self.marks.len() > before {
            self.trouble(LedgerWarning::Damaged {
                path: self.rows.path.clone(),
                reason: "a line is not what it should be".to_owned(),
            });
        }
    }

    fn read_grants(&mut self) {
        let path = self.grants_path();
        let Ok(bytes) = fs_err::read(&path) else {
            return;
        };
        match serde_json::from_slice::<Vec<Grant>>(&bytes) {
            Ok(grants) => self.grants = grants,
            Err(error) => self.trouble(LedgerWarning::Damaged {
                path,
                reason: error.to_string(),
            }),
        }
        let now = self.here.boottime_millis;
        let boot = &self.here.boot;
        self.grants.retain(|grant| {
            // A deadline further away than any grant reaches was not written by this clock.
            let is_due = (now..=now.saturating_add(GRANT_MILLIS)).contains(&grant.until);
            grant.boot == *boot && is_due
        });
    }

    /// Notes what is wrong; of a kind once.
    fn trouble(&mut self, warning: LedgerWarning) {
        let same = |known: &LedgerWarning| discriminant(known) == discriminant(&warning);
        if !self.warnings.iter().any(same) {
            self.warnings.push(warning);
        }
    }

    /// Lets others go on; nothing will be written.
    pub(crate) fn unlock(&mut self) {
        self.lock = None;
    }

    /// Whether a commit will be seen by others.
    pub(crate) fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// What went wrong so far.
    pub(crate) fn into_warnings(self) -> Vec<LedgerWarning> {
        self.warnings
    }

    /// The rows of the other stacks that run.
    fn running(&self) -> impl Iterator<Item = Line<'_>> {
        let others = self
            .running
            .iter()
            .filter(|place| Some(**place) != self.own);
        others.filter_map(|&place| self.rows.at(place))
    }

    /// The rows of all other stacks, each with its place; a damaged one is its place alone.
    fn others(&self) -> impl Iterator<Item = (Place, Option<Line<'_>>)> {
        let own = self.own;
        self.rows
            .lines()
            .filter(move |(place, _)| Some(*place) != own)
    }

    /// The ports that other stacks hold in this network namespace, each with TCP or UDP.
    pub(crate) fn held(&self) -> impl Iterator<Item = (Protocol, u16)> {
        self.running().flat_map(|line| line.held(&self.here))
    }

    /// The ports that other stacks had last.
    pub(crate) fn kept(&self) -> Kept<'_> {
        Kept::new(self.others(), &self.running, &self.here)
    }

    /// Takes in what turned out while [`Self::kept`] was asked: the places of lines that say nothing, as
    /// they are damaged or their directories are gone.
    pub(crate) fn forget(&mut self, (damaged, gone): (Vec<Place>, Vec<Place>)) {
        // Without the lock somebody may be writing at this moment.
        if self.lock.is_some() {
            let known = &self.marks;
            let new = |place: &Place| known.iter().all(|(known, _)| known != place);
            let damaged: Vec<Place> = damaged.into_iter().filter(new).collect();
            self.damage(damaged);
            let gone = gone.into_iter().map(|place| (place, Mark::Superseded));
            self.marks.extend(gone);
        }
    }

    /// What is remembered of the stack that asks, as far as it is not past its time.
    pub(crate) fn own_row(&mut self, owner: &Owner) -> Row {
        let known = self.own.and_then(|place| self.rows.at(place));
        let mut row = match known.map(|line| line.row()) {
            None => Row::new(owner),
            Some(Some(row)) => row,
            Some(None) => {
                self.damage(self.own);
                Row::new(owner)
            }
        };
        row.prune(&self.here);
        row
    }

    /// Every port that another running stack of this network namespace holds.
    pub(crate) fn live_ports(&self) -> Vec<StackPort> {
        let here = self
            .running()
            .filter(|line| !line.held(&self.here).is_empty());
        let rows = here.filter_map(|line| line.row());
        rows.flat_map(|row| row.stack_ports(true)).collect()
    }

    /// Every port that another stack had last whose directory is still there; and whether any line was
    /// damaged.
    pub(crate) fn sticky_ports(&self) -> (Vec<StackPort>, bool) {
        let mut is_damaged = false;
        let mut ports = Vec::new();
        for (_, line) in self.others() {
            let row = line.and_then(|line| line.row());
            is_damaged |= row.is_none();
            if let (Some(mut row), Some(true)) = (row, line.map(|line| line.counts(&self.here)))
                && (self.here.present)(&row.owner.project_dir)
            {
                row.prune(&self.here);
                ports.extend(row.stack_ports(false));
            }
        }
        (ports, is_damaged)
    }

    /// Every other stack that is known, each with whether its directory is still there; and whether any
    /// line was damaged.
    pub(crate) fn owners(&self) -> (Vec<(Owner, bool)>, bool) {
        let mut is_damaged = false;
        let mut owners = Vec::new();
        for (place, line) in self.others() {
            let Some(row) = line.and_then(|line| line.row()) else {
                is_damaged = true;
                continue;
            };
            // The directory of one that runs may have been renamed.
            let is_running = self.running.contains(&place);
            let is_there = is_running || (self.here.present)(&row.owner.project_dir);
            owners.push((row.owner, is_there));
        }
        (owners, is_damaged)
    }

    /// Forgets damaged lines, and stacks that do not run and whose directories are gone.
    pub(crate) fn clean(&mut self) {
        let (mut damaged, mut gone) = (Vec::new(), Vec::new());
        for (place, line) in self.others() {
            match line.and_then(|line| line.row()) {
                None => damaged.push(place),
                Some(row) => {
                    if !self.running.contains(&place)
                        && !(self.here.present)(&row.owner.project_dir)
                    {
                        gone.push(place);
                    }
                }
            }
        }
        self.forget((damaged, gone));
    }

    /// Whose `port` is: that of the other stack that holds it, else that of one that had it last.
    pub(crate) fn stack_of(&self, port: u16) -> Option<StackPort> {
        let named = |line: Line<'_>, is_running| {
            let row = line.row()?;
            let is_there = is_running || (self.here.present)(&row.owner.project_dir);
            let mut ports = row.stack_ports(is_running).into_iter();
            ports.find(|known| known.port == port && is_there)
        };
        let holds = |line: &Line<'_>| line.held(&self.here).iter().any(|held| held.1 == port);
        let had = |line: &Line<'_>| {
            let mut has = false;
            line.kept(&self.here, |kept| has |= kept == port);
            has
        };
        let mut running = self.running().filter(holds);
        running.find_map(|line| named(line, true)).or_else(|| {
            let lines = self.others().filter_map(|(_, line)| line);
            lines.filter(had).find_map(|line| named(line, false))
        })
    }

    /// The numbers that were granted in this network namespace.
    pub(crate) fn granted(&self) -> impl Iterator<Item = u16> {
        let here = self.here.netns;
        let grants = self.grants.iter().filter(move |grant| grant.netns == here);
        grants.flat_map(|grant| grant.ports.iter().copied())
    }

    /// Notes numbers that are printed for somebody.
    pub(crate) fn grant(&mut self, ports: Vec<u16>) {
        self.grants.push(Grant {
            ports,
            boot: self.here.boot.clone(),
            netns: self.here.netns,
            until: self.here.boottime_millis + GRANT_MILLIS,
        });
        self.write_grants();
    }

    fn write_grants(&mut self) {
        if self.lock.is_none() {
            return;
        }
        let path = self.grants_path();
        let written = if self.grants.is_empty() {
            fs_err::remove_file(&path)
        } else {
            let text = serde_json::to_vec(&self.grants).map_err(std::io::Error::from);
            text.and_then(|text| crate::support::fs::write_atomically_unsynced(&path, &text, 0o600))
        };
        if let Err(error) = written {
            self.unwritten(&error);
        }
    }

    fn unwritten(&mut self, error: &std::io::Error) {
        self.trouble(LedgerWarning::Unwritten {
            reason: error.to_string(),
        });
    }

    /// Notes that the stack that asks, `owner`, starts with `ports`; nothing where that could not be
    /// written. `fresh` forgets what it had before.
    pub(crate) fn start(&mut self, owner: &Owner, ports: &[PortRow], fresh: bool) -> Option<Noted> {
        let is_taken = |port: &u16| ports.iter().any(|row| row.port == *port);
        if self.granted().any(|port| is_taken(&port)) {
            for grant in &mut self.grants {
                grant.ports.retain(|port| !is_taken(port));
            }
            self.grants.retain(|grant| !grant.ports.is_empty());
            self.write_grants();
        }
        let mut row = self.own_row(owner);
        row.record(owner, ports, fresh, &self.here);
        let known = self
            .running
            .iter()
            .filter_map(|&place| self.rows.at(place)?.slot);
        let known: Vec<u32> = known.collect();
        match take_slot(self.lock.as_ref()?.file(), &known) {
            Ok((slot, noted)) => {
                self.put(&row, Some(slot));
                Some(noted)
            }
            Err(error) => {
                self.unwritten(&error);
                None
            }
        }
    }

    /// Notes what has changed of the stack that asks.
    pub(crate) fn update(&mut self, row: &Row) {
        let running = self.own.filter(|place| self.running.contains(place));
        let slot = running.and_then(|place| self.rows.at(place)?.slot);
        self.put(row, slot);
    }

    /// Puts a row in the place of what is known of its stack.
    fn put(&mut self, row: &Row, slot: Option<u32>) {
        if let Ok(line) = row.to_line(slot, &self.here) {
            let known = self.own.map(|place| (place, Mark::Superseded));
            self.marks.extend(known);
            self.more.push_str(&line);
        }
    }

    /// Writes what has changed, and unlocks; says whether that was possible. What was known can still be
    /// looked at.
    pub(crate) fn commit(&mut self) -> bool {
        if self.lock.is_none() {
            return false;
        }
        let now = self.here.unix_millis;
        let written = if self.rows.is_due(now) {
            self.rows.replace(&(self.useful() + &self.more), now)
        } else {
            self.rows.write(&self.marks, &self.more)
        };
        if let Err(error) = &written {
            self.unwritten(error);
        }
        self.unlock();
        written.is_ok()
    }

    /// The lines that somebody may need.
    fn useful(&self) -> String {
        let mut lines = String::new();
        for (place, line) in self.rows.lines() {
            let is_superseded = self.marks.contains(&(place, Mark::Superseded));
            let Some((line, mut row)) = line.and_then(|line| Some((line, line.row()?))) else {
                continue;
            };
            row.prune(&self.here);
            let slot = line.slot.filter(|_| self.running.contains(&place));
            let is_there = slot.is_some() || (self.here.present)(&row.owner.project_dir);
            if !is_superseded && !row.is_empty() && is_there {
                // In its own place and time: another network namespace has other ports.
                let text = row.to_line(slot, &line.place(&self.here));
                lines.push_str(&text.unwrap_or_default());
            }
        }
        lines
    }

    fn grants_path(&self) -> PathBuf {
        self.ledger.path().join("grants")
    }
}
