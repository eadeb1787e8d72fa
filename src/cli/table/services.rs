//! The table of a stack's services, and the line about the stack above it.

use std::time::Duration;

use super::{Cell, Table};
use crate::cli::printer::words;
use crate::cli::style::{Tone, phase_tone, state_word};
use crate::run::control::StackSnapshot;
use crate::run::snapshot::{Exit, Phase, ServiceSnapshot, Usage};
use crate::support::duration;

/// Every service of a stack, a row each, in the order of the file. `now` is in milliseconds since
/// the Unix epoch.
///
/// Columns in which nothing stands (no service ever ended, say) are left out.
pub fn services<'a>(services: impl IntoIterator<Item = &'a ServiceSnapshot>, now: u64) -> Table {
    let mut table = Table::new([
        "SERVICE", "STATE", "SINCE", "PID", "ADDRESS", "EXIT", "RESTARTS", "NEXT RUN", "REASON",
    ]);
    for service in services {
        let restarts = service.restarts;
        let restarts = restarts.unwrap_or(service.attempt.saturating_sub(1));
        table.push([
            service.label().into(),
            Cell::new(phase_tone(service.phase), state_word(service)),
            Cell::new(Tone::Quiet, since(service, now)),
            Cell::maybe(service.pid),
            address(service).into(),
            // The exit of the attempt before is not news while the next one runs.
            Cell::maybe(service.exit.filter(|_| !service.phase.is_alive()).map(exit)),
            Cell::maybe(Some(restarts).filter(|&restarts| restarts > 0)),
            Cell::maybe(words::next_run(service, now)),
            Cell::maybe(words::why(service)),
        ]);
    }
    table
}

/// `shop: 3 services, 2 healthy, 1 failed`, and `12.3 s of processor time, 40 MiB` where that is known.
pub fn state_of_stack(snapshot: &StackSnapshot) -> String {
    let states = words::tally(&snapshot.services);
    let usage = snapshot.usage.map(usage).unwrap_or_default();
    format!("{}: {states}{usage}", snapshot.project)
}

fn usage(usage: Usage) -> String {
    let tenths = usage.cpu_micros / 100_000;
    let memory = usage
        .memory_bytes
        .map(|bytes| format!(", {} MiB", bytes >> 20));
    let memory = memory.unwrap_or_default();
    format!(
        "; {}.{} s of processor time{memory}",
        tenths / 10,
        tenths % 10
    )
}

/// How long it has been so, in one unit: a table is read for its order of magnitude.
fn since(service: &ServiceSnapshot, now: u64) -> String {
    if service.phase == Phase::Pending {
        return String::new();
    }
    let seconds = Duration::from_millis(now.saturating_sub(service.since)).as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} m", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => duration::human(Duration::from_secs(seconds / 86_400 * 86_400)).replace(" 0 h", ""),
    }
}

/// Where it is reached, or will be. What has ended is not reached at all.
fn address(service: &ServiceSnapshot) -> String {
    if service.phase.is_at_rest() && service.phase != Phase::Pending {
        String::new()
    } else {
        words::addresses(service)
    }
}

/// How it ended.
fn exit(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => code.to_string(),
        Exit::Signal(signal) => crate::cli::words::signal_name(signal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::printer::testing::{failed, healthy, service, stack, waiting};
    use crate::cli::style::Palette;

    #[test]
    fn ps_shows_what_matters_in_columns() {
        let rows = [
            healthy("backend", 8000, 1_000),
            waiting("ui", &["backend"]),
            failed("migrate", 1, crate::cli::printer::testing::exited()),
            ServiceSnapshot {
                phase: Phase::Running,
                pid: Some(4711),
                attempt: 4,
                since: 0,
                ..service("worker")
            },
            service("later"),
        ];
        let text = services(&rows, 3_600_000).render(Palette::MONOCHROME, None);
        insta::assert_snapshot!(text);
    }

    #[test]
    fn the_line_above_the_table_has_its_words() {
        let looping = ServiceSnapshot {
            phase: Phase::Backoff,
            failures: 6,
            ..service("emails")
        };
        let snapshot = stack(vec![
            healthy("api", 8_001, 0),
            looping,
            healthy("web", 8_002, 0),
        ]);
        let states = state_of_stack(&snapshot);
        assert_eq!(states, "shop: 2 healthy, 1 crash-looping");
        for (memory_bytes, expected) in [
            (Some(41_943_040), "; 12.3 s of processor time, 40 MiB"),
            (None, "; 12.3 s of processor time"),
        ] {
            let usage = Some(Usage {
                cpu_micros: 12_345_678,
                memory_bytes,
            });
            let stack = StackSnapshot {
                usage,
                ..snapshot.clone()
            };
            assert_eq!(state_of_stack(&stack), states.clone() + expected);
        }
    }

    #[test]
    fn what_runs_has_no_exit_and_what_has_ended_no_address() {
        let again = ServiceSnapshot {
            exit: Some(Exit::Code(7)),
            attempt: 2,
            ..healthy("api", 8_001, 0)
        };
        let stopped = ServiceSnapshot {
            phase: Phase::Stopped,
            pid: None,
            exit: Some(Exit::Signal(15)),
            ..healthy("web", 8_002, 0)
        };
        let text = services([&again, &stopped], 1_000).render(Palette::MONOCHROME, None);
        assert!(!text.contains(" 7 ") && !text.contains("8002"), "{text}");
        assert!(text.contains("8001") && text.contains("SIGTERM"), "{text}");
    }

    #[test]
    fn a_hundred_services_stay_in_their_columns() {
        let rows: Vec<ServiceSnapshot> = (0..100u16)
            .map(|i| healthy(&format!("service-{i}"), 8000 + i, 1_000))
            .collect();
        let text = services(&rows, 2_000).render(Palette::MONOCHROME, Some(60));
        let columns: std::collections::HashSet<_> =
            text.lines().skip(1).map(|line| line.find("http")).collect();
        assert_eq!(columns.len(), 1);
        assert!(text.lines().all(|line| line.len() <= 60));
    }
}
