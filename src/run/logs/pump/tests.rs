use super::*;

use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;

use tokio::task::LocalSet;

use super::super::{Flow, LogBlock, pipe_pair};
use crate::run::snapshot::LogStream;
use crate::support::name::ServiceName;

/// What a [`TestSink`] saw, and what it is to do.
#[derive(Debug, Default)]
struct Seen {
    blocks: Vec<LogBlock>,
    notices: Vec<Notice>,
}

#[derive(Debug, Clone, Default)]
struct TestSink {
    seen: Rc<RefCell<Seen>>,
}

impl LogSink for TestSink {
    fn wants(&self, _service: &ServiceName) -> bool {
        true
    }

    fn send(&mut self, block: LogBlock) -> Flow {
        self.seen.borrow_mut().blocks.push(block);
        Flow::Room
    }

    async fn room(&mut self) {}

    fn notice(&mut self, notice: Notice) {
        self.seen.borrow_mut().notices.push(notice);
    }
}

#[tokio::test]
async fn what_is_printed_is_in_the_file_after_a_drain() {
    let directory = tempfile::tempdir().unwrap();
    let sink = TestSink::default();
    let (handle, pump) = Pump::new(directory.path().into(), 1, sink.clone()).unwrap();
    LocalSet::new()
        .run_until(async {
            let task = tokio::task::spawn_local(pump.run());
            let api = ServiceName::new("api").unwrap();
            let (read_end, write_end) = pipe_pair(1).unwrap();
            handle.register(read_end, api.clone(), LogStream::Stdout, 1);
            std::fs::File::from(write_end)
                .write_all(b"one\ntwo\nthr")
                .unwrap();
            assert!(!handle.drain(api.clone(), 1).await.is_leaky);
            let log = fs_err::read(directory.path().join("api.log")).unwrap();
            assert_eq!(log, b"one\ntwo\nthr");
            drop(handle);
            task.await.unwrap();
        })
        .await;
    let seen = sink.seen.borrow();
    assert_eq!(seen.blocks.len(), 2);
    assert!(seen.blocks[1].is_partial);
}
