//! What is said of a service, in words: one vocabulary for the live region, plain lines, JSON,
//! summaries and tables.
//!
//! Pure. The fragments are lowercase and fit behind the service's name.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::cli::style::state_word;
use crate::cli::words::{self, behind};
use crate::run::reason::{CheckFailure, Reason, UnitRef};
use crate::run::snapshot::{CRASH_LOOP, Exit, Phase, PortSnapshot, ServiceSnapshot, Wanted};
use crate::support::duration;
use crate::support::text::list;

/// How much a line matters, from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// A step on the way.
    Step,
    /// Where it got to.
    Outcome,
    /// Not as it should be, and being dealt with.
    Trouble,
    /// Broken for good.
    Failure,
}

/// What a change of a service's snapshot means to a reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) rank: Rank,
    pub(crate) text: String,
}

fn said(rank: Rank, text: impl Into<String>) -> Said {
    let text = text.into();
    Said { rank, text }
}

/// What there is to say when a service's snapshot becomes `next` at `now`; `None` if nothing that
/// matters changed.
pub(crate) fn change(
    previous: Option<&ServiceSnapshot>,
    next: &ServiceSnapshot,
    now: u64,
) -> Option<Said> {
    let is_new_phase = previous.is_none_or(|previous| previous.phase != next.phase);
    let is_new_attempt = previous.is_none_or(|previous| previous.attempt != next.attempt);
    let is_news = is_new_phase || is_new_attempt;
    // What is about to make room for what comes has nothing to say of that, nor has what could not.
    let is_old =
        next.desired.wanted == Wanted::Running && next.generation < next.desired.generation;
    let is_passing = is_old || matches!(next.reason, Some(Reason::NotApplied { .. }));
    let said_of_phase = match next.phase {
        Phase::Pending => None,
        Phase::Starting | Phase::Running | Phase::Healthy if is_passing => None,
        Phase::Unhealthy if is_passing && previous.is_none() => None,
        Phase::Waiting => waiting_change(previous, next),
        Phase::Starting => started(previous, next),
        Phase::Running => running_change(previous, next),
        Phase::Healthy => is_news.then(|| healthy(previous, next)),
        Phase::Unhealthy => {
            let why = behind(": ", next.reason.as_ref().map(words::reason));
            is_new_phase.then(|| said(Rank::Trouble, format!("unhealthy{why}")))
        }
        Phase::Stopping => stopping_change(previous, next, now),
        Phase::Backoff => is_news.then(|| said(Rank::Trouble, backoff(next))),
        Phase::Scheduled => is_new_phase.then(|| scheduled(next, now)),
        Phase::Completed => is_new_phase.then(|| said(Rank::Outcome, completed(next))),
        Phase::Failed => is_new_phase.then(|| said(Rank::Failure, failed(next))),
        Phase::Stopped => is_new_phase.then(|| stopped(previous, next)),
    };
    with_trouble(said_of_phase, previous, next)
}

/// What is said of the phase, and what is already known to be wrong in the same snapshot: once it
/// is told it is not news any more, so nobody would hear of it later.
fn with_trouble(
    said_of_phase: Option<Said>,
    previous: Option<&ServiceSnapshot>,
    next: &ServiceSnapshot,
) -> Option<Said> {
    let trouble = port_change(previous, next);
    let Some(mut told) = said_of_phase else {
        return trouble;
    };
    // The others say themselves why.
    let is_told = matches!(
        next.phase,
        Phase::Starting | Phase::Running | Phase::Healthy
    );
    if let Some(trouble) = trouble.filter(|_| is_told) {
        told.text.push_str("; ");
        told.text.push_str(&trouble.text);
        told.rank = told.rank.max(trouble.rank);
    }
    Some(told)
}

fn waiting_change(previous: Option<&ServiceSnapshot>, next: &ServiceSnapshot) -> Option<Said> {
    let is_known =
        previous.is_some_and(|old| old.phase == next.phase && old.waiting_for == next.waiting_for);
    (!is_known && !next.waiting_for.is_empty()).then(|| said(Rank::Step, waiting(next)))
}

fn started(previous: Option<&ServiceSnapshot>, next: &ServiceSnapshot) -> Option<Said> {
    let pid = next.pid?;
    if previous.is_some_and(|previous| previous.pid == Some(pid)) {
        return None;
    }
    let attempt = Some(next.attempt).filter(|&attempt| attempt > 1);
    let attempt = behind(", attempt ", attempt);
    Some(said(Rank::Step, format!("started (pid {pid}{attempt})")))
}

/// What has no readiness to wait for goes straight to running, and may have been said to have
/// started already.
fn running_change(previous: Option<&ServiceSnapshot>, next: &ServiceSnapshot) -> Option<Said> {
    let was_started = previous.is_some_and(|old| {
        old.phase == Phase::Starting && old.pid.is_some() && old.attempt == next.attempt
    });
    if !was_started {
        return started(previous, next);
    }
    let addresses = at_addresses(next);
    (!addresses.is_empty()).then(|| said(Rank::Outcome, format!("running{addresses}")))
}

fn healthy(previous: Option<&ServiceSnapshot>, next: &ServiceSnapshot) -> Said {
    let was_unhealthy =
        previous.is_some_and(|old| old.phase == Phase::Unhealthy && old.attempt == next.attempt);
    let how = if was_unhealthy {
        " again".to_owned()
    } else {
        behind(" after ", ready_time(next))
    };
    said(Rank::Outcome, format!("healthy{how}{}", at_addresses(next)))
}

/// Said at the start, and when the time of the kill changes; not each second.
fn stopping_change(
    previous: Option<&ServiceSnapshot>,
    next: &ServiceSnapshot,
    now: u64,
) -> Option<Said> {
    let is_known =
        previous.is_some_and(|old| old.phase == next.phase && old.kill_at == next.kill_at);
    (!is_known).then(|| stopping(next, now))
}

/// A port that went wrong while the phase stayed is news of its own.
///
/// Not while it stops: its processes end one by one, and ports go as they please.
fn port_change(previous: Option<&ServiceSnapshot>, next: &ServiceSnapshot) -> Option<Said> {
    if next.phase == Phase::Stopping || !next.phase.is_alive() {
        return None;
    }
    let old = previous.map_or(&[][..], |previous| &previous.ports);
    next.ports
        .iter()
        .filter(|port| !old.contains(port))
        .find_map(port_trouble)
        .map(|text| said(Rank::Trouble, text))
}

/// What is wrong with a port, if something is.
pub(crate) fn port_trouble(port: &PortSnapshot) -> Option<String> {
    port.trouble().map(|trouble| words::port_trouble(&trouble))
}

/// Why one that is on its way is not there yet. That it does not listen yet is no more than its phase
/// says.
pub(crate) fn obstacle(service: &ServiceSnapshot) -> Option<String> {
    match &service.reason {
        Some(Reason::Check {
            failure: CheckFailure::NotListening { unit: None, .. },
        }) => service.ports.iter().find_map(port_trouble),
        Some(_) | None => why(service),
    }
}

/// Why it is where it is; a wait and a port that is not as it should be count too.
pub(crate) fn why(service: &ServiceSnapshot) -> Option<String> {
    if let Some(reason) = &service.reason {
        return Some(words::reason(reason));
    }
    if !service.waiting_for.is_empty() {
        return Some(waiting(service));
    }
    service.ports.iter().find_map(port_trouble)
}

/// `waiting for db to be healthy`.
pub(crate) fn waiting(service: &ServiceSnapshot) -> String {
    if service.waiting_for.is_empty() {
        "waiting".to_owned()
    } else {
        let waits = service.waiting_for.iter().map(words::waiting_for);
        format!("waiting for {}", list(waits))
    }
}

/// The same behind the service's state, which says already that it is waiting.
pub(crate) fn waiting_how(service: &ServiceSnapshot) -> String {
    let text = waiting(service);
    text.strip_prefix("waiting ").unwrap_or_default().to_owned()
}

/// `stopping (pid 412), killed in 3 s`: what there is to say of a stop while it goes on.
pub(crate) fn stopping(service: &ServiceSnapshot, now: u64) -> Said {
    let kill = behind(", ", killed_in(service, now));
    said(
        Rank::Step,
        format!("stopping{}{kill}", words::pid(service.pid)),
    )
}

/// `killed in 3 s`, or `being killed` once the time is over.
pub(crate) fn killed_in(service: &ServiceSnapshot, now: u64) -> Option<String> {
    let left = service.kill_at?.saturating_sub(now);
    // Rounded up: "killed in 0 s" would be said while there is time left.
    Some(match left.div_ceil(1_000) {
        0 => "being killed".to_owned(),
        seconds if seconds < 60 => format!("killed in {seconds} s"),
        seconds => format!(
            "killed in {}",
            duration::human(Duration::from_secs(seconds))
        ),
    })
}

/// `exited with code 1; restarting in 0.2 s (attempt 3)`, or `crash-looping: exited …`.
pub(crate) fn backoff(service: &ServiceSnapshot) -> String {
    let how = backoff_how(service);
    if service.failures >= CRASH_LOOP {
        format!("crash-looping: {how}")
    } else {
        how
    }
}

/// The same behind the service's state, which says already whether it is crash-looping.
pub(crate) fn backoff_how(service: &ServiceSnapshot) -> String {
    let text = ended(service);
    let attempt = service.attempt + 1;
    let pause = service.next_attempt_at;
    let pause = pause.map(|at| span(at.saturating_sub(service.since)));
    let pause = behind(" in ", pause);
    format!("{text}; restarting{pause} (attempt {attempt})")
}

/// How the last attempt ended, or why there was none.
fn ended(service: &ServiceSnapshot) -> String {
    match (&service.reason, service.exit) {
        (Some(reason), _) => words::reason(reason),
        (None, Some(exit)) => words::exit(exit),
        (None, None) => "ended".to_owned(),
    }
}

fn completed(service: &ServiceSnapshot) -> String {
    let how = match service.exit {
        Some(Exit::Code(0)) | None => String::new(),
        Some(Exit::Code(code)) => format!(" with code {code}"),
        Some(Exit::Signal(signal)) => format!(" by {}", words::signal_name(signal)),
    };
    let time = behind(" after ", run_time(service));
    format!("completed{how}{time}")
}

/// `completed after 0.3 s; next run in 5 m`: what a run came to. Where nothing is wrong, that is a step
/// among many.
fn scheduled(service: &ServiceSnapshot, now: u64) -> Said {
    let next = behind("next run ", next_run(service, now));
    let (rank, how) = match (&service.reason, service.exit) {
        (Some(_), _) => (Rank::Trouble, failed(service)),
        (None, Some(_)) => (Rank::Step, completed(service)),
        (None, None) => return said(Rank::Outcome, next),
    };
    said(rank, format!("{how}; {next}"))
}

/// The same behind the service's state, of which only a failure is news.
pub(crate) fn scheduled_how(service: &ServiceSnapshot, now: u64) -> String {
    match service.reason {
        Some(_) => scheduled(service, now).text,
        None => behind("next run ", next_run(service, now)),
    }
}

/// When its schedule wants the next run: `in 4 m`, `at 14:05` or `on 2026-12-01 at 03:00`.
pub(crate) fn next_run(service: &ServiceSnapshot, now: u64) -> Option<String> {
    Some(words::to_come(service.next_run?, now))
}

/// `failed: exited with code 1`, `not started: …` for what was never executed, or `is crash-looping: …`
/// for what is tried again and again.
pub(crate) fn failed(service: &ServiceSnapshot) -> String {
    if service.phase == Phase::Backoff {
        return format!("is {}", backoff(service));
    }
    let lead = if service.attempt == 0 {
        "not started"
    } else {
        "failed"
    };
    lead.to_owned() + &behind(": ", why_failed(service))
}

/// The same behind the word "failed", which is not said again: `exited with code 1`, or
/// `not started: …`.
pub(crate) fn failed_how(service: &ServiceSnapshot) -> String {
    let text = failed(service);
    match text.strip_prefix("failed") {
        Some(rest) => rest.trim_start_matches(": ").to_owned(),
        None => text,
    }
}

/// Why a failed service failed, without a lead that would say it twice.
fn why_failed(service: &ServiceSnapshot) -> Option<String> {
    match &service.reason {
        Some(Reason::NotStarted { because }) => Some(words::blocker(because)),
        Some(reason) => Some(words::reason(reason)),
        None => service.exit.map(words::exit),
    }
}

fn stopped(previous: Option<&ServiceSnapshot>, next: &ServiceSnapshot) -> Said {
    let time = previous
        .filter(|previous| previous.phase == Phase::Stopping)
        .map(|previous| next.since.saturating_sub(previous.since))
        // A stop that nobody noticed needs no time.
        .filter(|&millis| millis >= 100);
    let time = behind(" after ", time.map(span));
    if next.exit == Some(Exit::Signal(Signal::SIGKILL as i32)) {
        said(Rank::Trouble, format!("killed{time}"))
    } else {
        said(Rank::Outcome, format!("stopped{time}"))
    }
}

fn at_addresses(service: &ServiceSnapshot) -> String {
    behind(" at ", Some(addresses(service)).filter(|it| !it.is_empty()))
}

/// How a person reaches it: `http://localhost:8001/, localhost:8002`.
pub(crate) fn addresses(service: &ServiceSnapshot) -> String {
    list(service.ports.iter().map(|port| &port.address))
}

/// The dependency for which a service was not started, if that is why it failed.
pub(crate) fn blocked_by(service: &ServiceSnapshot) -> Option<&UnitRef> {
    match &service.reason {
        Some(Reason::NotStarted { because }) => Some(&because.unit),
        Some(_) | None => None,
    }
}

/// From its execution to its readiness.
pub(crate) fn ready_time(service: &ServiceSnapshot) -> Option<String> {
    let millis = service.ready_at?.checked_sub(service.started_at?)?;
    Some(span(millis))
}

/// From its execution to its end.
pub(crate) fn run_time(service: &ServiceSnapshot) -> Option<String> {
    let millis = service.since.checked_sub(service.started_at?)?;
    Some(span(millis))
}

/// A span of time as it is read in passing: `80 ms`, `0.3 s`, `3 m 20 s`.
pub(crate) fn span(millis: u64) -> String {
    match millis {
        0..100 => format!("{millis} ms"),
        // In integers: 0.95 s must not become "1.0 s" here and "0.9 s" there.
        100..60_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        _ => duration::human(Duration::from_millis(millis)),
    }
}

/// `2 healthy, 1 waiting, 1 crash-looping`: how many are in which state, the most advanced first.
pub(crate) fn tally<'a>(services: impl IntoIterator<Item = &'a ServiceSnapshot>) -> String {
    const ORDER: [Phase; 12] = [
        Phase::Healthy,
        Phase::Running,
        Phase::Completed,
        Phase::Scheduled,
        Phase::Starting,
        Phase::Waiting,
        Phase::Stopping,
        Phase::Backoff,
        Phase::Unhealthy,
        Phase::Failed,
        Phase::Stopped,
        Phase::Pending,
    ];
    let mut counts = BTreeMap::new();
    for service in services {
        let place = ORDER.iter().position(|&phase| phase == service.phase);
        *counts.entry((place, state_word(service))).or_insert(0) += 1;
    }
    let parts = counts
        .iter()
        .map(|((_, word), count)| format!("{count} {word}"));
    list(parts)
}

#[cfg(test)]
mod tests;
