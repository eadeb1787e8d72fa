use super::*;
use crate::ports::ProcessName;
use crate::run::reason::UnitRef;
use crate::support::name::ServiceName;

fn unit(text: &str, replica: u32, replicas: u32) -> UnitRef {
    UnitRef {
        service: ServiceName::new(text).unwrap(),
        replica,
        replicas,
    }
}

fn taken(pid: i32, command: &str, bound_to: &str) -> PortTrouble {
    PortTrouble::Taken {
        port: 8003,
        pid,
        command: command.to_owned(),
        bound_to: bound_to.to_owned(),
    }
}

fn blocked(unit: UnitRef, state: BlockerState) -> Reason {
    Reason::NotStarted {
        because: Box::new(Blocker { unit, state }),
    }
}

fn left(processes: usize) -> LeftBehind {
    let redis = ProcessName {
        pid: 7,
        command: "redis-server *:8003".to_owned(),
    };
    LeftBehind {
        processes,
        named: vec![redis],
    }
}

fn refused(step: StartStep) -> Reason {
    let error = StartError::Refused {
        step,
        path: "/p/run".to_owned(),
        error: "permission denied".to_owned(),
    };
    Reason::NotExecuted { error }
}

fn hook(end: HookEnd, restarts: Option<u32>) -> Reason {
    Reason::NotPrepared {
        failure: HookFailure {
            time: HookTime::PreStart,
            command: "npm run build".to_owned(),
            end,
        },
        restarts,
    }
}

fn denied(error: RightsError) -> Reason {
    let error = StartError::Rights { error };
    Reason::NotExecuted { error }
}

fn too_many_files() -> Reason {
    denied(RightsError::TooMuch {
        key: "ulimits.nofile".to_owned(),
        value: "unlimited".to_owned(),
        most: 1_048_576,
        setting: "fs.nr_open".to_owned(),
    })
}

fn needs_root(key: &str, value: &str) -> Reason {
    denied(RightsError::NeedsRoot {
        key: key.to_owned(),
        value: value.to_owned(),
        present: "now".to_owned(),
    })
}

fn check(failure: CheckFailure) -> Reason {
    Reason::Check { failure }
}

#[test]
fn every_reason_has_words() {
    let one = Exit::Code(1);
    let path = || "/p/run".to_owned();
    let late = BlockerState::Late {
        limit_millis: 300_000,
        last: Some(CheckFailure::TimedOut),
    };
    let migrate = BlockerState::Failed {
        reason: Reason::Ended {
            exit: one,
            trouble: None,
            left: None,
        },
    };
    let chain = BlockerState::Failed {
        reason: blocked(unit("migrate", 1, 1), migrate),
    };
    let reasons = [
        Reason::Ended {
            exit: Exit::Signal(11),
            trouble: Some(taken(7, "nc", "::1")),
            left: None,
        },
        Reason::GaveUp {
            exit: one,
            restarts: 1,
            trouble: None,
            left: None,
        },
        Reason::Ended {
            exit: Exit::Code(0),
            trouble: None,
            left: Some(left(1)),
        },
        Reason::GaveUp {
            exit: Exit::Code(0),
            restarts: 5,
            trouble: None,
            left: Some(left(7)),
        },
        blocked(unit("api", 2, 3), chain),
        blocked(unit("db", 1, 1), BlockerState::Ended),
        blocked(unit("db", 1, 1), BlockerState::Stopped),
        blocked(unit("db", 1, 1), BlockerState::Unhealthy { last: None }),
        blocked(unit("db", 1, 1), late),
        blocked(
            unit("db", 1, 1),
            BlockerState::NotReady {
                trouble: PortTrouble::Elsewhere {
                    port: 8003,
                    listens_on: vec![5173, 5174],
                },
            },
        ),
        Reason::Unkillable { pid: Some(7) },
        Reason::Unkillable { pid: None },
        Reason::Killed,
        Reason::Preparing {
            step: "pulling".to_owned(),
            percent: Some(34),
        },
        Reason::Hook {
            time: HookTime::PreStop,
            command: "./drain".to_owned(),
        },
        Reason::Status {
            text: "serving 12 clients".to_owned(),
        },
        hook(HookEnd::Exited { exit: one }, None),
        hook(
            HookEnd::TimedOut {
                limit_millis: 300_000,
            },
            Some(1),
        ),
        hook(
            HookEnd::NotExecuted {
                error: StartError::NotFound { name: path() },
            },
            Some(3),
        ),
        Reason::NotExecuted {
            error: StartError::Hook {
                time: HookTime::PreStart,
                error: Box::new(StartError::NotFound { name: path() }),
            },
        },
        Reason::SupervisorKilled,
        Reason::Orphaned,
        Reason::NotExecuted {
            error: StartError::NoDirectory { path: path() },
        },
        Reason::NotExecuted {
            error: StartError::NotFound { name: path() },
        },
        Reason::NotExecuted {
            error: StartError::NotExecutable { path: path() },
        },
        Reason::NotExecuted {
            error: StartError::VariableTooLong {
                name: "CERTIFICATES".to_owned(),
                bytes: 140_013,
            },
        },
        Reason::NotExecuted {
            error: StartError::NoInterpreter { path: path() },
        },
        refused(StartStep::Pipe),
        refused(StartStep::Process),
        refused(StartStep::Prepare),
        refused(StartStep::Files),
        denied(RightsError::NoUser { name: path() }),
        denied(RightsError::NoGroup { name: path() }),
        needs_root("user", "web"),
        needs_root("nice", "-5"),
        needs_root("ulimits.nofile", "unlimited"),
        too_many_files(),
        refused(StartStep::Limits),
        refused(StartStep::Nice),
        refused(StartStep::OomScoreAdj),
        refused(StartStep::User),
        refused(StartStep::Directory),
        refused(StartStep::Execute),
        refused(StartStep::Notify),
        check(CheckFailure::TimedOut),
        check(CheckFailure::Exited {
            exit: one,
            last_line: Some("no route".to_owned()),
        }),
        check(CheckFailure::Exited {
            exit: one,
            last_line: None,
        }),
        check(CheckFailure::NotPrinted {
            pattern: "ready in [0-9]+".to_owned(),
        }),
        check(CheckFailure::NotReady),
        check(CheckFailure::Reloading),
        check(CheckFailure::Stopping),
        check(CheckFailure::Watchdog {
            limit_millis: 30_000,
        }),
        check(CheckFailure::NotListening {
            unit: None,
            port: 8003,
        }),
        check(CheckFailure::NotListening {
            unit: Some(unit("db", 1, 1)),
            port: 8003,
        }),
        check(CheckFailure::Stranger {
            port: 5432,
            bound_to: "127.0.0.1".to_owned(),
            process: left(1).named.pop(),
        }),
        check(CheckFailure::Stranger {
            port: 5432,
            bound_to: "::".to_owned(),
            process: None,
        }),
        check(CheckFailure::NoConnection {
            address: "127.0.0.1".to_owned(),
            port: 8003,
            error: "refused".to_owned(),
        }),
        check(CheckFailure::NoHttp {
            port: 8003,
            error: "invalid version".to_owned(),
        }),
        check(CheckFailure::Status {
            status: 503,
            path: "/health".to_owned(),
        }),
        check(CheckFailure::Status {
            status: 599,
            path: "/health".to_owned(),
        }),
        check(CheckFailure::Port {
            trouble: taken(7, "", ""),
        }),
        check(CheckFailure::Port {
            trouble: taken(0, "", "127.0.0.1"),
        }),
        check(CheckFailure::Port {
            trouble: PortTrouble::KeptOut { port: 8003 },
        }),
        check(CheckFailure::Port {
            trouble: PortTrouble::Leftover { port: 8003 },
        }),
        check(CheckFailure::Port {
            trouble: PortTrouble::NoListener {
                port: 8003,
                error: "busy".to_owned(),
            },
        }),
    ];
    let text: Vec<String> = reasons.iter().map(reason).collect();
    insta::assert_snapshot!(text.join("\n"));
}
