//! Any bytes as frames of the control protocol, in one piece and in two: the same frames.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use stack::api::frame::{Frame, decode};

/// All frames until one is incomplete, and whether something was wrong.
fn frames(buffer: &mut BytesMut, found: &mut Vec<Frame>) -> bool {
    loop {
        match decode(buffer) {
            Ok(Some(frame)) => found.push(frame),
            Ok(None) => return false,
            Err(_) => return true,
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut whole = Vec::new();
    let mut buffer = BytesMut::from(bytes);
    let is_wrong = frames(&mut buffer, &mut whole);
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let mut parts = Vec::new();
    let mut buffer = BytesMut::from(first);
    let was_wrong = frames(&mut buffer, &mut parts);
    buffer.extend_from_slice(second);
    if !was_wrong {
        assert_eq!(frames(&mut buffer, &mut parts), is_wrong);
        assert_eq!(parts, whole);
    }
});
