//! Reads the logs: blocks of all units in the order of time, and more of them as the files grow.
//!
//! Reads the files alone, so it works while a supervisor writes them and when none is left. A viewer
//! of a running stack passes on what the [`LogFeed`](super::LogFeed) says. Memory is bounded by the
//! number of units, not by the size of the logs: of each, one window of the index is held, and one
//! block at a time is read of all.

mod segment;
mod tail;
mod track;
mod unit_log;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

pub(super) use self::tail::Scope;
pub(super) use self::track::Track;
use super::grep::Pattern;
use super::index::{Index, Record};
use super::segments::{self, Segments, index_path};
use super::{LogBlock, LogNews};
use crate::ports::ensure_descriptors;
use crate::run::snapshot::LogStream;
use crate::support::fs::open_private;
use crate::support::name::{ServiceName, UnitId};

/// Whose output is wanted, and which of it; without any limit everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Whose: services with all their replicas, or with one of them. None at all means every unit.
    pub units: Vec<(ServiceName, Option<u32>)>,
    /// Only this stream; where it is not known, as the index was lost, it is taken for stdout.
    pub stream: Option<LogStream>,
    /// Only what was printed up to this time, in nanoseconds since the Unix epoch.
    pub until: Option<u64>,
    /// Blocks of which no line matches may be left out.
    pub grep: Option<Pattern>,
}

impl Wanted {
    /// Whether output of this unit may be wanted.
    pub fn has(&self, unit: &UnitId) -> bool {
        let is_it = |(service, replica): &(ServiceName, Option<u32>)| {
            *service == unit.service && replica.is_none_or(|it| it == unit.replica)
        };
        self.units.is_empty() || self.units.iter().any(is_it)
    }
}

/// Where a reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With everything that this run of the stack (`STACK_RUN` as a number) has printed. The reader
    /// keeps a lock on the files that it reads, so that they are not removed before.
    Run(u64),
    /// With a run, or with its last lines.
    LastRun {
        /// Which run: that of a stack that runs; without a number, the last that printed anything.
        run: Option<u64>,
        /// How many lines of each unit, all of them without a number. A line counts where it ends,
        /// and is returned from its beginning.
        tail: Option<usize>,
    },
    /// With what was printed from a time on, whatever the run.
    Since {
        /// That time, in nanoseconds since the Unix epoch.
        time: u64,
        /// How many lines of each unit, as above.
        tail: Option<usize>,
    },
    /// With what comes from now on.
    Now,
}

/// A piece of what services print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// Output, in order within each unit.
    Block(LogBlock),
    /// Output of a unit that is lost: it came before what comes next of this unit.
    Lost {
        /// Whose.
        unit: UnitId,
        /// How many bytes.
        bytes: u64,
    },
}

/// The output of some services, oldest first.
#[derive(Debug)]
pub struct LogReader {
    dir: PathBuf,
    wanted: Wanted,
    scope: Scope,
    /// Whether files must stay until they have been read.
    keeps: bool,
    /// Whether a supervisor tells what comes.
    is_live: bool,
    tracks: Vec<Track>,
    numbers: HashMap<UnitId, usize>,
    /// The tracks that have more, by the time of what comes next; each is there at most once.
    queue: BinaryHeap<Reverse<(u64, usize)>>,
    /// What comes before everything else.
    ready: VecDeque<Followed>,
}

impl LogReader {
    /// What is wanted of the output in `dir`. Units that printed nothing have no file and are left out.
    ///
    /// With `news`, those that a running stack has told so far: the reader goes on with what it
    /// [hears](Self::hear).
    pub fn open(
        dir: PathBuf,
        wanted: &Wanted,
        start: Start,
        news: Option<Vec<LogNews>>,
    ) -> io::Result<Self> {
        let mut found = segments::scan(&dir)?;
        let (run, since, tail) = match start {
            Start::Run(run) => (Some(run), None, None),
            Start::LastRun { run, tail } => {
                let run = run.map_or_else(|| last_run(&dir, &found), |run| Ok(Some(run)))?;
                (run, None, tail)
            }
            Start::Since { time, tail } => (None, Some(time), tail),
            Start::Now => (None, None, Some(0)),
        };
        let mut reader = Self {
            dir,
            wanted: wanted.clone(),
            scope: Scope {
                run,
                since,
                stream: wanted.stream,
                until: wanted.until,
                attempt: None,
            },
            keeps: matches!(start, Start::Run(_)),
            is_live: news.is_some(),
            tracks: Vec::new(),
            numbers: HashMap::new(),
            queue: BinaryHeap::new(),
            ready: VecDeque::new(),
        };
        for unit in found.keys().filter(|unit| wanted.has(unit)) {
            reader.number_of(unit);
        }
        for item in news.into_iter().flatten() {
            reader.note(item);
        }
        // Each has two files.
        ensure_descriptors(2 * reader.tracks.len());
        for number in 0..reader.tracks.len() {
            let track = &mut reader.tracks[number];
            if let Some(segments) = found.remove(track.unit()) {
                track.begin(&reader.dir, segments.bases(), tail)?;
            } else {
                track.begin_without(tail);
            }
            reader.enqueue(number)?;
        }
        Ok(reader)
    }

    /// The next piece that there is; `None` if there is nothing now.
    pub fn next_piece(&mut self) -> io::Result<Option<Followed>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(Some(piece));
            }
            let Some(Reverse((_, number))) = self.queue.pop() else {
                return Ok(None);
            };
            let track = &mut self.tracks[number];
            track.is_queued = false;
            track.take(&mut self.ready)?;
            self.enqueue(number)?;
        }
    }

    /// Takes what a running stack tells, and reads on where that leads.
    pub fn hear(&mut self, news: LogNews) -> io::Result<()> {
        match self.note(news) {
            Some(number) => self.read_on(number, true),
            None => Ok(()),
        }
    }

    /// Looks what a unit's file has by now, without being told.
    pub fn look_at(&mut self, unit: &UnitId) -> io::Result<()> {
        if !self.wanted.has(unit) {
            return Ok(());
        }
        let number = self.number_of(unit);
        self.read_on(number, true)
    }

    /// Ends with what there is now, though the stack goes on.
    pub fn end_here(&mut self) -> io::Result<()> {
        self.tracks.iter_mut().for_each(Track::end_here);
        self.finish()
    }

    /// Looks a last time what the files have: the supervisor has ended, perhaps without telling of
    /// all of it.
    pub fn finish(&mut self) -> io::Result<()> {
        self.is_live = false;
        let found = segments::scan(&self.dir)?;
        for unit in found.keys() {
            if self.wanted.has(unit) {
                self.number_of(unit);
            }
        }
        for number in 0..self.tracks.len() {
            let is_there = found.contains_key(self.tracks[number].unit());
            self.read_on(number, is_there)?;
        }
        Ok(())
    }

    /// Notes what is told. Returns whose file has grown.
    fn note(&mut self, news: LogNews) -> Option<usize> {
        match news {
            LogNews::Grown { unit, position } if self.wanted.has(&unit) => {
                let number = self.number_of(&unit);
                self.tracks[number].told_until(position);
                Some(number)
            }
            LogNews::Unwritten { position, block } if self.wanted.has(&block.unit) => {
                let number = self.number_of(&block.unit);
                self.tracks[number].add_unwritten(position, Followed::Block(block));
                None
            }
            LogNews::Lost {
                position,
                unit,
                bytes,
            } if self.wanted.has(&unit) => {
                let number = self.number_of(&unit);
                self.tracks[number].add_unwritten(position, Followed::Lost { unit, bytes });
                None
            }
            LogNews::Current { .. }
            | LogNews::Grown { .. }
            | LogNews::Unwritten { .. }
            | LogNews::Lost { .. } => None,
        }
    }

    fn number_of(&mut self, unit: &UnitId) -> usize {
        if let Some(&number) = self.numbers.get(unit) {
            return number;
        }
        let number = self.tracks.len();
        let track = Track::new(unit.clone(), self.scope, self.keeps);
        let track = track.leaving_out(self.wanted.grep.clone());
        self.tracks.push(track);
        self.numbers.insert(unit.clone(), number);
        number
    }

    fn read_on(&mut self, number: usize, is_there: bool) -> io::Result<()> {
        self.tracks[number].refresh(&self.dir, is_there)?;
        self.enqueue(number)
    }

    fn enqueue(&mut self, number: usize) -> io::Result<()> {
        let track = &mut self.tracks[number];
        if !track.is_queued
            && let Some(time) = track.next_time(self.is_live)?
        {
            track.is_queued = true;
            self.queue.push(Reverse((time, number)));
        }
        Ok(())
    }
}

/// Says that somebody is going to show the run that begins now, as long as the returned file is open:
/// of each unit the first log of the run stays until it is read ([`Start::Run`]). Without locks, which
/// some file systems do not have, some of it may go too early.
pub fn announce_reader(dir: &Path) -> Option<File> {
    let dir = File::open(dir).ok()?;
    dir.try_lock_shared().ok()?;
    Some(dir)
}

/// The units that have a log in `dir`, by service and number.
pub fn logged_units(dir: &Path) -> io::Result<Vec<UnitId>> {
    Ok(segments::scan(dir)?.into_keys().collect())
}

/// The run of the latest block of any unit.
fn last_run(dir: &Path, found: &BTreeMap<UnitId, Segments>) -> io::Result<Option<u64>> {
    let mut last: Option<Record> = None;
    for (unit, segments) in found {
        let Some(&newest) = segments.bases().last() else {
            continue;
        };
        let path = index_path(dir, unit, newest);
        let file = match open_private(&path, OpenOptions::new().read(true)) {
            Ok(file) => file,
            Err(error) if segment::is_none_of_ours(&error) => continue,
            Err(error) => return Err(error),
        };
        let newest = Index::new(file)?.last()?;
        last = last
            .into_iter()
            .chain(newest)
            .max_by_key(|record| record.time);
    }
    Ok(last.map(|record| record.run))
}

#[cfg(test)]
mod tests;
