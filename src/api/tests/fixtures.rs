//! Messages as they are written: every file of `tests/fixtures/api` parses for ever, and gives the
//! value that stands here. A new field gets a new file; the old ones stay as they are.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fake::{name, replica, service, snapshot, target};
use crate::api::messages::{CommandReply, ErrorBody, Update, VersionInfo};
use crate::ports::ProcessName;
use crate::ports::request::PortKey;
use crate::run::control::{Command, InputReply, StackSnapshot, TerminalSize};
use crate::run::logs::{LogBlock, LogNews, Position};
use crate::run::news::News;
use crate::run::news::{Notice, NoticeLevel};
use crate::run::proposal::{Advice, ChangedField, Proposal, UnitChange, What};
use crate::run::reason::{
    Blocker, BlockerState, CheckFailure, HookEnd, HookFailure, LeftBehind, Reason, RightsError,
    StartError, UnitRef, WaitingFor,
};
use crate::run::snapshot::{
    Exit, LogStream, Phase, PortSnapshot, PortState, ServiceSnapshot, Usage,
};
use crate::spec::model::{Condition, HookTime};
use crate::support::name::{PortName, ServiceName, UnitId};
use crate::support::protocol::Protocol;

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/api")
}

/// Compares a file with a value, both ways. `STACK_WRITE_FIXTURES=1` writes files that are missing.
fn holds<T>(file: &str, value: &T)
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let path = directory().join(format!("{file}.json"));
    if !path.exists() && std::env::var_os("STACK_WRITE_FIXTURES").is_some() {
        let mut text = serde_json::to_string_pretty(value).unwrap();
        text.push('\n');
        fs_err::write(&path, text).unwrap();
    }
    let text = fs_err::read_to_string(&path).unwrap();
    let read: T = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
    assert_eq!(&read, value, "{file}");
    let written = serde_json::to_value(value).unwrap();
    let kept: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(written, kept, "{file} is written differently now");
}

fn unit_ref(text: &str) -> UnitRef {
    UnitRef {
        service: name(text),
        replica: 1,
        replicas: 1,
    }
}

fn postgres() -> Vec<ProcessName> {
    vec![ProcessName {
        pid: 4_712,
        command: "postgres -D data".to_owned(),
    }]
}

fn left(named: Vec<ProcessName>) -> LeftBehind {
    LeftBehind {
        processes: 2,
        named,
    }
}

/// A snapshot in which every optional part is there.
fn full_snapshot() -> StackSnapshot {
    let port = |name: &str, port, state| PortSnapshot {
        protocol: Protocol::Tcp,
        name: PortName::new(name).unwrap(),
        port,
        state,
        address: format!("localhost:{port}"),
    };
    let mut api = service("api", Phase::Backoff, 1_700_000_000_123);
    api.pid = Some(4_711);
    api.started_at = Some(1_700_000_000_000);
    api.ready_at = Some(1_700_000_000_100);
    api.exit = Some(Exit::Signal(9));
    api.attempt = 7;
    api.failures = 6;
    api.waiting_for = vec![WaitingFor {
        unit: unit_ref("db"),
        condition: Condition::Healthy,
        port: None,
    }];
    api.reason = Some(Reason::Ended {
        exit: Exit::Signal(9),
        trouble: None,
        left: None,
    });
    api.next_attempt_at = Some(1_700_000_003_000);
    api.kill_at = Some(1_700_000_004_000);
    api.is_one_shot = true;
    api.has_readiness = true;
    api.ports = vec![
        port("PORT", 8000, PortState::Held),
        port("METRICS", 8002, PortState::NotListening),
        port(
            "STOLEN",
            8003,
            PortState::Stolen {
                pid: 9,
                command: "nc -l 8003".to_owned(),
                bound_to: "127.0.0.1".to_owned(),
            },
        ),
        port(
            "DEBUG",
            8004,
            PortState::WrongPort {
                listens_on: vec![5_173],
            },
        ),
    ];
    let mut build = service("build", Phase::Completed, 5);
    build.exit = Some(Exit::Code(0));
    StackSnapshot {
        services: vec![build, api],
        ..snapshot()
    }
}

#[test]
fn every_message_still_reads_and_is_still_written_so() {
    let services = vec![name("web"), name("skin-ai.api")];
    let grace = Some(Duration::from_millis(2_500));
    for (file, request) in [
        (
            "command-up",
            Command::Up {
                services: services.clone(),
                no_deps: true,
            },
        ),
        (
            "command-start",
            Command::Start {
                services: services.clone(),
            },
        ),
        (
            "command-stop",
            Command::Stop {
                services: services.clone(),
                grace,
            },
        ),
        (
            "command-restart",
            Command::Restart {
                services,
                grace: None,
            },
        ),
        (
            "command-clear-logs",
            Command::ClearLogs {
                units: vec![replica("web", 2)],
            },
        ),
        (
            "command-signal",
            Command::Signal {
                units: vec![replica("web", 2)],
                signal: 1,
            },
        ),
        (
            "command-input",
            Command::Input {
                unit: replica("web", 2),
                bytes: Bytes::from_static(b"next\r\xff"),
                size: Some(TerminalSize {
                    columns: 120,
                    rows: 40,
                }),
            },
        ),
        (
            "command-resize",
            Command::Resize {
                size: TerminalSize {
                    columns: 120,
                    rows: 40,
                },
                except: vec![name("web")],
            },
        ),
        ("command-apply", Command::Apply { proposal: 7 }),
        ("command-down", Command::Down { grace }),
        ("command-kill", Command::Kill {}),
    ] {
        holds(file, &request);
    }
    for (file, units) in [
        // Without units, as it was before replicas.
        ("reply", Vec::new()),
        ("reply-units", vec![target("web", 1), target("web", 2)]),
    ] {
        holds(
            file,
            &CommandReply {
                affected: vec![name("web"), name("api")],
                units,
                warnings: Vec::new(),
                input: None,
            },
        );
    }
    holds(
        "version",
        &VersionInfo {
            api: 1,
            stack: "0.1.0".to_owned(),
        },
    );
    holds("stack", &full_snapshot());
    let used = |memory_bytes| Usage {
        cpu_micros: 12_345_678,
        memory_bytes,
    };
    for (file, usage) in [
        ("stack-usage", used(Some(41_943_040))),
        ("stack-usage-cpu", used(None)),
    ] {
        let usage = Some(usage);
        holds(
            file,
            &StackSnapshot {
                usage,
                ..snapshot()
            },
        );
    }
    for (file, hint) in [
        ("error", None),
        ("error-hint", Some("did you mean `web`?".to_owned())),
    ] {
        holds(
            file,
            &ErrorBody {
                code: "stack::api::unknown_service".to_owned(),
                message: "there is no service `wbe` in the running stack".to_owned(),
                hint,
            },
        );
    }
    for (file, update) in [
        (
            "event-snapshot",
            Update::Snapshot {
                stack: Box::new(snapshot()),
            },
        ),
        (
            "event-service",
            Update::Service(Box::new(service("web", Phase::Starting, 7))),
        ),
        (
            "event-notice",
            Update::Notice(Notice {
                service: Some(name("web")),
                replica: None,
                level: NoticeLevel::Warning,
                news: News::LeftBehind(left(Vec::new())),
            }),
        ),
        (
            "event-notice-replica",
            Update::Notice(Notice::about(
                Some(replica("web", 2)),
                NoticeLevel::Warning,
                News::LeftBehind(left(Vec::new())),
            )),
        ),
        (
            "event-notice-left",
            Update::Notice(Notice::about(
                Some(replica("web", 2)),
                NoticeLevel::Warning,
                News::LeftBehind(left(postgres())),
            )),
        ),
        (
            "event-notice-unhealthy",
            Update::Notice(Notice::about(
                Some(replica("web", 2)),
                NoticeLevel::Warning,
                News::RestartingUnhealthy {
                    last: Some(CheckFailure::TimedOut),
                },
            )),
        ),
        (
            "event-notice-input",
            Update::Notice(Notice::about(
                Some(replica("css", 1)),
                NoticeLevel::Warning,
                News::InputClosed,
            )),
        ),
        (
            "event-service-rights",
            Update::Service(Box::new(ServiceSnapshot {
                reason: Some(Reason::NotExecuted {
                    error: StartError::Rights {
                        error: RightsError::NeedsRoot {
                            key: "user".to_owned(),
                            value: "www-data".to_owned(),
                            present: "joe".to_owned(),
                        },
                    },
                }),
                ..service("web", Phase::Failed, 7)
            })),
        ),
        (
            "event-service-background",
            Update::Service(Box::new(ServiceSnapshot {
                reason: Some(Reason::Ended {
                    exit: Exit::Code(0),
                    trouble: None,
                    left: Some(left(postgres())),
                }),
                ..service("web", Phase::Failed, 7)
            })),
        ),
        (
            "event-service-stranger",
            Update::Service(Box::new(ServiceSnapshot {
                reason: Some(Reason::Check {
                    failure: CheckFailure::Stranger {
                        port: 5432,
                        bound_to: "127.0.0.1".to_owned(),
                        process: postgres().pop(),
                    },
                }),
                ..service("web", Phase::Starting, 7)
            })),
        ),
        (
            "event-service-not-prepared",
            Update::Service(Box::new(ServiceSnapshot {
                reason: Some(Reason::NotPrepared {
                    failure: hook_failure(HookEnd::Exited {
                        exit: Exit::Code(1),
                    }),
                    restarts: Some(2),
                }),
                ..service("web", Phase::Failed, 7)
            })),
        ),
        (
            "event-service-hook",
            Update::Service(Box::new(ServiceSnapshot {
                reason: Some(Reason::Hook {
                    time: HookTime::PreStart,
                    command: "npm ci".to_owned(),
                }),
                ..service("web", Phase::Starting, 7)
            })),
        ),
        (
            "event-service-status",
            Update::Service(Box::new(ServiceSnapshot {
                reason: Some(Reason::Status {
                    text: "serving".to_owned(),
                }),
                ..service("web", Phase::Healthy, 7)
            })),
        ),
        (
            "event-service-watchdog",
            Update::Service(Box::new(ServiceSnapshot {
                reason: Some(Reason::Check {
                    failure: CheckFailure::Watchdog {
                        limit_millis: 30_000,
                    },
                }),
                ..service("web", Phase::Unhealthy, 7)
            })),
        ),
        (
            "event-ended",
            Update::Ended {
                failed: vec![name("web")],
            },
        ),
        ("event-lagged", Update::Lagged { missed: 12 }),
    ] {
        holds(file, &update);
    }
}

fn hook_failure(end: HookEnd) -> HookFailure {
    HookFailure {
        time: HookTime::PostStart,
        command: "npm run warm".to_owned(),
        end,
    }
}

#[test]
fn a_proposal_still_reads_and_is_still_written_so() {
    let field = |field: &str, variable: Option<&str>| ChangedField {
        field: field.to_owned(),
        variable: variable.map(str::to_owned),
    };
    let fields = || vec![field("command", None), field("environment", Some("A"))];
    let whats = [
        What::Starts,
        What::Stops,
        What::Restarts { fields: fields() },
        What::TakesOver { fields: fields() },
        What::Stays { fields: fields() },
    ];
    let changes = whats
        .into_iter()
        .zip(1..)
        .map(|(what, replica)| UnitChange {
            service: name("web"),
            replica,
            what,
        });
    let port = PortName::new("PORT").unwrap();
    holds(
        "proposal",
        &Proposal {
            id: 7,
            changes: changes.collect(),
            ports: vec![(PortKey::new(&name("web"), 1, &port), 8000)],
            warnings: vec![Advice {
                message: "port 8000 is taken".to_owned(),
                hint: "stop what has it".to_owned(),
            }],
        },
    );
    holds(
        "proposal-kept",
        &Proposal {
            changes: vec![UnitChange {
                service: name("db"),
                replica: 1,
                what: What::Kept {
                    service: name("api"),
                },
            }],
            ..Proposal::default()
        },
    );
    let because = || Blocker {
        unit: unit_ref("db"),
        state: BlockerState::Ended,
    };
    let mut unattached = service("web", Phase::Running, 5);
    unattached.is_attached = false;
    let unattached = Update::Service(Box::new(unattached));
    holds("event-service-unattached", &unattached);
    let mut spared = service("web", Phase::Running, 5);
    spared.reason = Some(Reason::NotApplied {
        because: Box::new(because()),
    });
    holds("event-service-spared", &Update::Service(Box::new(spared)));
    let scheduled = ServiceSnapshot {
        next_run: Some(65),
        restarts: Some(0),
        exit: Some(Exit::Code(0)),
        ..service("job", Phase::Scheduled, 5)
    };
    holds(
        "event-service-scheduled",
        &Update::Service(Box::new(scheduled)),
    );
    for (file, news) in [
        (
            "event-notice-not-applied",
            News::NotApplied { because: because() },
        ),
        ("event-notice-removed", News::Removed),
        ("event-notice-took-over", News::TookOver),
        (
            "event-notice-run-missed",
            News::RunMissed {
                due: Some(1_795_000_000_000),
            },
        ),
        ("event-notice-run-left-out", News::RunMissed { due: None }),
        (
            "event-notice-changing",
            News::Changing {
                change: UnitChange {
                    service: name("web"),
                    replica: 2,
                    what: What::Restarts { fields: fields() },
                },
            },
        ),
        (
            "event-notice-stopping-after-end",
            News::StoppingAfterEnd {
                unit: unit_ref("tests"),
                is_removed: true,
            },
        ),
        (
            "event-notice-still-needed",
            News::StillNeeded {
                by: unit_ref("api"),
            },
        ),
        (
            "event-notice-hook-failed",
            News::HookFailed(hook_failure(HookEnd::TimedOut {
                limit_millis: 300_000,
            })),
        ),
    ] {
        let unit = Some(replica("web", 2));
        let notice = Notice::about(unit, NoticeLevel::Warning, news);
        holds(file, &Update::Notice(notice));
    }
}

#[test]
fn every_line_about_output_still_reads_and_is_still_written_so() {
    let position = Position {
        segment: 0,
        offset: 1_234,
    };
    let unit = replica("web", 2);
    let block = LogBlock {
        unit: unit.clone(),
        stream: LogStream::Stderr,
        time: 1_796_000_000_123_456_789,
        attempt: 3,
        bytes: b"caf\xc3\xa9\n"[..].into(),
        continues: false,
    };
    for (file, news) in [
        (
            "log-current",
            LogNews::Current {
                log_dir: "/p/shop/.stack/shop/logs".to_owned(),
            },
        ),
        (
            "log-grown",
            LogNews::Grown {
                unit: unit.clone(),
                position,
            },
        ),
        ("log-unwritten", LogNews::Unwritten { position, block }),
        (
            "log-lost",
            LogNews::Lost {
                unit,
                position,
                bytes: 42,
            },
        ),
    ] {
        holds(file, &news);
    }
}

/// `PortSnapshot` flattens its state, and both have an `address`: the object gets the key twice.
#[test]
fn a_listening_port_survives_the_wire() {
    let port = PortSnapshot {
        protocol: Protocol::Tcp,
        name: PortName::new("PORT").unwrap(),
        port: 8001,
        state: PortState::Listening {
            bound_to: "127.0.0.1".to_owned(),
            pid: 4_711,
        },
        address: "http://localhost:8001/".to_owned(),
    };
    let text = serde_json::to_string(&port).unwrap();
    assert_eq!(serde_json::from_str::<PortSnapshot>(&text).unwrap(), port);
}

#[test]
fn a_reply_to_input_says_how_much_was_taken() {
    let input = Some(InputReply {
        taken: 5,
        has_terminal: true,
    });
    holds(
        "reply-input",
        &CommandReply {
            input,
            ..CommandReply::default()
        },
    );
}

#[test]
fn the_shortest_down_is_read_for_ever() {
    holds_only("command-down-frozen", &Command::Down { grace: None });
}

/// A file in a form that is read but no longer written.
fn holds_only<T: DeserializeOwned + PartialEq + std::fmt::Debug>(file: &str, value: &T) {
    let text = fs_err::read_to_string(directory().join(format!("{file}.json"))).unwrap();
    assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), value);
}

#[test]
fn a_reader_ignores_what_a_newer_supervisor_adds() {
    let mut value = serde_json::to_value(full_snapshot()).unwrap();
    value["weather"] = "fine".into();
    value["services"][1]["mood"] = 7.into();
    let read: StackSnapshot = serde_json::from_value(value).unwrap();
    assert_eq!(read, full_snapshot());
}

fn names() -> impl Strategy<Value = Vec<ServiceName>> {
    let name = "[A-Za-z0-9][A-Za-z0-9_.-]{0,62}".prop_map(|text| name(&text));
    proptest::collection::vec(name, 0..5)
}

fn commands() -> impl Strategy<Value = Command> {
    let grace = || proptest::option::of(any::<u64>().prop_map(Duration::from_millis));
    prop_oneof![
        (names(), any::<bool>()).prop_map(|(services, no_deps)| Command::Up { services, no_deps }),
        names().prop_map(|services| Command::Start { services }),
        (names(), grace()).prop_map(|(services, grace)| Command::Stop { services, grace }),
        (names(), grace()).prop_map(|(services, grace)| Command::Restart { services, grace }),
        (names(), any::<u32>(), any::<i32>()).prop_map(|(services, replica, signal)| {
            Command::Signal {
                units: services
                    .into_iter()
                    .map(|service| UnitId { service, replica })
                    .collect(),
                signal,
            }
        }),
        ("[a-z]{1,9}", any::<u32>(), any::<Vec<u8>>()).prop_map(|(service, replica, bytes)| {
            Command::Input {
                unit: UnitId {
                    service: name(&service),
                    replica,
                },
                bytes: bytes.into(),
                size: None,
            }
        }),
        (names(), any::<u32>()).prop_map(|(services, replica)| Command::ClearLogs {
            units: services
                .into_iter()
                .map(|service| UnitId { service, replica })
                .collect(),
        }),
        grace().prop_map(|grace| Command::Down { grace }),
        Just(Command::Kill {}),
    ]
}

proptest! {
    #[test]
    fn commands_survive_the_wire(command in commands()) {
        let text = serde_json::to_string(&command).unwrap();
        prop_assert_eq!(serde_json::from_str::<Command>(&text).unwrap(), command);
    }

    #[test]
    fn updates_survive_the_wire(
        message in any::<String>(),
        output in proptest::option::of(any::<String>()),
        code in any::<i32>(),
        since in any::<u64>(),
    ) {
        let mut changed = service("web", Phase::Failed, since);
        changed.reason = Some(Reason::Check {
            failure: CheckFailure::Exited {
                exit: Exit::Code(code),
                last_line: output,
            },
        });
        changed.exit = Some(Exit::Code(code));
        let notice = Notice::about(None, NoticeLevel::Error, News::LogNotRead { error: message });
        for update in [Update::Service(Box::new(changed)), Update::Notice(notice)] {
            let text = serde_json::to_string(&update).unwrap();
            prop_assert!(!text.contains('\n'), "an update is one line");
            prop_assert_eq!(serde_json::from_str::<Update>(&text).unwrap(), update);
        }
    }
}
