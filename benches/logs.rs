//! The log path against the least that anybody has to do: read a pipe, write a file.
//!
//! Threads write lines into pipes as fast as they can; the pump and a bare loop take turns at
//! putting them into files on a tmpfs. Printed are MB/s, CPU time a MB of the reading thread alone,
//! and the ratio of the two in the same run, since a busy machine changes both alike.
//!
//! `cargo bench --bench logs [-- MEGABYTES [ROUNDS]]`

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{UsageWho, getrusage};
use stack::plan::model::LoggingPlan;
use stack::run::logs::{
    Expected, Followed, LogFeed, LogReader, LogSink, Pump, Start, Wanted, pipe_pair,
};
use stack::run::news::Notice;
use stack::run::snapshot::LogStream;
use stack::support::name::{ServiceName, UnitId};

type Outcome<T> = Result<T, Box<dyn Error>>;

const READ_LENGTH: usize = 64 * 1024;

/// Looks at nothing.
struct Blind;

impl LogSink for Blind {
    fn expect(&mut self, _unit: &UnitId, _expected: Expected) {}

    fn look(&mut self, _unit: &UnitId, _of: (u32, LogStream), _bytes: &[u8]) {}

    fn notice(&mut self, notice: Notice) {
        println!("{:?}", notice.news);
    }
}

/// Reads everything that the feed tells of, on a thread of its own; returns how many bytes.
fn follow(dir: &Path, feed: &LogFeed) -> JoinHandle<std::io::Result<u64>> {
    let mut viewer = feed.viewer();
    let dir = dir.to_path_buf();
    std::thread::spawn(move || {
        let mut reader = LogReader::open(dir, &Wanted::default(), Start::Run(1), Some(Vec::new()))?;
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let mut bytes = 0;
        loop {
            let is_open = runtime.block_on(viewer.changed());
            for news in viewer.news() {
                reader.hear(news)?;
            }
            while let Some(piece) = reader.next_piece()? {
                match piece {
                    Followed::Block(block) => bytes += block.bytes.len() as u64,
                    Followed::Lost { .. } => {}
                }
            }
            if !is_open {
                return Ok(bytes);
            }
        }
    })
}

/// What one pass cost.
#[derive(Clone, Copy)]
struct Cost {
    wall: Duration,
    cpu: Duration,
}

impl Cost {
    fn rate(self, megabytes: f64) -> f64 {
        megabytes / self.wall.as_secs_f64()
    }

    fn cpu_per_megabyte(self, megabytes: f64) -> f64 {
        self.cpu.as_secs_f64() * 1_000.0 / megabytes
    }
}

/// The CPU time of this thread.
fn cpu_time() -> Outcome<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD)?;
    let micros = |time: nix::sys::time::TimeVal| {
        u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or(0)
    };
    Ok(Duration::from_micros(
        micros(usage.user_time()) + micros(usage.system_time()),
    ))
}

fn timed(work: impl FnOnce() -> Outcome<()>) -> Outcome<Cost> {
    let cpu = cpu_time()?;
    let start = Instant::now();
    work()?;
    Ok(Cost {
        wall: start.elapsed(),
        cpu: cpu_time()?.saturating_sub(cpu),
    })
}

/// Writes `bytes` bytes of lines of 1 to 160 bytes, 16 KiB a write, as a buffered program does.
fn flood(pipe: OwnedFd, bytes: usize) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut text = Vec::new();
        for number in 0.. {
            if text.len() >= 16 * 1024 {
                break;
            }
            text.extend(std::iter::repeat_n(b'a', number * 37 % 160));
            text.push(b'\n');
        }
        let mut pipe = File::from(pipe);
        let mut left = bytes;
        while left > 0 {
            let length = left.min(text.len());
            if pipe.write_all(&text[..length]).is_err() {
                return;
            }
            left -= length;
        }
    })
}

/// Pipes with a writer at the other end of each.
fn writers(count: usize, bytes: usize) -> Outcome<(Vec<OwnedFd>, Vec<JoinHandle<()>>)> {
    let mut read_ends = Vec::new();
    let mut threads = Vec::new();
    for _ in 0..count {
        let (read_end, write_end) = pipe_pair(count)?;
        read_ends.push(read_end);
        threads.push(flood(write_end, bytes / count));
    }
    Ok((read_ends, threads))
}

fn with_pump(
    dir: &Path,
    pipes: Vec<OwnedFd>,
    threads: Vec<JoinHandle<()>>,
    is_followed: bool,
    limits: LoggingPlan,
) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let follower = runtime.block_on(async {
        let (handle, feed, pump) = Pump::new(dir.to_path_buf(), 1, Blind)?;
        let follower = is_followed.then(|| follow(dir, &feed));
        for (number, pipe) in pipes.into_iter().enumerate() {
            let service = ServiceName::new(&format!("s{number}"))?;
            handle.register(pipe, UnitId::first(service), LogStream::Stdout, 1, limits);
        }
        // The pump works until its handle is dropped.
        std::thread::spawn(move || {
            drop(join(threads));
            drop(handle);
        });
        pump.run().await;
        Outcome::Ok(follower)
    })?;
    if let Some(follower) = follower {
        let read = follower.join().map_err(|_| "the follower panicked")??;
        let mut written = 0;
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|it| it == "log") {
                written += entry.metadata()?.len();
            }
        }
        if read != written {
            return Err(format!("{read} bytes were followed of {written}").into());
        }
    }
    Ok(())
}

/// The share of one core, in percent, that 100 services with 100 lines a second each cost.
fn trickle(seconds: u32) -> Outcome<f64> {
    let dir = tempfile::tempdir_in("/dev/shm")?;
    let mut read_ends = Vec::new();
    let mut write_ends = Vec::new();
    for _ in 0..100 {
        let (read_end, write_end) = pipe_pair(100)?;
        read_ends.push(read_end);
        write_ends.push(File::from(write_end));
    }
    let writer = std::thread::spawn(move || {
        // One service after the other, as independent ones would: no two lines come together.
        for _ in 0..seconds * 100 {
            for pipe in &mut write_ends {
                if pipe
                    .write_all(b"a line of the usual length, of some sixty bytes or so\n")
                    .is_err()
                {
                    return;
                }
                std::thread::sleep(Duration::from_micros(40));
            }
        }
    });
    let cost = timed(|| {
        with_pump(
            dir.path(),
            read_ends,
            vec![writer],
            false,
            LoggingPlan::default(),
        )
    })?;
    let lines = f64::from(seconds) * 10_000.0;
    Ok(cost.cpu.as_secs_f64() / lines * 10_000.0 * 100.0)
}

fn join(threads: Vec<JoinHandle<()>>) -> Outcome<()> {
    for thread in threads {
        thread.join().map_err(|_| "a writer panicked")?;
    }
    Ok(())
}

fn with_bare_loop(dir: &Path, pipes: Vec<OwnedFd>, threads: Vec<JoinHandle<()>>) -> Outcome<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let mut pairs = Vec::new();
    for (number, pipe) in pipes.into_iter().enumerate() {
        epoll.add(&pipe, EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?;
        let file = File::create(dir.join(format!("s{number}.log")))?;
        pairs.push((File::from(pipe), file));
    }
    let mut open = pairs.len();
    let mut buffer = vec![0; READ_LENGTH];
    let mut events = [EpollEvent::empty(); 64];
    while open > 0 {
        let count = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..count] {
            let (pipe, file) = &mut pairs[usize::try_from(event.data())?];
            match pipe.read(&mut buffer)? {
                0 => {
                    epoll.delete(pipe)?;
                    open -= 1;
                }
                length => file.write_all(&buffer[..length])?,
            }
        }
    }
    join(threads)
}

fn pass(
    count: usize,
    bytes: usize,
    is_rotated: bool,
    work: impl FnOnce(&Path, Vec<OwnedFd>, Vec<JoinHandle<()>>) -> Outcome<()>,
) -> Outcome<Cost> {
    let dir = tempfile::tempdir_in("/dev/shm")?;
    let (pipes, threads) = writers(count, bytes)?;
    let cost = timed(|| work(dir.path(), pipes, threads))?;
    let logged: u64 = (0..count)
        .map(|number| Ok(std::fs::metadata(dir.path().join(format!("s{number}.log")))?.len()))
        .sum::<Outcome<u64>>()?;
    if !is_rotated && logged != (bytes / count * count) as u64 {
        return Err(format!("{logged} bytes were logged of {bytes}").into());
    }
    Ok(cost)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The most memory this process ever had, in KiB.
fn peak_memory() -> Outcome<i64> {
    Ok(getrusage(UsageWho::RUSAGE_SELF)?.max_rss())
}

fn main() -> Outcome<()> {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse::<usize>().ok());
    let megabytes = numbers.next().unwrap_or(200);
    let rounds = numbers.next().unwrap_or(9);
    let bytes = megabytes * 1_000_000;
    let size = f64::from(u32::try_from(megabytes)?);
    for count in [1, 20] {
        let mut costs = [const { Vec::new() }; 4];
        let whole = LoggingPlan {
            max_size: u64::MAX,
            ..LoggingPlan::default()
        };
        for _ in 0..rounds {
            costs[0].push(pass(count, bytes, false, with_bare_loop)?);
            costs[1].push(pass(count, bytes, false, |dir, pipes, threads| {
                with_pump(dir, pipes, threads, false, whole)
            })?);
            costs[2].push(pass(count, bytes, false, |dir, pipes, threads| {
                with_pump(dir, pipes, threads, true, whole)
            })?);
            costs[3].push(pass(count, bytes, true, |dir, pipes, threads| {
                with_pump(dir, pipes, threads, false, LoggingPlan::default())
            })?);
        }
        let names = ["bare loop", "pump", "pump, followed", "pump, rotated"];
        for (name, list) in names.iter().zip(&costs) {
            let rate = median(list.iter().map(|cost| cost.rate(size)).collect());
            let cpu = median(
                list.iter()
                    .map(|cost| cost.cpu_per_megabyte(size))
                    .collect(),
            );
            let ratios = list
                .iter()
                .zip(&costs[0])
                .map(|(cost, bare)| cost.rate(size) / bare.rate(size));
            println!(
                "{count:>2} writers, {name:<14}: {rate:>5.0} MB/s  x{:.2}  {cpu:.3} ms/MB",
                median(ratios.collect())
            );
        }
    }
    println!(
        "10,000 lines a second, one by one: {:.1} % of a core",
        trickle(2)?
    );
    println!("peak memory of everything: {} KiB", peak_memory()?);
    Ok(())
}
