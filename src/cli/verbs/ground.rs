//! What there is to speak to: a running supervisor, or what the last one left.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Context;
use crate::api::client::{ANSWER_DEADLINE, Client, ClientError};
use crate::cli::exit::{ExitCode, Stop};
use crate::cli::invocation::Invocation;
use crate::cli::printer;
use crate::dotenv::quote;
use crate::run::control::StackSnapshot;
use crate::run::instance::{Holder, Instance, holders_in};
use crate::run::leftovers::{self, Leftovers, Orphans, Reaper};
use crate::run::reason::Reason;
use crate::run::registry::{Stray, strays};
use crate::run::snapshot::Phase;
use crate::support::duration;
use crate::support::fs::{below, read_private};
use crate::support::name::{ServiceName, UnitId};
use crate::support::text;

/// How often a supervisor that is just starting or ending is looked at.
const PAUSE: Duration = Duration::from_millis(20);

/// After how long it is said whom a command waits for.
pub(super) const TOLD_AFTER: Duration = Duration::from_secs(1);

/// What is known of the stack.
pub(super) enum Seen {
    /// It runs.
    Running(Box<StackSnapshot>),
    /// It has ended; this is how.
    Past(Box<StackSnapshot>),
}

impl Seen {
    pub(super) fn snapshot(&self) -> &StackSnapshot {
        match self {
            Self::Running(snapshot) | Self::Past(snapshot) => snapshot,
        }
    }
}

/// A guardian does nothing though its supervisor was killed.
pub(super) fn suspended(holder: &Holder) -> Stop {
    let pid = holder.guardian_pid;
    Stop::new(
        ExitCode::NotAnswering,
        format!(
            "the guardian of this stack (pid {pid}) is suspended while it stops the services of a \
             supervisor that was killed"
        ),
        Some(&format!("`kill -CONT {pid}` lets it go on")),
    )
}

impl Context<'_> {
    /// A client for the supervisor, which has answered.
    ///
    /// One that holds the lock but has no socket is just starting or ending: it is waited for.
    pub(super) async fn supervisor(&self) -> Result<Client, ClientError> {
        let deadline = Instant::now() + ANSWER_DEADLINE;
        loop {
            if let Some(holder) = self.instance.holder() {
                let is_being_cleaned_up = holder.is_being_cleaned_up();
                let client = Client::new(holder.socket);
                match client.version().await {
                    Ok(_) => return Ok(client),
                    // Its supervisor was killed, and its guardian stops everything: nobody is going
                    // to answer, however long that takes.
                    Err(ClientError::NotRunning) if is_being_cleaned_up => {
                        return Err(ClientError::NotRunning);
                    }
                    Err(ClientError::NotRunning | ClientError::Closed) => {}
                    Err(other) => return Err(other),
                }
            } else if !self.instance.is_locked() {
                return Err(ClientError::NotRunning);
            }
            if Instant::now() >= deadline {
                return Err(ClientError::NotAnswering {
                    after: ANSWER_DEADLINE,
                });
            }
            sleep(PAUSE).await;
        }
    }

    /// The state of everything: from the supervisor, else as the last one left it.
    pub(super) async fn look(&self) -> Result<Seen, Stop> {
        let answer = match self.supervisor().await {
            Ok(client) => client.stack().await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(snapshot) => Ok(Seen::Running(Box::new(snapshot))),
            // It may have ended between the two calls.
            Err(ClientError::NotRunning | ClientError::Closed) => match self.past()? {
                Some(snapshot) => Ok(Seen::Past(Box::new(snapshot))),
                None => Err(ClientError::NotRunning.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Says that the file has changed since, if it has.
    pub(super) fn tell_of_changes(&mut self, stack: &StackSnapshot) {
        if !stack.is_draining && (self.has_changed)(stack) {
            let message = "note: the file has changed; `stack up` applies it";
            self.output.message(message);
        }
    }

    /// The last values, with a warning when nothing runs.
    pub(super) async fn look_with_warning(&mut self) -> Result<StackSnapshot, Stop> {
        match self.look().await? {
            Seen::Running(snapshot) => Ok(*snapshot),
            Seen::Past(snapshot) => {
                let is_left = snapshot.services.iter().any(|s| s.phase.is_alive());
                self.output.message(if is_left {
                    "warning: the supervisor was killed, and what it started runs on; these are \
                     the last values"
                } else {
                    "warning: nothing is running here; these are the last values"
                });
                Ok(*snapshot)
            }
        }
    }

    /// What still runs though the supervisor was killed, and in which phase that is: a guardian that is
    /// at work has the lock, and stops it; without one it runs on.
    fn left_running(&self) -> (HashMap<UnitId, i32>, Phase) {
        let running = || leftovers::running(&self.instance.lease_path());
        match self.instance.holder() {
            Some(holder) if holder.is_being_cleaned_up() => (running(), Phase::Stopping),
            _ if self.instance.is_locked() => (HashMap::new(), Phase::Stopped),
            _ => (running(), Phase::Running),
        }
    }

    fn past(&self) -> Result<Option<StackSnapshot>, Stop> {
        let left = left_behind(self.instance).map_err(|error| {
            let path = self.instance.last_path();
            let reason = text::io_reason(&error);
            let message = format!("cannot read `{}`: {reason}", path.display());
            Stop::new(ExitCode::Failed, message, None)
        })?;
        Ok(left.map(|stack| {
            let (running, phase) = self.left_running();
            ended(stack, &running, phase)
        }))
    }

    /// The error about a service that is none of `known`.
    pub(super) fn unknown_service<'n>(
        &self,
        name: &ServiceName,
        known: impl IntoIterator<Item = &'n ServiceName>,
    ) -> Stop {
        if let Some(Some(profile)) = self.in_file.get(name) {
            return Stop::usage(
                format!(
                    "service `{name}` is not in this stack: its profile `{profile}` is not active"
                ),
                format!("`stack up {name}` starts it, and so does `stack --profile {profile} up`"),
            );
        }
        if self.in_file.contains_key(name) {
            return Stop::usage(
                format!("service `{name}` is in the file, but not in this stack"),
                "`stack up` takes it in, unless its `replicas` is 0",
            );
        }
        let known = known.into_iter().map(ServiceName::as_str);
        let hint = match text::nearest(name.as_str(), known) {
            Some(near) => text::meant_service(name.as_str(), near),
            None => "`stack ps` lists the services".to_owned(),
        };
        Stop::usage(format!("there is no service `{name}`"), hint)
    }
}

/// What the last supervisor said at its end, if it has written that.
pub(super) fn left_behind(instance: &Instance) -> io::Result<Option<StackSnapshot>> {
    match read_private(&instance.last_path()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => {
            let mut stack: StackSnapshot = serde_json::from_slice(&read?)?;
            // A repository that was cloned may have brought the file: nothing that a loader or a shell
            // obeys.
            stack
                .values
                .retain(|(key, value)| quote::line(key, value).is_ok());
            Ok(Some(stack))
        }
    }
}

/// That this stack runs although the lock at its path is free, if it does, or that another user may
/// run it.
pub(super) fn hidden(instance: &Instance) -> Option<String> {
    if instance.is_locked() {
        return None;
    }
    let Some(holder) = instance.hidden_holder() else {
        return foreign(instance);
    };
    let pid = holder.supervisor_pid;
    Some(format!(
        "this stack is running (pid {pid}), but its files in `.stack` were removed and do not come \
         back; `stack down` stops it"
    ))
}

/// That something runs here which is another user's, if so: then nobody else can say more of it.
pub(super) fn foreign(instance: &Instance) -> Option<String> {
    let owner = instance.foreign_owner()?;
    if !instance.is_announced() || !holders_in(&instance.project_dir).is_empty() {
        return None;
    }
    let user = user_name(owner);
    let root = if owner == 0 { "" } else { " and root" };
    Some(format!(
        "a stack of {user} runs in this directory; only {user}{root} can see and stop it"
    ))
}

/// With which code a command ends that would have it run, what there is to say, and what helps.
pub(super) type Left = (ExitCode, String, &'static str);

/// That something of this stack goes on to which its files do not lead, if so.
pub(super) fn left(invocation: &Invocation, instance: &Instance) -> Option<Left> {
    let mut killed = Vec::new();
    for stray in strays(invocation.registrations(instance)) {
        match stray {
            Stray::Homeless(holder) => {
                let message = homeless(&holder);
                let hint = "`stack down` stops it; `stack up` does so first";
                return Some((ExitCode::NotAnswering, message, hint));
            }
            Stray::Killed(registration) => killed.push(registration.run),
        }
    }
    if killed.is_empty() {
        return None;
    }
    let mut orphans = leftovers::orphans().into_iter();
    let orphans = orphans.find(|it| killed.contains(&it.run) && !it.pids.is_empty())?;
    let message = on_its_own(&orphans);
    let hint = "`stack down` ends what is left of a run that was killed";
    Some((ExitCode::NotRunning, message, hint))
}

/// That a stack runs on whose directory was removed.
pub(super) fn homeless(holder: &Holder) -> String {
    format!(
        "stack `{}` (pid {}) is still running, but its directory was removed",
        holder.project, holder.supervisor_pid
    )
}

/// That processes run without a supervisor.
pub(super) fn on_its_own(orphans: &Orphans) -> String {
    let count = text::count_of(orphans.pids.len(), "process", "processes");
    let are = if orphans.pids.len() == 1 { "is" } else { "are" };
    format!(
        "{count} of stack `{}` {are} still running without a supervisor: pid {}",
        orphans.project,
        text::list(&orphans.pids)
    )
}

/// That a guardian is waited for.
pub(super) fn waiting_for_guardian(holder: &Holder) -> String {
    format!("waiting for {}", guardian_at_work(holder))
}

fn guardian_at_work(holder: &Holder) -> String {
    format!(
        "the guardian of this stack (pid {}), which stops the services of a supervisor that was killed",
        holder.guardian_pid
    )
}

/// Why a stack that has a holder cannot be spoken to, if that is so.
pub(super) fn unreachable(holder: &Holder) -> String {
    if holder.is_being_cleaned_up() {
        format!("all that runs is {}", guardian_at_work(holder))
    } else {
        let pid = holder.supervisor_pid;
        format!("the supervisor of this stack (pid {pid}) does not answer")
    }
}

/// Ends what is left, and says so if that takes longer. Blocks.
pub(super) fn reap(mut reaper: Reaper) -> Leftovers {
    loop {
        if let Some(leftovers) = reaper.step() {
            return leftovers;
        }
        if let Some(waiting) = reaper.wait_to_tell() {
            printer::say(&waiting_for_leftovers(waiting));
        }
        std::thread::sleep(leftovers::PAUSE);
    }
}

/// That processes of an earlier run are waited for.
pub(super) fn waiting_for_leftovers((count, longest): (usize, Duration)) -> String {
    format!(
        "waiting for {} of an earlier run to end, for {} at most",
        text::count_of(count, "process", "processes"),
        duration::human(longest)
    )
}

/// The name of a user, or the number of one who has none.
pub(super) fn user_name(uid: u32) -> String {
    let user = nix::unistd::User::from_uid(uid.into()).ok().flatten();
    user.map_or_else(|| format!("uid {uid}"), |user| user.name)
}

/// What runs in the same directory under other names, if anything does.
pub(super) fn others(others: &[Holder]) -> Option<String> {
    let first = &others.first()?.project;
    let names = others.iter().map(|other| format!("`{}`", other.project));
    Some(format!(
        "running in this directory under another name: {}; `stack -p {first} down` stops it",
        text::list(names)
    ))
}

/// The instance that is meant by a file, which is that of `instance`: one that runs and was started from
/// the same file when this, or the directory, had another name, is the same stack. A caller who names a
/// stack means no other.
pub(super) fn actual(invocation: &Invocation, instance: Instance) -> Instance {
    if invocation.project_name().is_some() || instance.is_locked() {
        return instance;
    }
    let others = instance.others();
    match renamed(invocation, &instance, &others) {
        Some((holder, actual)) => {
            printer::say(&format!(
                "note: this stack was started under the name `{}`",
                holder.project
            ));
            actual
        }
        None => instance,
    }
}

/// Of those who run stacks in the directory of `instance`, the one that was started from the same
/// file, without a name from the caller.
fn renamed<'h>(
    invocation: &Invocation,
    instance: &Instance,
    holders: &'h [Holder],
) -> Option<(&'h Holder, Instance)> {
    let file = below(&invocation.find().ok()?.file, &instance.project_dir);
    let mut holders = holders.iter();
    let holder = holders.find(|holder| !holder.is_named && holder.file == file)?;
    Some((holder, Instance::of(holder)?))
}

/// The state that a supervisor left, as it is now that it has gone: one that was killed could not
/// say how its services ended, but the guardian stops them. Where that was killed as well they are
/// `running` on, each with its pid; nobody has looked since how they are.
fn ended(
    mut snapshot: StackSnapshot,
    running: &HashMap<UnitId, i32>,
    phase: Phase,
) -> StackSnapshot {
    for service in &mut snapshot.services {
        // Nobody is there to begin another run.
        service.next_run = None;
        if let Some(&pid) = running.get(&service.unit()) {
            service.phase = phase;
            service.pid = Some(pid);
            service.waiting_for.clear();
            service.reason = Some(if phase == Phase::Stopping {
                Reason::SupervisorKilled
            } else {
                Reason::Orphaned
            });
        } else if !service.phase.is_at_rest() {
            service.phase = Phase::Stopped;
            service.pid = None;
            service.waiting_for.clear();
            service.reason = Some(Reason::SupervisorKilled);
        }
    }
    snapshot
}
