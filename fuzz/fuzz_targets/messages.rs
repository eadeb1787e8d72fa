//! Any bytes as messages of the control protocol: what can be read is written so that it is read
//! the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use stack::api::messages::Update;
use stack::run::control::Command;
use stack::run::logs::LogNews;

fn survives<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let Ok(message) = serde_json::from_slice::<T>(bytes) else {
        return;
    };
    let Ok(text) = serde_json::to_vec(&message) else {
        panic!("{message:?} cannot be written")
    };
    assert_eq!(serde_json::from_slice::<T>(&text).ok(), Some(message));
}

fuzz_target!(|bytes: &[u8]| {
    survives::<Command>(bytes);
    survives::<Update>(bytes);
    survives::<LogNews>(bytes);
});
