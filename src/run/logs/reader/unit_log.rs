//! One unit's log: its segments, of which one at a time is open, as one row of pieces.

use std::io;
use std::path::{Path, PathBuf};

use super::super::grep::Pattern;
use super::super::index::Record;
use super::super::segments::{index_path, log_path, segments_of};
use super::segment::{Place, Segment};
use crate::support::name::UnitId;

/// One unit's log.
#[derive(Debug)]
pub(super) struct UnitLog {
    dir: PathBuf,
    unit: UnitId,
    /// Whether its files must stay until they have been read.
    keeps: bool,
    /// Where the segments begin that are known, oldest first.
    bases: Vec<u64>,
    open: Option<Segment>,
    /// Whether the open segment may still grow, or be followed by one that begins at its end.
    is_alive: bool,
    /// How many bytes were logged up to the end of the last piece that was seen.
    seen: u64,
    /// How many bytes were gone between segments that were read.
    lost: u64,
}

impl UnitLog {
    /// The log of a unit that has these segments.
    pub(super) fn new(dir: &Path, unit: &UnitId, bases: Vec<u64>, keeps: bool) -> Self {
        Self {
            dir: dir.to_path_buf(),
            unit: unit.clone(),
            keeps,
            bases,
            open: None,
            is_alive: true,
            seen: 0,
            lost: 0,
        }
    }

    /// The log of a unit that had none before, if it has one by now.
    pub(super) fn find(dir: &Path, unit: &UnitId, keeps: bool) -> io::Result<Option<Self>> {
        // Without a look at the whole directory, which has files of a thousand others. Most units that
        // are asked about have printed nothing, so the first question settles it.
        let bases = if !log_path(dir, unit).exists() {
            Vec::new()
        } else if index_path(dir, unit, 0).exists() {
            vec![0]
        } else {
            segments_of(dir, unit)?.bases()
        };
        let is_there = !bases.is_empty();
        Ok(is_there.then(|| Self::new(dir, unit, bases, keeps)))
    }

    /// Where its oldest segment begins.
    pub(super) fn start(&self) -> Place {
        Place::record(self.bases.first().copied().unwrap_or(0), 0)
    }

    /// Takes everything before a place for seen.
    pub(super) fn begin_at(&mut self, place: Place) -> io::Result<()> {
        if let Some(segment) = self.at(place.base)? {
            self.seen = match segment.piece(place)? {
                Some(piece) => piece.offset,
                None => segment.end()?,
            };
        }
        Ok(())
    }

    /// The place behind everything that is there, and how many bytes were logged up to it.
    pub(super) fn end(&mut self) -> io::Result<(Place, u64)> {
        while let Some(&base) = self.bases.last() {
            if let Some(segment) = self.at(base)? {
                return Ok((Place::record(base, segment.count()), segment.end()?));
            }
        }
        Ok((Place::default(), 0))
    }

    /// The first place that is not before something, given that all that are come first.
    pub(super) fn first_not(&mut self, is_before: impl Fn(&Record) -> bool) -> io::Result<Place> {
        let bases = self.bases.clone();
        let (mut low, mut high) = (0, bases.len());
        while low < high {
            let middle = low + (high - low) / 2;
            // Only the oldest are removed.
            let is_low = match self.at(bases[middle])? {
                Some(segment) => segment.get(0)?.is_some_and(|first| is_before(&first)),
                None => true,
            };
            (low, high) = if is_low {
                (middle + 1, high)
            } else {
                (low, middle)
            };
        }
        let Some(&base) = bases.get(low.saturating_sub(1)) else {
            return Ok(Place::default());
        };
        Ok(match self.at(base)? {
            Some(segment) => Place::record(base, segment.first_not(is_before)?),
            None => self.start(),
        })
    }

    /// Looks what has been added to the open segment.
    pub(super) fn refresh(&mut self) -> io::Result<()> {
        if let Some(segment) = &mut self.open {
            self.is_alive = segment.refresh(&self.dir, &self.unit)?;
        }
        Ok(())
    }

    /// The first piece at or after a place; `None` where there is nothing yet.
    pub(super) fn settle(&mut self, mut place: Place) -> io::Result<Option<Place>> {
        loop {
            let end = match self.at(place.base)? {
                Some(segment) if place.record < segment.count() => return Ok(Some(place)),
                // Somebody may have emptied it.
                Some(segment) => segment.end()?.max(self.seen),
                None => {
                    self.is_alive = false;
                    place.base.max(self.seen)
                }
            };
            let Some(next) = self.follow(place.base, end)? else {
                return Ok(None);
            };
            self.lost += next.saturating_sub(end);
            place = Place::record(next, 0);
        }
    }

    /// Opens the segment after the one that begins at `base` and ends at `end`, or the first later one
    /// that is left; where it begins.
    fn follow(&mut self, base: u64, end: u64) -> io::Result<Option<u64>> {
        // Its name says where the one before it ends.
        let is_known = self.bases.contains(&end);
        if end > base && (is_known || index_path(&self.dir, &self.unit, end).exists()) {
            if !is_known {
                self.bases.push(end);
                self.bases.sort_unstable();
            }
            if self.at(end)?.is_some() {
                return Ok(Some(end));
            }
        }
        let is_later = |next: &u64| *next > base;
        let mut has_listed = false;
        loop {
            while let Some(next) = self.bases.iter().copied().find(is_later) {
                if self.at(next)?.is_some() {
                    return Ok(Some(next));
                }
                // The oldest are removed first, so this one has been finished as well.
                self.is_alive = false;
            }
            if self.is_alive || has_listed {
                return Ok(None);
            }
            self.bases = segments_of(&self.dir, &self.unit)?.bases();
            has_listed = true;
        }
    }

    /// How many bytes were gone between what was read since the last time.
    pub(super) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// The piece at `place`, as a record of its own, with its place in all that was logged; `None` past
    /// the end of the segment.
    pub(super) fn piece(&mut self, place: Place) -> io::Result<Option<Record>> {
        let piece = match self.at(place.base)? {
            Some(segment) => segment.piece(place)?,
            None => None,
        };
        self.seen = self.seen.max(piece.map_or(0, |piece| piece.end()));
        Ok(piece)
    }

    /// The place after this one, perhaps at the end of the segment.
    pub(super) fn after(&mut self, place: Place) -> io::Result<Place> {
        let pieces = match self.at(place.base)? {
            Some(segment) => segment.pieces(place.record)?,
            None => 0,
        };
        let piece = place.piece + 1;
        Ok(if piece < pieces {
            Place { piece, ..place }
        } else {
            Place::record(place.base, place.record + 1)
        })
    }

    /// The piece before this one; `None` at the record `start`.
    pub(super) fn before(&mut self, place: Place, start: Place) -> io::Result<Option<Place>> {
        if let Some(piece) = place.piece.checked_sub(1) {
            return Ok(Some(Place { piece, ..place }));
        }
        let mut before = place;
        while before.record == 0 {
            let older = |base: &&u64| **base < before.base;
            let Some(&base) = self.bases.iter().rev().find(older) else {
                return Ok(None);
            };
            let count = self.at(base)?.map_or(0, |segment| segment.count());
            before = Place::record(base, count);
        }
        before.record -= 1;
        if before < Place::record(start.base, start.record) {
            return Ok(None);
        }
        if let Some(segment) = self.at(before.base)? {
            before.piece = segment.pieces(before.record)? - 1;
        }
        Ok(Some(before))
    }

    /// The first place from this one on, which was settled, of which more is to be said than that it does not match.
    pub(super) fn pass_over(&mut self, place: Place, pattern: &Pattern) -> io::Result<Place> {
        let Some(segment) = self.at(place.base)?.filter(|_| place.piece == 0) else {
            return Ok(place);
        };
        let (record, end) = segment.pass_over(place.record, pattern)?;
        self.seen = self.seen.max(end);
        Ok(Place::record(place.base, record.max(place.record)))
    }

    /// The bytes of a piece that was just looked up, from its byte `skip` on.
    pub(super) fn read(&self, piece: &Record, skip: usize) -> io::Result<Vec<u8>> {
        match &self.open {
            Some(segment) => segment.read(piece, skip),
            None => Ok(Vec::new()),
        }
    }

    /// The segment that begins at `base`; `None` where it is gone. One that is locked is let go of only
    /// when the other one is.
    fn at(&mut self, base: u64) -> io::Result<Option<&mut Segment>> {
        if self.open.as_ref().is_none_or(|open| open.base() != base) {
            let Some(other) = Segment::open(&self.dir, &self.unit, base, self.keeps)? else {
                self.bases.retain(|known| *known != base);
                return Ok(None);
            };
            self.open = Some(other);
            self.is_alive = true;
        }
        Ok(self.open.as_mut())
    }
}
