//! How long it takes to find something in large logs: by the index, and with a pattern against `grep`.
//!
//! One segment is logged by the real pump; the others are links to its log, each with an index of its own
//! a minute later, so that ten gigabytes cost ten megabytes. What is timed is the whole command.
//!
//! `cargo bench --bench logs_read [-- SEGMENTS [ROUNDS]]`

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::error::Error;
use std::io::Write;
use std::num::NonZeroU32;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fs_err as fs;
use stack::plan::model::LoggingPlan;
use stack::run::logs::{Expected, LogSink, Pump, pipe_pair};
use stack::run::news::Notice;
use stack::run::snapshot::LogStream;
use stack::support::clock::unix_nanos;
use stack::support::name::{ServiceName, UnitId};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The bytes of a record of an index.
const RECORD: usize = 48;

/// The segments that are searched with a pattern: 1 GB.
const SEARCHED: usize = 100;

/// Looks at nothing.
struct Blind;

impl LogSink for Blind {
    fn expect(&mut self, _unit: &UnitId, _expected: Expected) {}

    fn look(&mut self, _unit: &UnitId, _of: (u32, LogStream), _bytes: &[u8]) {}

    fn notice(&mut self, notice: Notice) {
        println!("{:?}", notice.news);
    }
}

/// Ten megabytes of lines, one in a thousand of which says `needle`.
fn log_one_segment(dir: &Path) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let limits = LoggingPlan {
        max_size: u64::MAX,
        max_file: NonZeroU32::MIN,
    };
    runtime.block_on(async {
        let (handle, _, pump) = Pump::new(dir.to_path_buf(), 1, Blind)?;
        let (read_end, write_end) = pipe_pair(1)?;
        let unit = UnitId::first(ServiceName::new("web")?);
        handle.register(read_end, unit, LogStream::Stdout, 1, limits);
        std::thread::spawn(move || {
            let mut out = std::io::BufWriter::new(std::fs::File::from(write_end));
            for number in 0..104_857 {
                let word = if number % 1_000 == 0 { "needle" } else { "simple" };
                // A pump that has gone is told by what is missing below.
                let _ = writeln!(
                    out,
                    "{number:010} a {word} line of about the usual length, which says something of the \
                     work that is done"
                );
            }
            drop((out, handle));
        });
        pump.run().await;
        Outcome::Ok(())
    })
}

/// Gives each line a record of its own, as has what is flushed line by line.
fn split(dir: &Path) -> Outcome<()> {
    let (log, index) = (fs::read(dir.join("web.log"))?, dir.join("web.idx.0"));
    let mut record = fs::read(&index)?;
    record.truncate(RECORD);
    let (mut records, mut offset) = (Vec::new(), 0);
    for line in log.split_inclusive(|&byte| byte == b'\n') {
        let length = line.len() as u64;
        record[8..16].copy_from_slice(&u64::to_le_bytes(offset));
        record[16..24].copy_from_slice(&length.to_le_bytes());
        records.extend_from_slice(&record);
        offset += length;
    }
    fs::write(index, records)?;
    Ok(())
}

/// Makes a history of that many segments of the one that is there.
fn multiply(dir: &Path, segments: usize) -> Outcome<()> {
    let (log, index) = (dir.join("web.log"), fs::read(dir.join("web.idx.0"))?);
    let length = fs::metadata(&log)?.len();
    let now = unix_nanos();
    for number in 0..segments as u64 {
        let base = number * length;
        let minutes_ago = segments as u64 - number - 1;
        let time = now - minutes_ago * 60_000_000_000;
        let mut records = index.clone();
        for record in records.chunks_exact_mut(RECORD) {
            record[..8].copy_from_slice(&time.to_le_bytes());
        }
        fs::write(dir.join(format!("web.idx.{base}")), records)?;
        if minutes_ago > 0 {
            fs::hard_link(&log, dir.join(format!("web.log.{base}")))?;
        }
    }
    Ok(())
}

/// The least time of some runs of a command, and how many lines it prints. They are read: `grep` stops
/// at the first one where they go nowhere.
fn timed(rounds: usize, command: &mut Command) -> Outcome<(Duration, usize)> {
    let (mut least, mut lines) = (Duration::MAX, 0);
    for _ in 0..rounds {
        let start = Instant::now();
        let output = command.stderr(Stdio::inherit()).output()?;
        least = least.min(start.elapsed());
        lines = memchr::memchr_iter(b'\n', &output.stdout).count();
    }
    Ok((least, lines))
}

fn main() -> Outcome<()> {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse::<usize>().ok());
    let segments = numbers.next().unwrap_or(1_000);
    let rounds = numbers.next().unwrap_or(9);
    let project = tempfile::tempdir_in("/dev/shm")?;
    fs::write(
        project.path().join("stack.yaml"),
        "name: bench\nservices: { web: { command: 'true' } }\n",
    )?;
    let dir = project.path().join(".stack/bench/logs");
    let stack = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stack"));
        command.args(["logs", "--no-log-prefix"]).args(arguments);
        command.current_dir(project.path());
        command
    };
    let patterns = || {
        vec![
            vec!["--grep", "needle"],
            vec!["--grep", "n[a-e]{2}dle line"],
        ]
    };
    for (count, is_split, searches) in [
        (
            segments,
            false,
            vec![
                vec!["-n", "100"],
                vec!["--since", "5m", "-n", "100"],
                vec!["--since", "5m"],
            ],
        ),
        (SEARCHED, false, [patterns(), vec![vec![]]].concat()),
        (SEARCHED, true, patterns()),
    ] {
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        log_one_segment(&dir)?;
        if is_split {
            split(&dir)?;
        }
        multiply(&dir, count)?;
        let blocks = if is_split { ", each line a block" } else { "" };
        println!("{count} segments of 10 MB{blocks}:");
        for arguments in searches {
            let (time, lines) = timed(rounds, &mut stack(&arguments))?;
            println!(
                "{:>8.1} ms  {lines:>9} lines  stack logs {}",
                time.as_secs_f64() * 1e3,
                arguments.join(" ")
            );
            if let ["--grep", pattern] = arguments[..] {
                let mut grep = Command::new("sh");
                let files = dir.join("web.log*");
                grep.args(["-c", &format!("grep -hE '{pattern}' {}", files.display())]);
                let (plain, lines) = timed(rounds, &mut grep)?;
                let ratio = time.as_secs_f64() / plain.as_secs_f64();
                println!(
                    "{:>8.1} ms  {lines:>9} lines  grep -hE, x{ratio:.2}",
                    plain.as_secs_f64() * 1e3
                );
            }
        }
    }
    Ok(())
}
