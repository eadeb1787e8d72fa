//! How output travels: `GET /v1/logs` is a row of frames.
//!
//! A frame is one line of JSON (the header), and after the header of a block exactly `length` bytes
//! of output and one line feed, which is no part of the output. Bytes stay bytes: no escaping, no
//! base64, and a person can still read the stream.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::run::logs::LogBlock;
use crate::run::snapshot::LogStream;
use crate::support::name::{ServiceName, UnitId};

/// The longest header line that a reader accepts, in bytes.
pub const MAX_HEADER: usize = 64 * 1024;

/// The longest payload that a reader accepts, in bytes.
pub const MAX_PAYLOAD: usize = 64 * 1024 * 1024;

/// The first line of a frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "frame", rename_all = "snake_case")]
pub enum Header {
    /// The first frame: from here on nothing is missed that is not counted.
    Start {
        /// Where the log files are, for what was printed before.
        log_dir: std::path::PathBuf,
    },
    /// A block of output; the payload follows.
    Block {
        /// Whose output it is.
        service: ServiceName,
        /// Which of its replicas, from 1; the first where nothing is said.
        #[serde(default = "first")]
        replica: u32,
        /// Which of the two streams.
        stream: LogStream,
        /// When it was read, in nanoseconds since the Unix epoch.
        time: u64,
        /// Which attempt printed it, from 1.
        attempt: u32,
        /// Where the block begins in the unit's log file.
        offset: u64,
        /// Whether the last line has no end yet.
        is_partial: bool,
        /// How many bytes follow.
        length: usize,
    },
    /// The client was too slow for this many blocks, over all services; the files have them.
    Lagged {
        /// How many.
        missed: u64,
    },
}

/// The replica of a block of before replicas.
fn first() -> u32 {
    1
}

/// A frame as the reader hands it on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// See [`Header::Start`].
    Start {
        /// Where the log files are.
        log_dir: std::path::PathBuf,
    },
    /// A block of output.
    Block(LogBlock),
    /// See [`Header::Lagged`].
    Lagged {
        /// How many.
        missed: u64,
    },
}

impl Header {
    /// The frame without a payload.
    fn line(&self) -> BytesMut {
        let mut buffer = BytesMut::with_capacity(192);
        // Numbers and texts cannot fail to be written as JSON; a path that is no UTF-8 can.
        if serde_json::to_writer((&mut buffer).writer(), self).is_err() {
            buffer.clear();
        }
        buffer.put_u8(b'\n');
        buffer
    }
}

/// The first frame of a stream.
pub(crate) fn encode_start(log_dir: &std::path::Path) -> Bytes {
    // A directory that is no UTF-8 cannot be said in JSON; its readers know it without us.
    let log_dir = log_dir.to_string_lossy().into_owned().into();
    Header::Start { log_dir }.line().freeze()
}

/// A block as a frame.
pub(crate) fn encode_block(block: &LogBlock) -> Bytes {
    let header = Header::Block {
        service: block.unit.service.clone(),
        replica: block.unit.replica,
        stream: block.stream,
        time: block.time,
        attempt: block.attempt,
        offset: block.offset,
        is_partial: block.is_partial,
        length: block.bytes.len(),
    };
    let mut buffer = header.line();
    buffer.reserve(block.bytes.len() + 1);
    buffer.put_slice(&block.bytes);
    buffer.put_u8(b'\n');
    buffer.freeze()
}

/// What a slow client missed, as a frame.
pub(crate) fn encode_lagged(missed: u64) -> Bytes {
    Header::Lagged { missed }.line().freeze()
}

/// Why bytes are no frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The line is no header.
    #[error("a frame's header cannot be read")]
    Header(#[from] serde_json::Error),
    /// A header line or a payload over the limit.
    #[error("a frame of {0} bytes is over the limit")]
    TooLong(usize),
    /// Something else than a line feed after the payload.
    #[error("a frame is not closed by a line feed")]
    Unclosed,
}

/// Takes the first whole frame off `buffer`; `None` while there is none.
pub fn decode(buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
    let Some(end) = buffer.iter().position(|&byte| byte == b'\n') else {
        return match buffer.len() {
            0..=MAX_HEADER => Ok(None),
            length => Err(FrameError::TooLong(length)),
        };
    };
    match serde_json::from_slice(&buffer[..end])? {
        Header::Start { log_dir } => {
            drop(buffer.split_to(end + 1));
            Ok(Some(Frame::Start { log_dir }))
        }
        Header::Lagged { missed } => {
            drop(buffer.split_to(end + 1));
            Ok(Some(Frame::Lagged { missed }))
        }
        Header::Block {
            service,
            replica,
            stream,
            time,
            attempt,
            offset,
            is_partial,
            length,
        } => {
            if length > MAX_PAYLOAD {
                return Err(FrameError::TooLong(length));
            }
            let total = end + 1 + length + 1;
            if buffer.len() < total {
                buffer.reserve(total - buffer.len());
                return Ok(None);
            }
            let mut frame = buffer.split_to(total);
            if frame.last() != Some(&b'\n') {
                return Err(FrameError::Unclosed);
            }
            frame.truncate(total - 1);
            let bytes = frame.split_off(end + 1).freeze();
            Ok(Some(Frame::Block(LogBlock {
                unit: UnitId { service, replica },
                stream,
                time,
                attempt,
                offset,
                bytes,
                is_partial,
            })))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn blocks() -> impl Strategy<Value = LogBlock> {
        (
            ("[a-z0-9][a-z0-9_.-]{0,20}", 1_u32..),
            any::<bool>(),
            any::<u64>(),
            any::<u32>(),
            any::<u64>(),
            any::<bool>(),
            proptest::collection::vec(any::<u8>(), 0..300),
        )
            .prop_map(
                |((name, replica), is_stdout, time, attempt, offset, is_partial, bytes)| LogBlock {
                    unit: UnitId {
                        service: ServiceName::new(&name).unwrap(),
                        replica,
                    },
                    stream: if is_stdout {
                        LogStream::Stdout
                    } else {
                        LogStream::Stderr
                    },
                    time,
                    attempt,
                    offset,
                    bytes: bytes.into(),
                    is_partial,
                },
            )
    }

    proptest! {
        #[test]
        fn frames_survive_any_cutting(
            blocks in proptest::collection::vec(blocks(), 0..6),
            cut in 1usize..64,
        ) {
            let mut wire = encode_start(std::path::Path::new("/p/logs")).to_vec();
            for block in &blocks {
                wire.extend_from_slice(&encode_block(block));
            }
            wire.extend_from_slice(&encode_lagged(7));
            let mut buffer = BytesMut::new();
            let mut frames = Vec::new();
            for piece in wire.chunks(cut) {
                buffer.extend_from_slice(piece);
                while let Some(frame) = decode(&mut buffer).unwrap() {
                    frames.push(frame);
                }
            }
            prop_assert!(buffer.is_empty());
            prop_assert_eq!(frames.remove(0), Frame::Start { log_dir: "/p/logs".into() });
            prop_assert_eq!(frames.pop(), Some(Frame::Lagged { missed: 7 }));
            let blocks: Vec<_> = blocks.into_iter().map(Frame::Block).collect();
            prop_assert_eq!(frames, blocks);
        }

        #[test]
        fn garbage_is_an_error_or_a_wait_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = decode(&mut buffer) {}
        }
    }

    #[test]
    fn a_block_of_before_replicas_is_of_the_first() {
        let wire = concat!(
            r#"{"frame":"block","service":"web","stream":"stderr","time":5,"attempt":2,"#,
            r#""offset":40,"is_partial":false,"length":6}"#,
            "\nhello\n\n",
        );
        let block = LogBlock {
            unit: UnitId::first(ServiceName::new("web").unwrap()),
            stream: LogStream::Stderr,
            time: 5,
            attempt: 2,
            offset: 40,
            bytes: "hello\n".into(),
            is_partial: false,
        };
        let frame = decode(&mut BytesMut::from(wire)).unwrap();
        assert_eq!(frame, Some(Frame::Block(block)));
    }

    #[test]
    fn a_header_without_end_is_refused() {
        let mut buffer = BytesMut::from(&vec![b'x'; MAX_HEADER + 1][..]);
        assert!(matches!(decode(&mut buffer), Err(FrameError::TooLong(_))));
    }
}
