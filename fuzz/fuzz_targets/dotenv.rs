//! Any bytes as a `.env`: read without a panic; a block comes and goes without the loss of a byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stack::dotenv::{fence, read, user_part};

fuzz_target!(|bytes: &[u8]| {
    read(bytes, |name| (name != "UNSET").then(|| format!("<{name}>")));
    let user = user_part(bytes);
    let entries = [("WEB_PORT".to_owned(), "8000".to_owned())];
    if let Ok(with_block) = fence::render(&user, &entries) {
        assert_eq!(user_part(&with_block.bytes), user);
        if let Ok(without) = fence::render(&with_block.bytes, &[]) {
            assert_eq!(without.bytes, user);
        }
    }
});
