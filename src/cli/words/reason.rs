//! Why a unit is where it is, in words. Every function gives a lowercase fragment on one line.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::behind;
use crate::run::reason::{
    Blocker, BlockerState, CheckFailure, HookEnd, HookFailure, LeftBehind, PortTrouble, Reason,
    RightsError, StartError, StartStep, WaitingFor,
};
use crate::run::snapshot::Exit;
use crate::spec::model::{Condition, HookTime, word_of};
use crate::support::duration;
use crate::support::text::{count_of, list};

/// `exited with code 1: port 8003 was taken by …`.
pub(crate) fn reason(reason: &Reason) -> String {
    match reason {
        Reason::Ended {
            exit,
            trouble,
            left,
        } => ended(*exit, trouble.as_ref(), left.as_ref()),
        Reason::GaveUp {
            exit,
            restarts,
            trouble,
            left,
        } => format!(
            "{}; gave up after {}",
            ended(*exit, trouble.as_ref(), left.as_ref()),
            count_of(*restarts as usize, "restart", "restarts"),
        ),
        Reason::NotExecuted { error } => start_error(error),
        Reason::NotPrepared { failure, restarts } => {
            let restarts = restarts.map(|it| count_of(it as usize, "restart", "restarts"));
            format!(
                "{}{}",
                hook_failure(failure),
                behind("; gave up after ", restarts)
            )
        }
        Reason::NotStarted { because } => format!("not started: {}", blocker(because)),
        Reason::NotApplied { because } => {
            format!("its changes were not applied: {}", blocker(because))
        }
        Reason::Unkillable { pid: Some(pid) } => format!("pid {pid} did not end after SIGKILL"),
        Reason::Unkillable { pid: None } => "a process of it did not end after SIGKILL".to_owned(),
        Reason::Killed => "did not stop in time and was killed".to_owned(),
        Reason::Check { failure } => check_failure(failure),
        Reason::Hook { time, command } => {
            format!("`{}` ({command})", word_of(&HookTime::WORDS, time))
        }
        Reason::Status { text } => text.clone(),
        Reason::Preparing { step, percent } => {
            let percent = percent.map(|percent| format!("{percent} %"));
            format!("{step}{}", behind(" ", percent))
        }
        Reason::SupervisorKilled => "the supervisor was killed".to_owned(),
        Reason::Orphaned => {
            "runs on without a supervisor; `stack up` or `stack down` ends it".to_owned()
        }
    }
}

/// `pre_start (npm ci) exited with code 1`.
pub(crate) fn hook_failure(failure: &HookFailure) -> String {
    let how = match &failure.end {
        HookEnd::Exited { exit: how } => exit(*how),
        HookEnd::TimedOut { limit_millis } => format!(
            "was killed after {}",
            duration::human(Duration::from_millis(*limit_millis))
        ),
        HookEnd::NotExecuted { error } => format!("was not executed: {}", start_error(error)),
    };
    let time = word_of(&HookTime::WORDS, &failure.time);
    format!("`{time}` ({}) {how}", failure.command)
}

/// `exited with code 1`, `killed by SIGSEGV`.
pub(crate) fn exit(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exited with code {code}"),
        Exit::Signal(signal) => format!("killed by {}", signal_name(signal)),
    }
}

/// `SIGSEGV`, or `signal 35` for those without a name.
pub(crate) fn signal_name(signal: i32) -> String {
    Signal::try_from(signal).map_or_else(
        |_| format!("signal {signal}"),
        |signal| signal.as_str().to_owned(),
    )
}

fn ended(how: Exit, trouble: Option<&PortTrouble>, left: Option<&LeftBehind>) -> String {
    let how = exit(how);
    match left {
        Some(left) => format!(
            "put itself in the background: it {how} and left {}; keep it in the foreground, without \
             `&`, `--daemonize` and the like",
            processes(left, 1)
        ),
        None => how + &behind(": ", trouble.map(port_trouble)),
    }
}

/// `pid 12 (redis-server), pid 13 (tail -f log) and 2 more`, naming at most so many.
pub(super) fn processes(left: &LeftBehind, most: usize) -> String {
    let named = &left.named[..left.named.len().min(most)];
    let names = named
        .iter()
        .map(|it| format!("pid {} ({})", it.pid, it.command));
    let names = list(names);
    match left.processes.saturating_sub(named.len()) {
        0 => names,
        more if names.is_empty() => count_of(more, "process", "processes"),
        more => format!("{names} and {more} more"),
    }
}

/// `db to be healthy`.
pub(crate) fn waiting_for(waiting: &WaitingFor) -> String {
    if let Some(port) = waiting.port {
        return format!("{} to release port {port}", waiting.unit.label());
    }
    let what = match waiting.condition {
        Condition::Started => "start",
        Condition::Healthy => "be healthy",
        Condition::CompletedSuccessfully => "complete",
    };
    format!("{} to {what}", waiting.unit.label())
}

/// `migrate exited with code 1`, one link of a chain with all that it hangs on.
pub(crate) fn blocker(blocker: &Blocker) -> String {
    let name = blocker.unit.label();
    let because = |last: &Option<CheckFailure>| behind(": ", last.as_ref().map(check_failure));
    match &blocker.state {
        BlockerState::Failed { reason: why } => format!("{name} {}", reason(why)),
        BlockerState::Ended => format!("{name} has ended"),
        BlockerState::Stopped => format!("{name} was stopped"),
        BlockerState::Unhealthy { last } => format!("{name} is unhealthy{}", because(last)),
        BlockerState::Late { limit_millis, last } => format!(
            "{name} was not healthy {} after its start{}",
            duration::human(Duration::from_millis(*limit_millis)),
            because(last),
        ),
        BlockerState::NotReady { trouble } => {
            format!("{name} is not ready: {}", port_trouble(trouble))
        }
    }
}

/// What is wrong with a port: `it listens on 5173 instead of 8003`.
pub(crate) fn port_trouble(trouble: &PortTrouble) -> String {
    match trouble {
        PortTrouble::Taken {
            port,
            pid,
            command,
            bound_to,
        } => {
            let place = match bound_to.as_str() {
                "" => String::new(),
                address => format!(" on {address}"),
            };
            match (pid, command.as_str()) {
                (0, "") => {
                    format!("port {port} was taken by a process that cannot be seen{place}")
                }
                (0, command) => format!("port {port} was taken by {command}{place}"),
                (pid, "") => format!("port {port} was taken by another process{place}: pid {pid}"),
                (pid, command) => format!(
                    "port {port} was taken by another process{place}: pid {pid} ({command})"
                ),
            }
        }
        PortTrouble::Elsewhere { port, listens_on } => {
            format!("it listens on {} instead of {port}", list(listens_on))
        }
        PortTrouble::KeptOut { port } => format!(
            "it cannot bind port {port} while the port is held for it; if its server does not set \
             SO_REUSEADDR, write `handoff: release`"
        ),
        PortTrouble::InUse {
            address,
            port,
            pid,
            command,
            own,
        } => {
            let who = match (pid, command.as_str()) {
                (0, _) => String::new(),
                (pid, "") => format!(", which pid {pid} has"),
                (pid, command) => format!(", which pid {pid} ({command}) has"),
            };
            let tried = match address.as_str() {
                "" => port.to_string(),
                address if address.contains(':') => format!("[{address}]:{port}"),
                address => format!("{address}:{port}"),
            };
            if own.contains(port) {
                let who = if who.is_empty() {
                    ", though nobody else was seen there"
                } else {
                    &who
                };
                format!("address already in use: its own port {tried}{who}")
            } else {
                let own = own_ports(own);
                format!("address already in use, but not {own}: it tried {tried}{who}")
            }
        }
        PortTrouble::InUseSomewhere { own } => format!(
            "address already in use, but not {}, on which nobody was in its way: it tried another \
             address and does not say which",
            own_ports(own)
        ),
        PortTrouble::Leftover { port } => {
            format!("port {port} cannot be bound yet: closed connections still keep it")
        }
        PortTrouble::NoListener { port, error } => {
            format!("port {port} cannot be listened on: {error}")
        }
    }
}

/// `its own port 8003`, `its own ports 8003, 8004`.
fn own_ports(own: &[u16]) -> String {
    let word = if own.len() == 1 { "port" } else { "ports" };
    format!("its own {word} {}", list(own))
}

/// Why a program could not be executed.
pub(crate) fn start_error(error: &StartError) -> String {
    match error {
        StartError::NoDirectory { path } => {
            format!("its working directory `{path}` does not exist")
        }
        StartError::NotFound { name } => format!("the program `{name}` is not found"),
        StartError::NotExecutable { path } => {
            format!("`{path}` is not executable; `chmod +x` makes it so")
        }
        StartError::VariableTooLong { name, bytes } => format!(
            "the variable `{name}` is {bytes} bytes long, and a program can be given less than 128 KiB"
        ),
        StartError::NoInterpreter { path } => {
            format!("`{path}` cannot be executed: the interpreter in its first line does not exist")
        }
        StartError::Refused { step, path, error } => match step {
            StartStep::Pipe => format!("no pipe could be made for its output: {error}"),
            StartStep::Process => format!("no process could be made: {error}"),
            StartStep::Prepare => format!("its process could not be prepared: {error}"),
            StartStep::Files => format!("its files could not be made: {error}"),
            StartStep::Limits => format!("its `ulimits` could not be set: {error}"),
            StartStep::Nice => format!("its `nice` value could not be set: {error}"),
            StartStep::OomScoreAdj => format!("its `oom_score_adj` could not be set: {error}"),
            StartStep::User => format!("it could not become user `{path}`: {error}"),
            StartStep::Directory => {
                format!("its working directory `{path}` cannot be used: {error}")
            }
            StartStep::Notify => {
                format!("the socket for `healthcheck.notify` could not be made: {error}")
            }
            StartStep::Execute => format!("`{path}` cannot be executed: {error}"),
        },
        StartError::Port { trouble } => port_trouble(trouble),
        StartError::Hook { time, error } => format!(
            "`{}`: {}",
            word_of(&HookTime::WORDS, time),
            start_error(error)
        ),
        StartError::Rights { error } => rights_error(error),
    }
}

/// Why a process cannot be given what its service asks for.
pub(crate) fn rights_error(error: &RightsError) -> String {
    match error {
        RightsError::NoUser { name } => format!("there is no user `{name}` on this machine"),
        RightsError::NoGroup { name } => format!("there is no group `{name}` on this machine"),
        RightsError::NeedsRoot {
            key,
            value,
            present,
        } => {
            let why = match key.as_str() {
                "user" | "group_add" => format!("`stack` runs as {present}"),
                "nice" | "oom_score_adj" => format!("it is {present} here, and can only be raised"),
                _ => format!("the hard limit here is {present}"),
            };
            format!("`{key}: {value}` needs root: {why}")
        }
        RightsError::TooMuch {
            key,
            value,
            most,
            setting,
        } => format!("`{key}: {value}` is more than this system allows: `{setting}` is {most}"),
        RightsError::Closed { user, dir } => {
            format!("user `{user}` cannot enter `{dir}`, where its files are")
        }
    }
}

/// What a health check saw.
pub(super) fn check_failure(failure: &CheckFailure) -> String {
    match failure {
        CheckFailure::TimedOut => "the check took too long".to_owned(),
        CheckFailure::Exited {
            exit: how,
            last_line,
        } => format!(
            "the check {}{}",
            exit(*how),
            behind(": ", last_line.as_ref())
        ),
        CheckFailure::NotExecuted { error } => start_error(error),
        CheckFailure::NotPrinted { pattern } => {
            format!("it has not printed a line that `{pattern}` fits")
        }
        CheckFailure::NotReady => "it has not said `READY=1` yet".to_owned(),
        CheckFailure::Reloading => "it is reloading, and has not said `READY=1` since".to_owned(),
        CheckFailure::Stopping => "it says that it is stopping".to_owned(),
        CheckFailure::Watchdog { limit_millis } => format!(
            "it has not said `WATCHDOG=1` for {}",
            duration::human(Duration::from_millis(*limit_millis))
        ),
        CheckFailure::NotListening { unit: None, port } => {
            format!("nothing listens on port {port} yet")
        }
        CheckFailure::NotListening {
            unit: Some(unit),
            port,
        } => format!("{} does not listen on port {port} yet", unit.label()),
        CheckFailure::Port { trouble } => port_trouble(trouble),
        CheckFailure::Stranger {
            port,
            bound_to,
            process,
        } => {
            let who = match process {
                Some(it) => format!("pid {} ({})", it.pid, it.command),
                None => "a process that cannot be seen".to_owned(),
            };
            format!(
                "who answers on port {port} was there before the service: {who} on {bound_to}; if that \
                 is right, write `listener: any` in its health check"
            )
        }
        CheckFailure::NoConnection {
            address,
            port,
            error,
        } => format!("no connection to {address} port {port}: {error}"),
        CheckFailure::NoHttp { port, error } => {
            format!("no HTTP answer on port {port}: {error}")
        }
        CheckFailure::Status { status, path } => {
            let name = reason_phrase(*status);
            format!("HTTP {status}{name} from {path}")
        }
    }
}

/// ` Service Unavailable`, for a status that has a name.
fn reason_phrase(status: u16) -> String {
    let status = hyper::StatusCode::from_u16(status).ok();
    let name = status.and_then(|status| status.canonical_reason());
    behind(" ", name)
}

#[cfg(test)]
mod tests;
