//! Snapshots for tests.

use crate::ports::ProcessName;
use crate::run::control::StackSnapshot;
use crate::run::news::News;
use crate::run::reason::{
    Blocker, BlockerState, CheckFailure, LeftBehind, Reason, UnitRef, WaitingFor,
};
use crate::run::snapshot::{
    Cause, DesiredSnapshot, Exit, Phase, PortSnapshot, PortState, ServiceSnapshot, Wanted,
};
use crate::spec::model::Condition;
use crate::support::name::{PortName, ProjectName, ServiceName, UnitId};
use crate::support::protocol::Protocol;

pub(crate) fn name(text: &str) -> ServiceName {
    ServiceName::new(text).unwrap()
}

/// The only replica of a service.
pub(crate) fn unit(text: &str) -> UnitId {
    UnitId::first(name(text))
}

/// One of several replicas of a service.
pub(crate) fn replica(text: &str, replica: u32) -> UnitId {
    UnitId {
        replica,
        ..unit(text)
    }
}

/// A service that nobody has asked for yet.
pub(crate) fn service(text: &str) -> ServiceSnapshot {
    ServiceSnapshot {
        service: name(text),
        replica: 1,
        replicas: 1,
        desired: DesiredSnapshot {
            wanted: Wanted::Running,
            generation: 1,
            cause: Cause::Up,
        },
        generation: 1,
        is_executed: false,
        phase: Phase::Pending,
        since: 0,
        pid: None,
        started_at: None,
        ready_at: None,
        exit: None,
        attempt: 0,
        restarts: None,
        failures: 0,
        waiting_for: Vec::new(),
        reason: None,
        next_run: None,
        next_attempt_at: None,
        kill_at: None,
        is_one_shot: false,
        has_readiness: true,
        is_attached: true,
        ports: Vec::new(),
    }
}

pub(crate) fn port(number: u16) -> PortSnapshot {
    PortSnapshot {
        protocol: Protocol::Tcp,
        name: PortName::new("PORT").unwrap(),
        port: number,
        state: PortState::Held,
        address: format!("http://localhost:{number}/"),
    }
}

pub(crate) fn waiting(text: &str, unmet: &[&str]) -> ServiceSnapshot {
    ServiceSnapshot {
        phase: Phase::Waiting,
        waiting_for: unmet.iter().map(|&unmet| healthy_soon(unmet)).collect(),
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

/// How a reason names the only replica of a service.
pub(crate) fn unit_ref(text: &str) -> UnitRef {
    UnitRef {
        service: name(text),
        replica: 1,
        replicas: 1,
    }
}

pub(crate) fn healthy_soon(text: &str) -> WaitingFor {
    WaitingFor {
        unit: unit_ref(text),
        condition: Condition::Healthy,
        port: None,
    }
}

/// `exited with code 1`.
pub(crate) fn exited() -> Reason {
    Reason::Ended {
        exit: Exit::Code(1),
        trouble: None,
        left: None,
    }
}

/// A server in the background, and one more.
pub(crate) fn left_behind() -> News {
    News::LeftBehind(LeftBehind {
        processes: 2,
        named: vec![ProcessName {
            pid: 413,
            command: "redis-server *:6379".to_owned(),
        }],
    })
}

/// `not started: migrate exited with code 1`.
pub(crate) fn not_started(text: &str) -> Reason {
    behind(unit_ref(text), exited())
}

/// Not started, because a dependency failed with this reason.
pub(crate) fn behind(unit: UnitRef, reason: Reason) -> Reason {
    Reason::NotStarted {
        because: Box::new(Blocker {
            unit,
            state: BlockerState::Failed { reason },
        }),
    }
}

/// `HTTP 503 Service Unavailable from /health`.
pub(crate) fn unavailable() -> Reason {
    Reason::Check {
        failure: CheckFailure::Status {
            status: 503,
            path: "/health".to_owned(),
        },
    }
}

pub(crate) fn failed(text: &str, attempt: u32, reason: Reason) -> ServiceSnapshot {
    ServiceSnapshot {
        phase: Phase::Failed,
        attempt,
        exit: (attempt > 0).then_some(Exit::Code(1)),
        reason: Some(reason),
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
        arguments: crate::plan::Arguments::default(),
        fingerprint: String::new(),
        contents: crate::plan::Contents::default(),
        guardian_pid: 10,
        supervisor_pid: 11,
        started_at: 0,
        is_detached: false,
        is_draining: false,
        is_suspended: false,
        usage: None,
        values: Vec::new(),
        services,
    }
}

/// A terminal in memory, which knows what the printer uses: line ends, carriage returns, moving up
/// and down, clearing a line and all below. Colour is ignored; any other sequence is a panic.
pub(crate) struct Screen {
    pub(crate) columns: usize,
    rows: Vec<Vec<char>>,
    row: usize,
    column: usize,
}

impl Screen {
    pub(crate) fn new(columns: usize) -> Self {
        Self {
            columns,
            rows: vec![Vec::new()],
            row: 0,
            column: 0,
        }
    }

    /// What can be read on it.
    pub(crate) fn text(&self) -> String {
        let rows: Vec<String> = self
            .rows
            .iter()
            .map(|row| row.iter().collect::<String>().trim_end().to_owned())
            .collect();
        rows.join("\n").trim_end().to_owned()
    }

    /// Makes it narrower, as terminals do that wrap what they show anew. The cursor stays behind
    /// the text that it was behind.
    pub(crate) fn shrink(&mut self, columns: usize) {
        let mut rows = Vec::new();
        for (place, row) in std::mem::take(&mut self.rows).into_iter().enumerate() {
            let is_cursor_here = place == self.row;
            if row.is_empty() {
                rows.push(Vec::new());
            }
            rows.extend(row.chunks(columns).map(<[char]>::to_vec));
            if is_cursor_here {
                self.row = rows.len() - 1;
                self.column = rows[self.row].len();
                // Only what stands above the cursor matters here.
                break;
            }
        }
        self.columns = columns;
        self.rows = rows;
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let text = std::str::from_utf8(bytes).unwrap();
        let mut rest = text;
        while let Some(character) = rest.chars().next() {
            rest = &rest[character.len_utf8()..];
            match character {
                '\n' => {
                    // The terminal's driver makes both of it.
                    self.column = 0;
                    self.down(1);
                }
                '\r' => self.column = 0,
                '\x1b' => {
                    let sequence = rest.strip_prefix('[').unwrap();
                    let end = sequence.find(|c: char| c.is_ascii_alphabetic()).unwrap();
                    let count = sequence[..end].parse().unwrap_or(1);
                    match &sequence[end..=end] {
                        "A" => self.row = self.row.saturating_sub(count),
                        "B" => self.down(count),
                        "K" => self.rows[self.row].clear(),
                        "J" => {
                            let kept = self.column;
                            self.rows[self.row].truncate(kept);
                            self.rows.truncate(self.row + 1);
                        }
                        "m" => {}
                        other => panic!("unexpected sequence {other}"),
                    }
                    rest = &sequence[end + 1..];
                }
                other => {
                    assert!(self.column < self.columns, "wraps: {}", self.text());
                    let row = &mut self.rows[self.row];
                    if row.len() <= self.column {
                        row.resize(self.column + 1, ' ');
                    }
                    row[self.column] = other;
                    self.column += 1;
                }
            }
        }
    }

    fn down(&mut self, count: usize) {
        self.row += count;
        if self.rows.len() <= self.row {
            self.rows.resize(self.row + 1, Vec::new());
        }
    }
}
