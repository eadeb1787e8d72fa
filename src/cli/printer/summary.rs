//! What is read at the end of the way up: every service with its address, and what failed.
//!
//! Pure.

use std::path::Path;

use super::options::PrinterOptions;
use super::words;
use crate::cli::style::{Palette, Tone, phase_tone, state_word};
use crate::cli::table::{Cell, Table};
use crate::cli::words::behind;
use crate::run::control::StackSnapshot;
use crate::run::snapshot::{Phase, ServiceSnapshot, Wanted};
use crate::support::escape::{plain, plain_line};

/// A service that failed, with what there is to know about it.
#[derive(Debug)]
pub struct Failure {
    /// Its last state.
    pub service: ServiceSnapshot,
    /// The last lines that it printed.
    pub tail: Vec<String>,
    /// The services, or replicas, that were not started because of it, as they are shown.
    pub blocked: Vec<String>,
}

/// From this many services on, the headline is said again below them.
const TALL: usize = 20;

/// How many of those that are not up the headline names.
const NAMED: usize = 3;

/// Everything is up, or as far up as it gets; `now` in milliseconds since the Unix epoch.
pub(super) fn ready(stack: &StackSnapshot, options: &PrinterOptions, now: u64) -> String {
    let palette = options.stderr_palette();
    // What was not asked for is not part of this.
    let shown: Vec<&ServiceSnapshot> = stack
        .services
        .iter()
        .filter(|service| service.phase != Phase::Pending)
        .collect();
    let headline = headline(stack, &shown);
    let is_tall = shown.len() > TALL;
    let mut text = format!("{}\n", palette.paint(Tone::Strong, &headline));
    if !shown.is_empty() {
        text.push('\n');
    }
    let mut table = Table::new(["", "", ""]);
    for (place, service) in stack.services.iter().enumerate() {
        if service.phase != Phase::Pending {
            table.push([
                Cell::new(Tone::Service(place), service.label()),
                Cell::new(phase_tone(service.phase), state_word(service)),
                Cell::new(Tone::Plain, what(service, now)),
            ]);
        }
    }
    for row in table.render(palette, None).lines() {
        text.extend(["  ", row, "\n"]);
    }
    text.push('\n');
    if is_tall {
        // The first line has scrolled away.
        text.push_str(&palette.paint(Tone::Strong, &headline));
        text.push('\n');
    }
    text.push_str(&palette.paint(Tone::Quiet, &closing(stack, options)));
    text.push('\n');
    text
}

/// `shop is up after 1.2 s`, or what is not up.
fn headline(stack: &StackSnapshot, shown: &[&ServiceSnapshot]) -> String {
    let project = &stack.project;
    let count =
        |wanted: fn(Phase) -> bool| shown.iter().filter(|service| wanted(service.phase)).count();
    let failed = count(|phase| phase == Phase::Failed);
    let is_between_attempts = |service: &ServiceSnapshot| {
        service.phase == Phase::Stopping && service.desired.wanted == Wanted::Running
    };
    let coming = shown
        .iter()
        .filter(|service| {
            matches!(service.phase, Phase::Waiting | Phase::Starting)
                || is_between_attempts(service)
        })
        .count();
    let is_bad = |phase| matches!(phase, Phase::Unhealthy | Phase::Backoff);
    let bad = count(is_bad);
    let stopped = count(|phase| matches!(phase, Phase::Stopping | Phase::Stopped));
    let noun = if shown.iter().any(|service| service.replicas > 1) {
        "replica"
    } else {
        "service"
    };
    let total = crate::support::text::count(shown.len(), noun);
    if shown.is_empty() {
        return format!("{project}: nothing runs");
    }
    match (failed, bad, coming) {
        (0, 0, 0) if stopped == shown.len() => format!("{project} is stopped"),
        (0, 0, 0) => {
            let times = shown.iter().filter_map(|service| service.ready_at);
            let time = times
                .max()
                .and_then(|ready_at| ready_at.checked_sub(stack.started_at))
                .filter(|_| stack.started_at > 0);
            let time = behind(" after ", time.map(words::span));
            format!("{project} is up{time}")
        }
        // Nothing is wrong: whoever does not wait sees it like this.
        (0, 0, coming) => format!("{project} has started; {coming} of {total} not ready yet"),
        (0, bad, 0) if bad <= NAMED && bad < shown.len() => {
            let names = shown.iter().filter(|service| is_bad(service.phase));
            let names = crate::support::text::list(names.map(|service| service.label()));
            format!("{project} is up, but for {names}")
        }
        (0, bad, 0) => format!("{project}: {bad} of {total} not up"),
        (0, bad, coming) => {
            format!("{project}: {bad} of {total} not up, {coming} not ready yet")
        }
        (failed, _, _) => format!("{project}: {failed} of {total} failed"),
    }
}

/// Its address, or else what there is to know.
fn what(service: &ServiceSnapshot, now: u64) -> String {
    let addresses = words::addresses(service);
    match service.phase {
        Phase::Completed => behind("after ", words::run_time(service)),
        Phase::Failed => words::failed_how(service),
        Phase::Backoff => words::backoff_how(service),
        Phase::Scheduled => words::scheduled_how(service, now),
        Phase::Waiting => words::waiting_how(service),
        Phase::Unhealthy => words::why(service).unwrap_or(addresses),
        // The address is where it should be reached, which is not to be read without what is wrong
        // with it.
        Phase::Starting | Phase::Running | Phase::Healthy => {
            let parts = [addresses, words::obstacle(service).unwrap_or_default()];
            let parts = parts.into_iter().filter(|part| !part.is_empty());
            parts.collect::<Vec<_>>().join("; ")
        }
        Phase::Pending | Phase::Stopping | Phase::Stopped => addresses,
    }
}

/// Where the ports are written, and how to stop.
fn closing(stack: &StackSnapshot, options: &PrinterOptions) -> String {
    let how = if stack.services.iter().all(|s| s.phase.is_at_rest()) {
        "nothing runs any more; `stack logs` shows the output"
    } else if options.has_the_stack {
        "Ctrl-C stops the stack"
    } else {
        "`stack logs -f` shows the output, `stack down` stops it"
    };
    let has_ports = stack
        .services
        .iter()
        .any(|service| !service.ports.is_empty());
    match stack.dotenv.as_ref().filter(|_| has_ports) {
        Some(path) => format!(
            "ports are in {}; {how}",
            relative(path, options.working_dir.as_deref())
        ),
        None => how.to_owned(),
    }
}

/// A path as the reader would type it.
pub(crate) fn relative(path: &Path, working_dir: Option<&Path>) -> String {
    let path = working_dir
        .and_then(|base| path.strip_prefix(base).ok())
        .unwrap_or(path)
        .display();
    plain_line(path.to_string())
}

/// Why a service failed, and the last lines that it printed.
///
/// Set off by an empty line, as it is what somebody looks for in a screen full of logs.
pub(super) fn failure(failure: &Failure, logs: Option<&str>, palette: Palette) -> String {
    let Failure {
        service,
        tail,
        blocked,
    } = failure;
    let error = palette.paint(Tone::Bad, "error:");
    let name = service.label();
    let how = words::failed(service);
    let mut text = format!("{error} service `{name}` {how}\n");
    if !blocked.is_empty() {
        let names = crate::support::text::list(blocked);
        text.push_str("  not started because of it: ");
        text.push_str(&names);
        text.push('\n');
    }
    if !tail.is_empty() {
        let lead = match tail.len() {
            1 => "  its last line:".to_owned(),
            count => format!("  its last {count} lines:"),
        };
        text.push_str(&palette.paint(Tone::Quiet, &lead));
        text.push('\n');
        let bar = palette.paint(Tone::Bad, "│");
        for line in tail {
            let line = plain(line);
            text.push_str(format!("  {bar} {line}").trim_end());
            text.push('\n');
        }
        if let Some(logs) = logs {
            let place = format!("  all of them: {logs}");
            text.push_str(&palette.paint(Tone::Quiet, &place));
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::printer::testing::{self, failed, healthy, port, service, stack, waiting};
    use crate::run::snapshot::{Exit, PortState};

    fn ready(stack: &StackSnapshot) -> String {
        super::ready(stack, &PrinterOptions::default(), 0)
    }

    fn build() -> ServiceSnapshot {
        ServiceSnapshot {
            phase: Phase::Completed,
            started_at: Some(1_000),
            since: 4_400,
            exit: Some(Exit::Code(0)),
            attempt: 1,
            ..service("build")
        }
    }

    #[test]
    fn what_ends_before_another_attempt_is_not_stopped() {
        let ending = ServiceSnapshot {
            phase: Phase::Stopping,
            attempt: 1,
            ..service("web")
        };
        let text = ready(&stack(vec![ending]));
        let expected = "shop has started; 1 of 1 service not ready yet";
        assert!(text.starts_with(expected), "{text}");
    }

    #[test]
    fn everything_up() {
        let mut two_ports = healthy("backend", 8_000, 5_000);
        two_ports.ports.push(port(8_003));
        let snapshot = StackSnapshot {
            started_at: 900,
            ..stack(vec![
                build(),
                two_ports,
                healthy("ui", 8_001, 5_300),
                service("not-asked-for"),
            ])
        };
        let options = PrinterOptions {
            working_dir: Some("/home/me/shop".into()),
            has_the_stack: true,
            ..PrinterOptions::default()
        };
        insta::assert_snapshot!(super::ready(&snapshot, &options, 0));
    }

    #[test]
    fn detached_and_partly_failed() {
        let snapshot = StackSnapshot {
            is_detached: true,
            ..stack(vec![
                failed("migrate", 1, testing::exited()),
                failed("api", 0, testing::not_started("migrate")),
                healthy("ui", 8_001, 5_300),
                waiting("worker", &["queue"]),
            ])
        };
        insta::assert_snapshot!(ready(&snapshot));
    }

    #[test]
    fn what_is_only_on_its_way_is_no_failure_and_what_is_over_cannot_be_stopped() {
        let starting = testing::starting("api", 8_001, 0);
        let text = ready(&stack(vec![starting]));
        assert!(text.starts_with("shop has started; 1 of 1 service not ready yet\n"));
        let text = ready(&stack(vec![failed("api", 1, testing::exited())]));
        assert!(text.ends_with("nothing runs any more; `stack logs` shows the output\n"));
    }

    #[test]
    fn a_port_that_went_wrong_is_told_with_evidence() {
        use crate::run::reason::{CheckFailure, Reason};
        let mut wrong = testing::starting("w", 8_036, 0);
        wrong.ports[0].state = PortState::WrongPort {
            listens_on: vec![38785],
        };
        let early = ServiceSnapshot {
            reason: Some(Reason::Check {
                failure: CheckFailure::NotListening {
                    unit: None,
                    port: 8037,
                },
            }),
            ..testing::starting("early", 8_037, 0)
        };
        let stolen = |mut service: ServiceSnapshot| {
            service.ports[0].state = PortState::Stolen {
                pid: 4711,
                command: "python3 -m http.server".to_owned(),
                bound_to: "127.0.0.1".to_owned(),
            };
            service
        };
        let unhealthy = ServiceSnapshot {
            phase: Phase::Unhealthy,
            ..healthy("db", 8_002, 0)
        };
        let services = vec![
            wrong,
            early,
            stolen(healthy("api", 8_001, 0)),
            stolen(unhealthy),
        ];
        insta::assert_snapshot!(ready(&stack(services)), @r"
        shop: 1 of 4 services not up, 2 not ready yet

          w      starting   http://localhost:8036/; it listens on 38785 instead of 8036
          early  starting   http://localhost:8037/
          api    healthy    http://localhost:8001/; port 8001 was taken by another process on 127.0.0.1: pid 4711 (python3 -m http.server)
          db     unhealthy  port 8002 was taken by another process on 127.0.0.1: pid 4711 (python3 -m http.server)

        ports are in /home/me/shop/.env; `stack logs -f` shows the output, `stack down` stops it
        ");
    }

    #[test]
    fn what_crashes_again_and_again_is_named_beside_what_is_up() {
        let looping = ServiceSnapshot {
            phase: Phase::Backoff,
            since: 9_000,
            exit: Some(Exit::Code(1)),
            attempt: 6,
            failures: 6,
            next_attempt_at: Some(12_200),
            ..service("emails")
        };
        let text = ready(&stack(vec![healthy("web", 8_000, 300), looping.clone()]));
        insta::assert_snapshot!(text, @r"
        shop is up, but for emails

          web     healthy        http://localhost:8000/
          emails  crash-looping  exited with code 1; restarting in 3.2 s (attempt 7)

        ports are in /home/me/shop/.env; `stack logs -f` shows the output, `stack down` stops it
        ");
        let failure = Failure {
            service: looping,
            tail: vec!["no config".to_owned()],
            blocked: Vec::new(),
        };
        insta::assert_snapshot!(super::failure(&failure, None, Palette::MONOCHROME), @r"
        error: service `emails` is crash-looping: exited with code 1; restarting in 3.2 s (attempt 7)
          its last line:
          │ no config
        ");
    }

    #[test]
    fn without_a_port_nothing_is_said_of_the_file() {
        let build = StackSnapshot {
            dotenv: Some("/home/me/shop/.env".into()),
            ..stack(vec![build()])
        };
        assert!(!ready(&build).contains(".env"));
        let nothing = StackSnapshot {
            services: Vec::new(),
            ..build
        };
        let text = ready(&nothing);
        assert!(text.starts_with("shop: nothing runs\n") && !text.contains(".env"));
    }

    #[test]
    fn each_replica_has_a_row_and_a_number() {
        let web = |replica, port| ServiceSnapshot {
            replica,
            replicas: 2,
            ..healthy("web", port, 300)
        };
        let failed = ServiceSnapshot {
            replica: 2,
            replicas: 2,
            ..failed("web", 1, testing::exited())
        };
        let services = vec![web(1, 8_000), failed, healthy("dns", 8_002, 300)];
        let text = ready(&stack(services));
        insta::assert_snapshot!(text, @r"
        shop: 1 of 3 replicas failed

          web-1  healthy  http://localhost:8000/
          web-2  failed   exited with code 1
          dns    healthy  http://localhost:8002/

        ports are in /home/me/shop/.env; `stack logs -f` shows the output, `stack down` stops it
        ");
    }

    #[test]
    fn a_summary_higher_than_a_screen_ends_with_its_headline() {
        let services = (0..=u16::try_from(TALL).unwrap_or_default())
            .map(|i| healthy(&format!("s{i}"), 8_000 + i, 300));
        let text = ready(&stack(services.collect()));
        assert_eq!(text.matches("shop is up\n").count(), 2, "{text}");
    }

    #[test]
    fn a_failure_shows_why_and_the_last_lines() {
        let tail = [
            "running 3 migrations",
            "",
            "\x1b[31merror\x1b[0m: no such table: users\r",
        ];
        let tail: Vec<String> = tail.map(str::to_owned).to_vec();
        let migrate = Failure {
            service: failed("migrate", 1, testing::exited()),
            tail,
            blocked: vec!["api".to_owned(), "worker".to_owned()],
        };
        let web = Failure {
            service: failed(
                "web",
                0,
                testing::behind(testing::unit_ref("api"), testing::not_started("migrate")),
            ),
            tail: Vec::new(),
            blocked: Vec::new(),
        };
        let logs = Some(".stack/shop/logs/migrate.log");
        let text = failure(&migrate, logs, Palette::MONOCHROME)
            + &failure(&web, None, Palette::MONOCHROME);
        insta::assert_snapshot!(text);
    }
}
