//! The supervisor's process: the runtime, the supervisor, the control socket. It has no terminal;
//! what it says goes to its log.

use nix::sys::resource::{Resource, getrlimit};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use super::note::Note;
use super::prepare::Prepared;
use crate::api::server;
use crate::cli::exit::{ExitCode, Stop};
use crate::cli::logging::OwnLog;
use crate::cli::printer::{self, Roster};
use crate::cli::style::Palette;
use crate::plan::model::UnitPlan;
use crate::ports::original_soft_limit;
use crate::run::Group;
use crate::run::home::Home;
use crate::run::launch::Seat;
use crate::run::link::LastWord;
use crate::run::news::Event;
use crate::run::supervisor::{Options, Outcome, Parts, Supervisor};
use crate::support::name::UnitId;

/// Runs the supervisor to its end, and tells the client how it ended.
pub(super) fn supervise(
    prepared: Prepared,
    seat: Seat,
    options: Options,
    is_verbose: bool,
) -> Result<ExitCode, Stop> {
    end_on_panic();
    let client = seat.link();
    let begin = || {
        // Whatever the directory is called later, what is in it is found.
        std::env::set_current_dir(&prepared.instance.project_dir)?;
        super::super::runtime()
    };
    let outcome = begin().map_err(Stop::from).and_then(|runtime| {
        let log = OwnLog::new(prepared.instance.from_within().supervisor_log_path());
        log.trace(is_verbose);
        let local = LocalSet::new();
        local.block_on(&runtime, run(prepared, seat, options, log))
    });
    let word = match &outcome {
        Ok(code) => LastWord::Ended(code.number()),
        Err(stop) => LastWord::Failed(stop.message.clone()),
    };
    if let Ok(client) = client {
        word.say(&client);
    }
    outcome
}

/// Makes a panic anywhere in this process its end, so that the guardian stops what it started. Of a
/// task that panics alone nobody would hear, and a supervisor would be left that reads no output or
/// answers nobody. (Where panics abort anyway, this changes nothing.)
fn end_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

async fn run(
    mut prepared: Prepared,
    seat: Seat,
    options: Options,
    log: OwnLog,
) -> Result<ExitCode, Stop> {
    let instance = prepared.instance.from_within();
    let is_noted = prepared.allocation.noted.is_some() || prepared.allocation.holds.is_empty();
    let note = Note::new(&prepared.ledger, &prepared.owner, &prepared.plan);
    let noting = (!is_noted).then(|| tokio::task::spawn_local(note.write_later()));
    let units: Vec<UnitId> = prepared.plan.units.iter().map(UnitPlan::id).collect();
    let guardian_pid = seat.guardian_pid();
    let (wanted_tx, wanted_rx) = mpsc::unbounded_channel();
    let (project_dir, dotenv) = (
        prepared.plan.project_dir.clone(),
        prepared.plan.dotenv.clone(),
    );
    let file = prepared.plan.file.clone();
    let run_id = prepared.run_id();
    let holder = prepared.instance.holder_of(
        (&file, prepared.is_named),
        &run_id,
        &prepared.socket,
        (guardian_pid, nix::unistd::getpid().as_raw()),
    );
    // Before there is anything that is to be found by it: a process, or a control group.
    prepared.lock.describe(&holder)?;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    let (supervisor, controller) = Supervisor::prepare(Parts {
        plan: prepared.plan,
        requested: prepared.requested,
        holds: prepared.allocation.holds,
        released: prepared.allocation.released,
        ledger: prepared.ledger,
        owner: prepared.owner,
        instance: instance.clone(),
        leases: prepared.leases,
        group: Group::make(&instance.id, &run_id),
        seat,
        options,
        run: prepared.run,
        file_limit: (original_soft_limit().unwrap_or(soft), hard),
        wanted_tx,
    })?;
    let (end_tx, end_rx) = oneshot::channel::<()>();
    let (listener_tx, listener_rx) = mpsc::unbounded_channel();
    // The server has the other end.
    drop(listener_tx.send(prepared.listener));
    let lock = (prepared.lock, holder);
    let home = Home::new(
        instance,
        &project_dir,
        lock,
        &prepared.socket,
        dotenv,
        prepared.registry,
        listener_tx,
    );
    let home = tokio::task::spawn_local(home.keep(wanted_rx, controller.clone()));
    let serving = tokio::task::spawn_local(server::serve(listener_rx, controller.clone(), async {
        drop(end_rx.await);
    }));
    // Before anything can happen, so that nothing is missed.
    let event_rx = controller.event_tx.subscribe();
    let noting_down = tokio::task::spawn_local(note_down(event_rx, units, log));
    drop(controller);
    let outcome = supervisor.run().await?;
    if let Some(noting) = noting {
        noting.abort();
    }
    drop(end_tx);
    drop(noting_down.await);
    drop(serving.await);
    if let Ok(home) = home.await {
        home.leave(outcome.is_anything_left);
    }
    Ok(exit_code(&outcome))
}

/// Writes what the supervisor says of itself to its log, until it ends.
async fn note_down(mut event_rx: Receiver<Event>, units: Vec<UnitId>, log: OwnLog) {
    let roster = Roster::new(&units);
    loop {
        match event_rx.recv().await {
            Ok(Event::Notice(notice)) => {
                printer::say(&printer::notice(Palette::MONOCHROME, &roster, &notice));
                log.was_written();
            }
            Ok(Event::Service(_)) | Err(RecvError::Lagged(_)) => {}
            Ok(Event::Ended { .. }) | Err(RecvError::Closed) => return,
        }
    }
}

fn exit_code(outcome: &Outcome) -> ExitCode {
    if outcome.is_anything_left || outcome.is_homeless {
        return ExitCode::Failed;
    }
    if let Some(exit) = outcome.exit {
        return exit.into();
    }
    match outcome.signal {
        Some(nix::libc::SIGINT) => ExitCode::Interrupted,
        Some(_) => ExitCode::Terminated,
        None if outcome.failed.is_empty() => ExitCode::Done,
        None => ExitCode::Failed,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    /// Set in the process that is to panic: this test, run again.
    const MARK: &str = "STACK_TEST_PANIC_IN_A_TASK";

    #[test]
    fn a_panic_in_a_task_ends_the_whole_process() {
        if std::env::var_os(MARK).is_some() {
            end_on_panic();
            let runtime = crate::run::launch::runtime().unwrap();
            let local = LocalSet::new();
            local.block_on(&runtime, async {
                let task = tokio::task::spawn_local(async { panic!("in a task") });
                drop(task.await);
            });
            return;
        }
        let name = std::thread::current().name().unwrap().to_owned();
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &name, "--nocapture"])
            .env(MARK, "1")
            .output()
            .unwrap();
        assert_eq!(output.status.signal(), Some(nix::libc::SIGABRT));
    }
}
