//! What it prints.
//!
//! ```text
//! spam BYTES [--stderr]     numbered lines of 100 bytes, as fast as they go, then exits 0
//! long-line BYTES           one line of that length
//! binary BYTES              bytes of every value, the same ones each time
//! half-utf8                 `é` in two writes, then ends after the first half of another
//! lines N EVERY_MS          numbered lines on stdout and stderr by turns, then lives on
//! abort-after-line TEXT     prints TEXT without a line end and aborts
//! tell-tty                  asks a question on the terminal that it does not have
//! ```

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use crate::lives::{live, pass};
use crate::words::Words;
use crate::{Failure, Outcome};

/// How much goes into one write: more than a pipe holds.
const BLOCK: usize = 256 * 1024;

/// The length of a line of `spam`, its end included.
const LINE: usize = 100;

pub(crate) fn run(mode: &str, words: &mut Words) -> Option<Outcome> {
    let printed = match mode {
        "spam" => spam(words),
        "long-line" => long_line(words),
        "binary" => binary(words),
        "half-utf8" => half_utf8(),
        "lines" => lines(words),
        "abort-after-line" => abort_after_line(words),
        "tell-tty" => tell_tty(),
        _ => return None,
    };
    Some(printed.map(|()| ExitCode::SUCCESS))
}

/// How much of `spam` is written at once: so little that the kernel takes all of it or nothing (pipe(7),
/// `PIPE_BUF`), and a reader never finds a part of a line.
const WHOLE: usize = 4000;

fn spam(words: &mut Words) -> Result<(), Failure> {
    let to_stderr = words.flag("--stderr");
    let bytes: usize = words.value("BYTES")?;
    let mut block = Vec::with_capacity(WHOLE);
    for number in 0..bytes.div_ceil(LINE) {
        write!(block, "{number:010} {}", &FILLER[..LINE - 12])?;
        block.push(b'\n');
        if block.len() >= WHOLE {
            print(&block, to_stderr)?;
            block.clear();
        }
    }
    print(&block, to_stderr)
}

/// Prints a line. Whether anybody can still read it must not decide how long a process lives: a
/// deaf service stays deaf when its supervisor is gone and its pipe is broken.
pub(crate) fn say(line: &str) {
    drop(print(format!("{line}\n").as_bytes(), false));
}

/// What fills a line of `spam` after its number.
const FILLER: &str = "the quick brown fox jumps over the lazy dog, again and again, until the pipe \
                      is full of foxes";

fn print(bytes: &[u8], to_stderr: bool) -> Result<(), Failure> {
    if to_stderr {
        io::stderr().write_all(bytes)?;
    } else {
        let mut stdout = io::stdout();
        stdout.write_all(bytes)?;
        stdout.flush()?;
    }
    Ok(())
}

fn long_line(words: &mut Words) -> Result<(), Failure> {
    let bytes: usize = words.value("BYTES")?;
    let block = vec![b'x'; BLOCK];
    let mut left = bytes;
    while left > 0 {
        let part = left.min(BLOCK);
        print(&block[..part], false)?;
        left -= part;
    }
    print(b"\n", false)
}

fn binary(words: &mut Words) -> Result<(), Failure> {
    let bytes: u32 = words.value("BYTES")?;
    // A multiplicative hash of the position: every value occurs, and a test can compute it too.
    let block: Vec<u8> = (0..bytes)
        .map(|position| position.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    print(&block, false)
}

fn half_utf8() -> Result<(), Failure> {
    let [first, second] = [0xc3, 0xa9];
    print(b"caf", false)?;
    print(&[first], false)?;
    // Long enough for a reader to take the first half alone.
    pass(Duration::from_millis(50));
    print(&[second, b'\n'], false)?;
    print(b"caf", false)?;
    print(&[first], false)
}

fn lines(words: &mut Words) -> Result<(), Failure> {
    let count: u32 = words.value("N")?;
    let every = Duration::from_millis(words.value("EVERY_MS")?);
    for number in 1..=count {
        print(format!("line {number}\n").as_bytes(), number % 2 == 0)?;
        pass(every);
    }
    live()
}

fn abort_after_line(words: &mut Words) -> Result<(), Failure> {
    let text = words.text("TEXT")?;
    print(text.as_bytes(), false)?;
    std::process::abort()
}

fn tell_tty() -> Result<(), Failure> {
    let mut terminal = std::fs::OpenOptions::new().write(true).open("/dev/tty")?;
    Ok(terminal.write_all(b"password: ")?)
}
