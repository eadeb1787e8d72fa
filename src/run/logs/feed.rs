//! What viewers are told of output: how far each unit's log has grown, and what no file took.
//!
//! The pump moves positions and viewers read files, so neither ever waits for the other. All that
//! is between them is one state in a watch channel: a slow viewer finds the newest positions, never
//! a backlog. Only output that could not be written (a full disk, a read-only place) is kept here,
//! the newest [`KEPT`] bytes of it; what had to be forgotten is counted for each viewer.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{LogBlock, Position};
use crate::support::name::UnitId;

/// How much unwritten output is kept, in bytes over all units.
const KEPT: usize = 2 * 1024 * 1024;

/// What a kept block costs besides its bytes, roughly.
const OVERHEAD: usize = 128;

/// One line of what a viewer is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "log", rename_all = "snake_case")]
pub enum LogNews {
    /// Everything that was so when the viewer came has been told; what follows is new.
    Current {
        /// Where the log files are.
        log_dir: String,
    },
    /// The log of a unit reaches up to here.
    Grown {
        /// Whose.
        unit: UnitId,
        /// Its end.
        position: Position,
    },
    /// Output that is in no file.
    Unwritten {
        /// Where it belongs: behind what the file has before this place.
        position: Position,
        /// The output.
        block: LogBlock,
    },
    /// Output that is in no file, and that had to be forgotten.
    Lost {
        /// Whose.
        unit: UnitId,
        /// Where it belongs.
        position: Position,
        /// How many bytes.
        bytes: u64,
    },
}

#[derive(Debug, Default)]
struct State {
    /// Counts the changes.
    version: u64,
    units: BTreeMap<UnitId, Told>,
    /// What all kept blocks cost, in bytes.
    cost: usize,
}

/// What there is to tell of one unit.
#[derive(Debug, Default)]
struct Told {
    /// The last change.
    version: u64,
    position: Position,
    /// How many bytes no file took, in this run.
    unwritten: u64,
    /// The last of them.
    kept: VecDeque<Kept>,
    /// What they cost, in bytes.
    cost: usize,
}

#[derive(Debug)]
struct Kept {
    block: LogBlock,
    position: Position,
    /// How many bytes of the unit were unwritten before it.
    before: u64,
}

impl Kept {
    fn cost(&self) -> usize {
        self.block.bytes.len() + OVERHEAD
    }
}

impl State {
    fn change(&mut self, unit: &UnitId, position: Position) -> &mut Told {
        self.version += 1;
        let told = self.units.entry(unit.clone()).or_default();
        told.version = self.version;
        told.position = position;
        told
    }

    fn keep(&mut self, position: Position, block: LogBlock) {
        let told = self.change(&block.unit, position);
        let kept = Kept {
            position,
            before: told.unwritten,
            block,
        };
        let cost = kept.cost();
        told.unwritten += kept.block.bytes.len() as u64;
        told.cost += cost;
        told.kept.push_back(kept);
        self.cost += cost;
        while self.cost > KEPT {
            // Who floods does not push out the last words of the others.
            let largest = self.units.values_mut().max_by_key(|told| told.cost);
            let Some(told) = largest else { break };
            let cost = told.kept.pop_front().map_or(0, |oldest| oldest.cost());
            told.cost -= cost;
            self.cost -= cost;
        }
    }
}

impl Told {
    /// Tells what no file took after the first `seen` bytes of it.
    fn unwritten_since(&self, unit: &UnitId, seen: u64, news: &mut Vec<LogNews>) {
        let lost = |from: u64, until: u64, position| {
            (until > from).then(|| LogNews::Lost {
                unit: unit.clone(),
                position,
                bytes: until - from,
            })
        };
        let mut told = seen;
        for kept in self.kept.iter().filter(|kept| kept.before >= seen) {
            news.extend(lost(told, kept.before, kept.position));
            told = kept.before + kept.block.bytes.len() as u64;
            news.push(LogNews::Unwritten {
                position: kept.position,
                block: kept.block.clone(),
            });
        }
        news.extend(lost(told, self.unwritten, self.position));
    }
}

/// The pump's end.
#[derive(Debug, Default)]
pub(crate) struct Announcer(watch::Sender<State>);

impl Announcer {
    /// The log of a unit reaches up to `position`.
    pub(crate) fn grown(&self, unit: &UnitId, position: Position) {
        self.0.send_modify(|state| {
            state.change(unit, position);
        });
    }

    /// No file took `block`; the log of its unit ends at `position`.
    pub(crate) fn unwritten(&self, position: Position, block: LogBlock) {
        self.0.send_modify(|state| state.keep(position, block));
    }

    /// How many there are who can be told.
    #[cfg(test)]
    pub(crate) fn listeners(&self) -> usize {
        self.0.receiver_count()
    }

    /// The viewers' end.
    pub(crate) fn feed(&self) -> LogFeed {
        LogFeed(self.0.subscribe())
    }
}

/// Where viewers learn of output. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LogFeed(watch::Receiver<State>);

impl LogFeed {
    /// A viewer, who is told everything that is so now, and then what changes.
    pub fn viewer(&self) -> Viewer {
        Viewer {
            state: self.0.clone(),
            version: 0,
            seen: BTreeMap::new(),
        }
    }

    /// A feed of a stack that prints nothing.
    #[cfg(test)]
    pub(crate) fn silent() -> Self {
        Self(watch::channel(State::default()).1)
    }
}

/// One viewer's place in the feed.
#[derive(Debug)]
pub struct Viewer {
    state: watch::Receiver<State>,
    /// The last change that was told.
    version: u64,
    /// How many unwritten bytes of each unit were told.
    seen: BTreeMap<UnitId, u64>,
}

impl Viewer {
    /// Waits for something to tell; `false` once the pump has ended and everything was told.
    pub async fn changed(&mut self) -> bool {
        self.state.changed().await.is_ok()
    }

    /// What has changed since the last time. Of each unit what is unwritten comes before a position
    /// behind it.
    pub fn news(&mut self) -> Vec<LogNews> {
        let mut news = Vec::new();
        let state = self.state.borrow_and_update();
        let units = state.units.iter();
        for (unit, told) in units.filter(|(_, told)| told.version > self.version) {
            if told.unwritten > 0 {
                let seen = self.seen.insert(unit.clone(), told.unwritten);
                told.unwritten_since(unit, seen.unwrap_or(0), &mut news);
            }
            news.push(LogNews::Grown {
                unit: unit.clone(),
                position: told.position,
            });
        }
        self.version = state.version;
        news
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::run::logs::testing::unit;
    use crate::run::snapshot::LogStream;

    fn block(service: &str, bytes: impl Into<bytes::Bytes>) -> LogBlock {
        LogBlock {
            unit: unit(service),
            stream: LogStream::Stdout,
            time: 1,
            attempt: 1,
            bytes: bytes.into(),
            continues: false,
        }
    }

    fn grown(service: &str, offset: u64) -> LogNews {
        LogNews::Grown {
            unit: unit(service),
            position: Position::at(offset),
        }
    }

    fn unwritten(offset: u64, block: LogBlock) -> LogNews {
        let position = Position::at(offset);
        LogNews::Unwritten { position, block }
    }

    #[tokio::test]
    async fn a_slow_viewer_finds_the_newest_positions_and_no_backlog() {
        let announcer = Announcer::default();
        let mut viewer = announcer.feed().viewer();
        for offset in 1..1_000 {
            announcer.grown(&unit("web"), Position::at(offset));
            announcer.grown(&unit("api"), Position::at(2 * offset));
        }
        assert!(viewer.changed().await);
        let everything = [grown("api", 1_998), grown("web", 999)];
        assert_eq!(viewer.news(), everything);
        announcer.grown(&unit("api"), Position::at(2_000));
        announcer.grown(&unit("web"), Position::at(1_000));
        assert!(viewer.changed().await);
        assert_eq!(viewer.news(), [grown("api", 2_000), grown("web", 1_000)]);
        assert_eq!(viewer.news(), []);
        assert_eq!(announcer.feed().viewer().news().len(), 2);
        drop(announcer);
        assert!(!viewer.changed().await);
    }

    #[test]
    fn what_no_file_took_is_told_at_its_place_once() {
        let announcer = Announcer::default();
        let mut viewer = announcer.feed().viewer();
        let blocks = [
            block("web", "one\n"),
            block("web", "two\n"),
            block("web", "three\n"),
        ];
        announcer.grown(&unit("web"), Position::at(10));
        announcer.unwritten(Position::at(10), blocks[0].clone());
        let told = [unwritten(10, blocks[0].clone()), grown("web", 10)];
        assert_eq!(viewer.news(), told);
        announcer.unwritten(Position::at(10), blocks[1].clone());
        announcer.grown(&unit("web"), Position::at(15));
        announcer.unwritten(Position::at(15), blocks[2].clone());
        let told = [
            unwritten(10, blocks[1].clone()),
            unwritten(15, blocks[2].clone()),
            grown("web", 15),
        ];
        assert_eq!(viewer.news(), told);
        let late = announcer.feed().viewer().news();
        assert_eq!(late[0], unwritten(10, blocks[0].clone()));
        assert_eq!(late[1..], told);
    }

    #[test]
    fn what_is_forgotten_is_counted_and_only_who_floods_loses() {
        let announcer = Announcer::default();
        let mut early = announcer.feed().viewer();
        announcer.unwritten(Position::at(0), block("quiet", "last words\n"));
        let piece = vec![b'x'; 64 * 1024];
        announcer.unwritten(Position::at(0), block("loud", piece.clone()));
        early.news();
        for _ in 0..100 {
            announcer.unwritten(Position::at(0), block("loud", piece.clone()));
        }
        for (viewer, seen) in [(&mut early, 1), (&mut announcer.feed().viewer(), 0)] {
            let mut bytes: BTreeMap<&str, u64> = BTreeMap::new();
            for news in viewer.news() {
                match news {
                    LogNews::Unwritten { block, .. } => {
                        let key = if block.unit == unit("loud") {
                            "shown"
                        } else {
                            "quiet"
                        };
                        *bytes.entry(key).or_default() += block.bytes.len() as u64;
                    }
                    LogNews::Lost {
                        bytes: lost,
                        unit: of,
                        ..
                    } => {
                        assert_eq!(of, unit("loud"));
                        *bytes.entry("lost").or_default() += lost;
                    }
                    LogNews::Grown { .. } | LogNews::Current { .. } => {}
                }
            }
            let all = (101 - seen) * piece.len() as u64;
            assert_eq!(bytes["shown"] + bytes["lost"], all);
            assert!(bytes["shown"] > KEPT as u64 / 2 && bytes["shown"] <= KEPT as u64);
            assert_eq!(bytes.get("quiet").copied(), (seen == 0).then_some(11));
        }
    }

    #[test]
    fn any_bytes_survive_the_wire() {
        let all: Vec<u8> = (0..=255).collect();
        let told = unwritten(3, block("web", all));
        let text = serde_json::to_string(&told).unwrap();
        assert_eq!(serde_json::from_str::<LogNews>(&text).unwrap(), told);
        assert!(
            serde_json::to_string(&unwritten(0, block("web", "hello")))
                .unwrap()
                .contains("hello")
        );
    }
}
