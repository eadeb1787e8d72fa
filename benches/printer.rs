//! The log path of the printer, from a block of lines to large writes, and what its start costs.
//!
//! The limit is what a plain C program needs to find the lines of a buffer and to copy each behind
//! its prefix: about 1 GB/s.

use std::os::fd::OwnedFd;

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use fs_err::OpenOptions;
use stack::cli::printer::{Printer, PrinterOptions, Progress, Terminals};
use stack::run::logs::LogBlock;
use stack::run::snapshot::LogStream;
use stack::support::name::{ServiceName, UnitId};
use tokio::runtime::Runtime;

fn main() {
    divan::main();
}

/// What one round prints.
const VOLUME: usize = 64 * 1024 * 1024;

/// As much as a supervisor reads from a pipe at once.
const BLOCK: usize = 64 * 1024;

fn options(units: &[UnitId], is_terminal: bool) -> PrinterOptions {
    PrinterOptions {
        progress: Progress::Plain,
        log_prefix: true,
        units: units.to_vec(),
        terminals: Terminals {
            stdout: is_terminal,
            ..Terminals::default()
        },
        ..PrinterOptions::default()
    }
}

fn null() -> OwnedFd {
    let file = OpenOptions::new().write(true).open("/dev/null");
    let file = file.expect("every system has a /dev/null");
    file.into_parts().0.into()
}

fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("the system gives a runtime")
}

fn start(units: &[UnitId], is_terminal: bool) -> Printer {
    let options = options(units, is_terminal);
    Printer::on(options, [null(), null()])
}

fn units(count: usize) -> Vec<UnitId> {
    let name = |place: usize| ServiceName::new(&format!("service-{place}"));
    let services = (0..count).filter_map(|place| name(place).ok());
    services.map(UnitId::first).collect()
}

/// Lines of `line` bytes for each service in turn, until `VOLUME` is printed.
fn print(bencher: Bencher, count: usize, line: usize, is_terminal: bool) {
    let runtime = runtime();
    let units = units(count);
    let lines = ("x".repeat(line - 1) + "\n").repeat(BLOCK / line);
    let bytes = Bytes::from(lines);
    let rounds = VOLUME / bytes.len();
    bencher
        .counter(BytesCount::new(rounds * bytes.len()))
        .bench_local(|| {
            let printer = start(&units, is_terminal);
            runtime.block_on(printer.run(async {
                for round in 0..rounds {
                    printer.page().logs(&LogBlock {
                        unit: units[round % count].clone(),
                        stream: LogStream::Stdout,
                        time: 1_795_000_000_123_456_789,
                        attempt: 1,
                        bytes: bytes.clone(),
                        continues: false,
                    });
                    printer.room().await;
                }
            }));
        });
}

#[divan::bench(args = [20, 100, 1_000], sample_count = 10)]
fn one_service_to_dev_null(bencher: Bencher, line: usize) {
    print(bencher, 1, line, false);
}

#[divan::bench(args = [100], sample_count = 10)]
fn twenty_services_to_dev_null(bencher: Bencher, line: usize) {
    print(bencher, 20, line, false);
}

/// Start and end, with nothing printed.
#[divan::bench(args = [1, 100])]
fn start_and_finish(bencher: Bencher, count: usize) {
    let (units, runtime) = (units(count), runtime());
    bencher.bench_local(|| {
        let printer = black_box(start(&units, false));
        runtime.block_on(printer.run(async {}));
    });
}
