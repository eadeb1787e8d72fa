//! Snapshots for tests.

use crate::run::control::StackSnapshot;
use crate::run::snapshot::{Exit, Phase, PortSnapshot, PortState, ServiceSnapshot};
use crate::support::name::{PortName, ProjectName, ServiceName};

pub(crate) fn name(text: &str) -> ServiceName {
    ServiceName::new(text).unwrap()
}

/// A service that nobody has asked for yet.
pub(crate) fn service(text: &str) -> ServiceSnapshot {
    ServiceSnapshot {
        service: name(text),
        replica: 1,
        phase: Phase::Pending,
        since: 0,
        pid: None,
        started_at: None,
        ready_at: None,
        exit: None,
        attempt: 0,
        failures: 0,
        waiting_for: Vec::new(),
        reason: None,
        next_attempt_at: None,
        kill_at: None,
        is_one_shot: false,
        has_readiness: true,
        ports: Vec::new(),
    }
}

pub(crate) fn port(number: u16) -> PortSnapshot {
    PortSnapshot {
        name: PortName::new("PORT").unwrap(),
        port: number,
        state: PortState::Held,
        address: format!("http://localhost:{number}/"),
    }
}

pub(crate) fn waiting(text: &str, unmet: &[&str]) -> ServiceSnapshot {
    ServiceSnapshot {
        phase: Phase::Waiting,
        waiting_for: unmet.iter().map(|&unmet| unmet.to_owned()).collect(),
        ..service(text)
    }
}

pub(crate) fn starting(text: &str, number: u16, since: u64) -> ServiceSnapshot {
    ServiceSnapshot {
        phase: Phase::Starting,
        since,
        pid: Some(4000 + i32::from(number % 1000)),
        started_at: Some(since),
        attempt: 1,
        ports: vec![port(number)],
        ..service(text)
    }
}

/// Healthy 300 ms after its start.
pub(crate) fn healthy(text: &str, number: u16, since: u64) -> ServiceSnapshot {
    ServiceSnapshot {
        phase: Phase::Healthy,
        since,
        started_at: Some(since.saturating_sub(300)),
        ready_at: Some(since),
        ..starting(text, number, since)
    }
}

pub(crate) fn failed(text: &str, attempt: u32, reason: &str) -> ServiceSnapshot {
    ServiceSnapshot {
        phase: Phase::Failed,
        attempt,
        exit: (attempt > 0).then_some(Exit::Code(1)),
        reason: Some(reason.to_owned()),
        ..service(text)
    }
}

pub(crate) fn stack(services: Vec<ServiceSnapshot>) -> StackSnapshot {
    StackSnapshot {
        project: ProjectName::new("shop").unwrap(),
        instance: "shop-0123456789abcdef".to_owned(),
        run: "fedcba9876543210".to_owned(),
        project_dir: "/home/me/shop".into(),
        file: "/home/me/shop/stack.yaml".into(),
        dotenv: Some("/home/me/shop/.env".into()),
        fingerprint: String::new(),
        guardian_pid: 10,
        supervisor_pid: 11,
        started_at: 0,
        is_detached: false,
        is_draining: false,
        values: Vec::new(),
        services,
    }
}
