//! Reads the pipes, cuts what comes at line ends, and puts the blocks out.
//!
//! The working half of the pump: no waiting, no tokio but its clock. `pump` says when.

use std::collections::{BTreeMap, HashMap, hash_map::Entry};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use bytes::Bytes;
use memchr::memrchr;
use nix::errno::Errno;
use tokio::time::Instant;

use super::epoll::{Epoll, EpollEvent, EpollFlags, EpollTimeout};
use super::feed::Announcer;
use super::pipe;
use super::writer::{BlockInfo, LogFiles};
use super::{Drained, Expected, LogBlock, LogFeed, LogSink};
use crate::plan::model::LoggingPlan;
use crate::run::news::Notice;
use crate::run::snapshot::LogStream;
use crate::support::clock::unix_nanos;
use crate::support::name::UnitId;

/// How much is read at once: all that a large pipe holds, so that a flood costs few blocks.
pub(super) const READ_LENGTH: usize = 256 * 1024;

/// A line is held back for its end up to this length; a longer one goes out in parts. It bounds
/// what each stream can hold in memory.
pub(super) const LINE_CAP: usize = 16 * 1024;

/// How long an unfinished line (a prompt, a row of dots) is held back for its end.
pub(super) const PARTIAL_AFTER: Duration = Duration::from_millis(100);

/// How long after somebody has written to the service, who waits for the echo of a key.
const ANSWER_AFTER: Duration = Duration::from_millis(5);

/// For how long somebody waits for an answer.
const HURRY: Duration = Duration::from_secs(1);

/// From how many pipes a round reads at most.
const PIPES_PER_ROUND: usize = 8;

/// How much a round reads at most, shared among its pipes, so that the supervisor gets its turn: about
/// a millisecond.
const ROUND_LENGTH: usize = 1024 * 1024;

/// What a pipe holds where that cannot be asked (a terminal): the largest that there is.
const UNKNOWN_CAPACITY: usize = 1024 * 1024;

/// Whether a round found something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Round {
    /// Every pipe was empty.
    Idle,
    /// Something was read, and more may be there.
    Worked,
}

/// One registered pipe.
#[derive(Debug)]
struct Source {
    fd: OwnedFd,
    unit: UnitId,
    stream: LogStream,
    attempt: u32,
    /// Whether it is the service itself that prints, and no command beside it.
    is_own: bool,
    /// How much the pipe can hold.
    capacity: usize,
    /// The beginning of a line whose end has not come; shorter than [`LINE_CAP`].
    rest: Vec<u8>,
    /// When the rest is put out, if there is one.
    due: Option<Instant>,
    /// Until when somebody waits for an answer.
    hurried_until: Option<Instant>,
    /// Whether the last block ended in the middle of a line.
    continues: bool,
}

impl Source {
    /// How long an unfinished line is held back that begins now.
    fn patience(&self, now: Instant) -> Duration {
        match self.hurried_until {
            Some(until) if now < until => ANSWER_AFTER,
            Some(_) | None => PARTIAL_AFTER,
        }
    }
}

/// What one read brought.
enum Read {
    /// This many bytes.
    Bytes(usize),
    /// Nothing is there now.
    Empty,
    /// Nothing will come any more; the source is gone.
    End,
}

/// All pipes, and where their bytes go.
#[derive(Debug)]
pub(super) struct Intake<S> {
    /// By the number under which epoll knows it. Numbers are not used twice, so no event can
    /// reach the wrong source.
    sources: BTreeMap<u64, Source>,
    /// The numbers of each unit's, so that the end of one of a thousand looks at its own only.
    of_units: HashMap<UnitId, Vec<u64>>,
    next_id: u64,
    /// Room for a rest, and behind it for a read, so that a block is one slice without being
    /// assembled.
    scratch: Box<[u8]>,
    /// Not after the oldest rest is due.
    deadline: Option<Instant>,
    output: Output<S>,
}

impl<S: LogSink> Intake<S> {
    pub(super) fn new(files: LogFiles, sink: S) -> Self {
        Self {
            sources: BTreeMap::new(),
            of_units: HashMap::new(),
            next_id: 0,
            scratch: vec![0; LINE_CAP + READ_LENGTH].into_boxed_slice(),
            deadline: None,
            output: Output {
                files,
                announcer: Announcer::default(),
                sink,
            },
        }
    }

    /// Where viewers learn of the output.
    pub(super) fn feed(&self) -> LogFeed {
        self.output.announcer.feed()
    }

    /// When [`flush_due`](Self::flush_due) has something to do; `None` while no line is unfinished.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Passes a warning on to the sink.
    pub(super) fn notice(&mut self, notice: Notice) {
        self.output.sink.notice(notice);
    }

    /// Says how much of a unit's output is kept from now on.
    pub(super) fn limit(&mut self, unit: &UnitId, limits: LoggingPlan) {
        self.output.files.limit(unit, limits);
    }

    /// Says what is looked for in a unit's output from now on.
    pub(super) fn expect(&mut self, unit: &UnitId, expected: Expected) {
        self.output.sink.expect(unit, expected);
    }

    /// Somebody waits for what a unit prints next.
    pub(super) fn hurry(&mut self, unit: &UnitId, now: Instant) {
        for id in self.of_units.get(unit).into_iter().flatten() {
            if let Some(source) = self.sources.get_mut(id) {
                source.hurried_until = Some(now + HURRY);
            }
        }
    }

    /// Removes what some units have logged.
    pub(super) fn clear(&mut self, units: &[UnitId]) -> io::Result<()> {
        self.output.files.clear(units)
    }

    /// Begins to read `fd`, of the service itself (`is_own`) or of a command beside it.
    pub(super) fn register(
        &mut self,
        epoll: &Epoll,
        (fd, is_own): (OwnedFd, bool),
        unit: UnitId,
        stream: LogStream,
        attempt: u32,
    ) -> io::Result<()> {
        let id = self.next_id;
        self.next_id += 1;
        epoll.add(&fd, EpollEvent::new(EpollFlags::EPOLLIN, id))?;
        let capacity = pipe::capacity(&fd).unwrap_or(UNKNOWN_CAPACITY);
        self.of_units.entry(unit.clone()).or_default().push(id);
        let source = Source {
            fd,
            unit,
            stream,
            attempt,
            is_own,
            capacity,
            rest: Vec::new(),
            due: None,
            hurried_until: None,
            continues: false,
        };
        self.sources.insert(id, source);
        Ok(())
    }

    /// Reads from the pipes that have something, a little from each. Level-triggered epoll puts a
    /// pipe that still has something at the end of its queue, so all get their turn.
    pub(super) fn round(&mut self, epoll: &Epoll) -> Round {
        let mut events = [EpollEvent::empty(); PIPES_PER_ROUND];
        let count = match epoll.wait(&mut events, EpollTimeout::ZERO) {
            Ok(count) => count,
            Err(Errno::EINTR) => return Round::Worked,
            // Any other error is one of the arguments, which are constant.
            Err(_) => 0,
        };
        let length = READ_LENGTH.min(ROUND_LENGTH / count.max(1));
        for event in &events[..count] {
            self.read(epoll, event.data(), length);
        }
        if count == 0 {
            Round::Idle
        } else {
            Round::Worked
        }
    }

    /// Puts out the unfinished lines that have waited long enough, but for those whose pipes have more:
    /// where this process had to wait for its turn, the rest of a line is there.
    pub(super) fn flush_due(&mut self, epoll: &Epoll, now: Instant) {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        let is_due = |source: &Source| source.due.is_some_and(|due| due <= now);
        let due = self.sources.iter().filter(|(_, source)| is_due(source));
        for id in due.map(|(id, _)| *id).collect::<Vec<_>>() {
            if let Read::Empty = self.read(epoll, id, READ_LENGTH)
                && let Some(source) = self.sources.get_mut(&id)
            {
                self.output.flush(source);
            }
        }
        self.deadline = self.sources.values().filter_map(|source| source.due).min();
    }

    /// Puts out everything that the attempt's pipes hold, without waiting for more.
    pub(super) fn drain(&mut self, epoll: &Epoll, unit: &UnitId, attempt: u32) -> Drained {
        let mut is_leaky = false;
        for id in self.ids_of(unit) {
            let is_it = |source: &Source| source.attempt == attempt;
            is_leaky |= self.sources.get(&id).is_some_and(is_it) && self.drain_source(epoll, id);
        }
        Drained { is_leaky }
    }

    /// Puts out what the unit's pipes hold, and closes them and its files.
    pub(super) fn close(&mut self, epoll: &Epoll, unit: &UnitId) {
        for id in self.ids_of(unit) {
            self.drain_source(epoll, id);
            self.end(epoll, id);
        }
        self.output.files.close(unit);
    }

    /// Puts out what all pipes hold, and closes them.
    pub(super) fn close_all(&mut self, epoll: &Epoll) {
        for id in self.sources.keys().copied().collect::<Vec<_>>() {
            self.drain_source(epoll, id);
            self.end(epoll, id);
        }
    }

    fn ids_of(&self, unit: &UnitId) -> Vec<u64> {
        self.of_units.get(unit).cloned().unwrap_or_default()
    }

    /// Reads until the pipe is empty, and puts out the rest. Returns whether it is still open.
    fn drain_source(&mut self, epoll: &Epoll, id: u64) -> bool {
        // What the dead process wrote is at most what the pipe can hold. More than that comes from
        // somebody who still writes, and who may never stop.
        let mut budget = self.sources.get(&id).map_or(0, |source| source.capacity);
        loop {
            match self.read(epoll, id, READ_LENGTH) {
                Read::Bytes(length) if length < budget => budget -= length,
                Read::Bytes(_) | Read::Empty => break,
                Read::End => return false,
            }
        }
        if let Some(source) = self.sources.get_mut(&id) {
            self.output.flush(source);
        }
        true
    }

    /// Reads once, at most `most` bytes, and puts out the whole lines that there are.
    fn read(&mut self, epoll: &Epoll, id: u64, most: usize) -> Read {
        let Some(source) = self.sources.get_mut(&id) else {
            return Read::End;
        };
        let length =
            match nix::unistd::read(&source.fd, &mut self.scratch[LINE_CAP..LINE_CAP + most]) {
                Ok(0) => 0,
                Ok(length) => length,
                Err(Errno::EAGAIN | Errno::EINTR) => return Read::Empty,
                // A terminal whose last user has gone answers EIO.
                Err(_) => 0,
            };
        if length == 0 {
            self.end(epoll, id);
            return Read::End;
        }
        let start = LINE_CAP - source.rest.len();
        self.scratch[start..LINE_CAP].copy_from_slice(&source.rest);
        let chunk = &self.scratch[start..LINE_CAP + length];
        let (cut, is_partial) = cut(chunk, source.rest.len());
        if cut > 0 {
            self.output.emit(source, &chunk[..cut], is_partial);
            source.due = None;
            source.rest.clear();
            source.rest.extend_from_slice(&chunk[cut..]);
        } else {
            source.rest.extend_from_slice(&chunk[source.rest.len()..]);
        }
        if source.rest.is_empty() {
            source.rest = Vec::new();
        } else if source.due.is_none() {
            let now = Instant::now();
            let due = now + source.patience(now);
            source.due = Some(due);
            self.deadline = Some(earliest(self.deadline, due));
        }
        Read::Bytes(length)
    }

    fn end(&mut self, epoll: &Epoll, id: u64) {
        if let Some(mut source) = self.sources.remove(&id) {
            if let Entry::Occupied(mut ids) = self.of_units.entry(source.unit.clone()) {
                ids.get_mut().retain(|it| *it != id);
                if ids.get().is_empty() {
                    ids.remove();
                }
            }
            self.output.flush(&mut source);
            // Closing is not enough: a child between fork and exec may hold a copy, and with it
            // the entry in epoll.
            let _ = epoll.delete(&source.fd);
        }
    }
}

/// Where blocks go: the files, and word of them to viewers.
#[derive(Debug)]
struct Output<S> {
    files: LogFiles,
    announcer: Announcer,
    sink: S,
}

impl<S: LogSink> Output<S> {
    /// Puts out the rest of a source.
    fn flush(&mut self, source: &mut Source) {
        source.due = None;
        let rest = std::mem::take(&mut source.rest);
        if !rest.is_empty() {
            self.emit(source, &rest, true);
        }
    }

    /// Writes one block to the file, and announces it.
    fn emit(&mut self, source: &mut Source, bytes: &[u8], is_partial: bool) {
        let info = BlockInfo {
            stream: source.stream,
            attempt: source.attempt,
            time: unix_nanos(),
            is_partial,
            continues: source.continues,
        };
        source.continues = is_partial;
        if source.is_own {
            self.sink
                .look(&source.unit, (info.attempt, info.stream), bytes);
        }
        let appended = self.files.append(&source.unit, info, bytes);
        if appended.kept < bytes.len() {
            let block = LogBlock {
                unit: source.unit.clone(),
                stream: info.stream,
                time: info.time,
                attempt: info.attempt,
                bytes: Bytes::copy_from_slice(&bytes[appended.kept..]),
                continues: info.continues || appended.kept > 0,
            };
            self.announcer.unwritten(appended.end, block);
        } else {
            self.announcer.grown(&source.unit, appended.end);
        }
        if let Some(notice) = appended.notice {
            self.sink.notice(notice);
        }
    }
}

/// How much of `chunk` goes out now, and whether it ends within a line. The first `rest` bytes are
/// known to hold no line end.
fn cut(chunk: &[u8], rest: usize) -> (usize, bool) {
    let whole_lines = memrchr(b'\n', &chunk[rest..]).map_or(0, |at| rest + at + 1);
    if chunk.len() - whole_lines >= LINE_CAP {
        (chunk.len(), true)
    } else {
        (whole_lines, false)
    }
}

fn earliest(deadline: Option<Instant>, other: Instant) -> Instant {
    deadline.map_or(other, |deadline| deadline.min(other))
}

#[cfg(test)]
mod tests;
