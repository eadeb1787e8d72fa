//! One JSON object a line on stderr, for programs: `--progress json`.
//!
//! The shape is a promise, described in `docs/design/output.md`: keys may be added, none is
//! removed or changes its meaning. Every object has `time`, `kind` and `text`. Pure.

use serde_json::{Value, json};

use super::painter::timestamp;
use super::summary::Failure;
use super::words::{self, Said};
use crate::cli::style::state_word;
use crate::run::control::StackSnapshot;
use crate::run::news::Notice;
use crate::run::snapshot::ServiceSnapshot;
use crate::support::name::ServiceName;

/// An object without what means nothing.
fn only_known(mut object: Value) -> Value {
    if let Some(object) = object.as_object_mut() {
        object.retain(|_, value| !value.is_null());
    }
    object
}

/// An object on a line of its own.
fn line(object: Value) -> String {
    format!("{}\n", only_known(object))
}

/// Numbers about a service that stand beside its text; each only where it means something.
fn details(service: &ServiceSnapshot) -> Value {
    only_known(json!({
        "replica": service.replica,
        "replicas": service.replicas,
        "attempt": service.attempt,
        "failures": service.failures,
        "pid": service.pid,
        "exit": service.exit,
        "waiting_for": (!service.waiting_for.is_empty()).then_some(&service.waiting_for),
        "reason": service.reason,
        "next_attempt_at": service.next_attempt_at.map(timestamp),
        "next_run": service.next_run.map(timestamp),
        "kill_at": service.kill_at.map(timestamp),
        "ports": service.ports,
    }))
}

/// A change of a service. Its time is that of the change.
pub(super) fn change(service: &ServiceSnapshot, said: &Said) -> String {
    line(json!({
        "time": timestamp(service.since),
        "kind": "service",
        "id": service.service,
        "status": state_word(service),
        "text": said.text,
        "service": details(service),
    }))
}

/// A notice.
pub(super) fn notice(now: u64, notice: &Notice) -> String {
    line(json!({
        "time": timestamp(now),
        "kind": "notice",
        "id": notice.service,
        "replica": notice.replica,
        "level": notice.level,
        "text": crate::cli::words::news(&notice.news),
    }))
}

/// A message of a command, each line of which becomes an object.
pub(super) fn message(now: u64, text: &str) -> String {
    let time = timestamp(now);
    text.lines()
        .map(|text| line(json!({"time": time, "kind": "message", "text": text})))
        .collect()
}

/// Everything is up, or as far up as it gets.
pub(super) fn summary(now: u64, stack: &StackSnapshot) -> String {
    line(json!({
        "time": timestamp(now),
        "kind": "summary",
        "id": stack.project,
        "text": words::tally(&stack.services),
        "services": stack.services,
    }))
}

/// Why a service failed, with its last lines.
pub(super) fn failure(now: u64, failure: &Failure) -> String {
    let service = &failure.service;
    line(json!({
        "time": timestamp(now),
        "kind": "failure",
        "id": service.service,
        "status": state_word(service),
        "text": words::failed(service),
        "service": details(service),
        "log_tail": failure.tail,
        "not_started": (!failure.blocked.is_empty()).then_some(&failure.blocked),
    }))
}

/// Everything has ended.
pub(super) fn ended(now: u64, text: &str, failed: &[ServiceName]) -> String {
    line(json!({"time": timestamp(now), "kind": "ended", "text": text, "failed": failed}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::printer::testing::{failed, healthy, left_behind, name, stack, waiting};
    use crate::run::news::NoticeLevel;

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
            news: left_behind(),
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
