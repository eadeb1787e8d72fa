//! What the tests of this room share.

use std::cell::RefCell;
use std::fs::File;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use tokio::sync::Notify;
use tokio::task::LocalSet;

use super::index::{Index, Record};
use super::segments::{index_path, segments_of};
use super::writer::{BlockInfo, LogFiles};
use super::{Expected, LogSink, Position, Pump, PumpHandle};
use crate::plan::model::LoggingPlan;
use crate::run::news::Notice;
use crate::run::snapshot::LogStream;
use crate::support::name::{ServiceName, UnitId};

/// No limit that a test reaches.
pub(super) const UNLIMITED: LoggingPlan = LoggingPlan {
    max_size: u64::MAX,
    max_file: NonZeroU32::MIN,
};

/// The only replica of a service.
pub(super) fn unit(service: &str) -> UnitId {
    UnitId::first(ServiceName::new(service).unwrap())
}

/// One of several replicas of a service.
pub(super) fn replica(service: &str, replica: u32) -> UnitId {
    UnitId {
        replica,
        ..unit(service)
    }
}

/// All records of the newest index of a service's only replica.
pub(super) fn records(dir: &Path, service: &str) -> Vec<Record> {
    let unit = unit(service);
    let newest = segments_of(dir, &unit).unwrap().newest.unwrap();
    let path = index_path(dir, &unit, newest);
    let mut index = Index::new(File::open(path).unwrap()).unwrap();
    (0..index.count())
        .map(|number| index.get(number).unwrap().unwrap())
        .collect()
}

/// A whole block of standard output of the first attempt.
pub(super) fn info(time: u64) -> BlockInfo {
    BlockInfo {
        stream: LogStream::Stdout,
        attempt: 1,
        time,
        is_partial: false,
        continues: false,
    }
}

/// Bytes that repeat only after a very long time, the same each run.
pub(super) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The log files of a stack, written without a pump.
pub(crate) struct TestLog {
    files: LogFiles,
    time: u64,
}

impl TestLog {
    /// The logs in `dir`, of the run that the fake supervisor of the tests has.
    pub(crate) fn new(dir: PathBuf) -> Self {
        let files = LogFiles::new(dir, 0x0011_2233_aabb_ccdd);
        Self { files, time: 0 }
    }

    /// Appends to the log of a service's only replica; returns where that ends now.
    pub(crate) fn write(&mut self, service: &str, text: &str) -> (UnitId, Position) {
        self.time += 1;
        let unit = unit(service);
        let appended = self.files.append(&unit, info(self.time), text.as_bytes());
        assert_eq!(appended.kept, text.len());
        (unit, appended.end)
    }
}

/// Some output on its way through the pump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SeenBlock {
    pub(crate) unit: UnitId,
    pub(crate) attempt: u32,
    pub(crate) bytes: Vec<u8>,
}

impl SeenBlock {
    pub(crate) fn is_partial(&self) -> bool {
        !self.bytes.ends_with(b"\n")
    }
}

#[derive(Debug, Default)]
struct Seen {
    blocks: RefCell<Vec<SeenBlock>>,
    notices: RefCell<Vec<Notice>>,
    changed: Notify,
}

/// A sink that keeps what it gets.
#[derive(Debug, Clone, Default)]
pub(crate) struct TestSink(Rc<Seen>);

impl TestSink {
    pub(super) fn blocks(&self) -> Vec<SeenBlock> {
        self.0.blocks.borrow().clone()
    }

    pub(super) fn notices(&self) -> Vec<Notice> {
        self.0.notices.borrow().clone()
    }

    /// Waits until the blocks so far satisfy `is_enough`.
    pub(super) async fn wait_for(&self, is_enough: impl Fn(&[SeenBlock]) -> bool) {
        while !is_enough(&self.0.blocks.borrow()) {
            self.0.changed.notified().await;
        }
    }

    /// Waits for this many bytes of `service`.
    pub(super) async fn wait_for_bytes(&self, service: &str, count: usize) {
        self.wait_for(|blocks| {
            let lengths = blocks
                .iter()
                .filter(|block| block.unit.service.as_str() == service)
                .map(|block| block.bytes.len());
            lengths.sum::<usize>() >= count
        })
        .await;
    }
}

impl LogSink for TestSink {
    fn look(&mut self, unit: &UnitId, (attempt, _): (u32, LogStream), bytes: &[u8]) {
        self.0.blocks.borrow_mut().push(SeenBlock {
            unit: unit.clone(),
            attempt,
            bytes: bytes.to_vec(),
        });
        self.0.changed.notify_waiters();
    }

    fn expect(&mut self, _unit: &UnitId, _expected: Expected) {}

    fn notice(&mut self, notice: Notice) {
        self.0.notices.borrow_mut().push(notice);
    }
}

/// Runs `test` beside a pump; the pump has ended, and logged everything, when this returns.
pub(super) async fn with_pump<F, T>(dir: &Path, sink: TestSink, test: F) -> T
where
    F: AsyncFnOnce(PumpHandle) -> T,
{
    let (handle, _, pump) = Pump::new(dir.to_path_buf(), 1, sink).unwrap();
    LocalSet::new()
        .run_until(async {
            let task = tokio::task::spawn_local(pump.run());
            let result = test(handle).await;
            task.await.unwrap();
            result
        })
        .await
}
