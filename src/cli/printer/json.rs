//! One JSON object a line on stderr, for programs: `--progress json`.
//!
//! The shape is a promise, described in `docs/design/output.md`: keys may be added, none is
//! removed or changes its meaning. Every object has `time`, `kind` and `text`. Pure.

use serde::Serialize;

use super::item::Failure;
use super::painter::timestamp;
use super::words::{self, Said};
use crate::cli::style::state_word;
use crate::run::control::StackSnapshot;
use crate::run::reason::{Reason, WaitingFor};
use crate::run::snapshot::{Exit, Notice, NoticeLevel, PortSnapshot, ServiceSnapshot};
use crate::support::name::ServiceName;

#[derive(Serialize)]
struct Object<'a> {
    time: String,
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    /// The replica that a notice is about; that of a service stands in its details.
    #[serde(skip_serializing_if = "Option::is_none")]
    replica: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<NoticeLevel>,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<Details<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    services: Option<&'a [ServiceSnapshot]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<&'a [ServiceName]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_tail: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_started: Option<&'a [String]>,
}

/// What an object is about.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// A service changed.
    Service,
    /// A notice of the supervisor or of the printer.
    Notice,
    /// A message of the command.
    Message,
    /// Everything is up, or as far up as it gets.
    Summary,
    /// Why a service failed.
    Failure,
    /// Everything has ended.
    Ended,
}

/// Numbers about a service that stand beside its text; each only where it means something.
#[derive(Serialize)]
struct Details<'a> {
    replica: u32,
    replicas: u32,
    attempt: u32,
    failures: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit: Option<Exit>,
    #[serde(skip_serializing_if = "<[WaitingFor]>::is_empty")]
    waiting_for: &'a [WaitingFor],
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kill_at: Option<String>,
    ports: &'a [PortSnapshot],
}

impl<'a> Details<'a> {
    fn of(service: &'a ServiceSnapshot) -> Self {
        Self {
            replica: service.replica,
            replicas: service.replicas,
            attempt: service.attempt,
            failures: service.failures,
            pid: service.pid,
            exit: service.exit,
            waiting_for: &service.waiting_for,
            reason: service.reason.as_ref(),
            next_attempt_at: service.next_attempt_at.map(timestamp),
            kill_at: service.kill_at.map(timestamp),
            ports: &service.ports,
        }
    }
}

fn object(kind: Kind, now: u64, text: &str) -> Object<'_> {
    Object {
        time: timestamp(now),
        kind,
        id: None,
        replica: None,
        status: None,
        level: None,
        text,
        service: None,
        services: None,
        failed: None,
        log_tail: None,
        not_started: None,
    }
}

fn line(object: &Object<'_>) -> String {
    // Strings and numbers only: this cannot fail, and an empty line would be the least harm.
    serde_json::to_string(object).unwrap_or_default() + "\n"
}

/// A change of a service. Its time is that of the change.
pub(super) fn change(service: &ServiceSnapshot, said: &Said) -> String {
    line(&Object {
        id: Some(service.service.as_str()),
        status: Some(state_word(service)),
        service: Some(Details::of(service)),
        ..object(Kind::Service, service.since, &said.text)
    })
}

/// A notice.
pub(super) fn notice(now: u64, notice: &Notice) -> String {
    line(&Object {
        id: notice.service.as_ref().map(ServiceName::as_str),
        replica: notice.replica,
        level: Some(notice.level),
        ..object(Kind::Notice, now, &crate::cli::words::news(&notice.news))
    })
}

/// A message of a command, each line of which becomes an object.
pub(super) fn message(now: u64, text: &str) -> String {
    text.lines()
        .map(|text| line(&object(Kind::Message, now, text)))
        .collect()
}

/// Everything is up, or as far up as it gets.
pub(super) fn summary(now: u64, stack: &StackSnapshot) -> String {
    let text = words::tally(&stack.services);
    line(&Object {
        id: Some(stack.project.as_str()),
        services: Some(&stack.services),
        ..object(Kind::Summary, now, &text)
    })
}

/// Why a service failed, with its last lines.
pub(super) fn failure(now: u64, failure: &Failure) -> String {
    let service = &failure.service;
    line(&Object {
        id: Some(service.service.as_str()),
        status: Some(state_word(service)),
        service: Some(Details::of(service)),
        log_tail: Some(&failure.tail),
        not_started: (!failure.blocked.is_empty()).then_some(&failure.blocked[..]),
        ..object(Kind::Failure, now, &words::failed(service))
    })
}

/// Everything has ended.
pub(super) fn ended(now: u64, text: &str, failed: &[ServiceName]) -> String {
    line(&Object {
        failed: Some(failed),
        ..object(Kind::Ended, now, text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::printer::testing::{failed, healthy, name, stack, waiting};
    use crate::run::reason::News;

    #[test]
    fn the_shape_is_stable() {
        let changes = [
            waiting("web", &["api"]),
            healthy("api", 8001, 1_795_000_000_123),
            failed("migrate", 1, crate::cli::printer::testing::exited()),
        ];
        let mut text: String = changes
            .iter()
            .filter_map(|service| Some(change(service, &words::change(None, service, 0)?)))
            .collect();
        let warning = Notice {
            service: Some(name("api")),
            replica: Some(1),
            level: NoticeLevel::Warning,
            news: News::LeftBehind { processes: 2 },
        };
        text += &notice(1_000, &warning);
        text += &message(2_000, "error: two\nlines");
        let failed = Failure {
            service: changes[2].clone(),
            tail: vec!["no such table".to_owned()],
            blocked: vec!["web".to_owned()],
        };
        text += &failure(3_000, &failed);
        text += &summary(4_000, &stack(vec![changes[1].clone()]));
        text += &ended(
            5_000,
            "all services have ended; failed: migrate",
            &[name("migrate")],
        );
        insta::assert_snapshot!(text);
    }
}
