//! Everything before the first process: the lock, leftovers, ports, the plan, `.env`, the socket.
//!
//! Runs in the process that was called, single-threaded, before any fork. Whatever fails here has
//! started nothing; what was written before it fails is a directory of our own.

use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use super::super::ground::{homeless, others, reap, user_name};
use crate::api::socket_path;
use crate::cli::args::UpArgs;
use crate::cli::exit::ExitCode;
use crate::cli::invocation::{Invocation, Ready, Stop, shown};
use crate::cli::printer;
use crate::dotenv;
use crate::plan::{Assignment, Draft, Plan, Requested};
use crate::ports::request::Owner;
use crate::ports::{Allocation, Batch, Ledger, allocate};
use crate::run::LeaseFile;
use crate::run::instance::{Holder, Instance, InstanceLock};
use crate::run::leftovers::{Leftovers, PAUSE, Reaper};
use crate::run::registry::{Registry, Stray, strays};
use crate::run::socket::{self, SocketError};
use crate::spec::problem::Problem;
use crate::support::escape::plain;
use crate::support::hash;
use crate::support::text;

/// A stack that is ready to be started.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) plan: Plan,
    /// How its ports were asked for.
    pub(super) requested: Requested,
    pub(super) allocation: Allocation,
    pub(super) instance: Instance,
    pub(super) lock: InstanceLock,
    pub(super) leases: LeaseFile,
    pub(super) listener: UnixListener,
    pub(super) socket: PathBuf,
    pub(super) run: u64,
    /// Whether the caller has given the stack its name.
    pub(super) is_named: bool,
    /// Who the stack is to the ledger.
    pub(super) owner: Owner,
    pub(super) ledger: Ledger,
    pub(super) registry: Registry,
    /// What to say before anything is started.
    pub(super) messages: Vec<String>,
}

impl Prepared {
    /// Starts nothing: the ports are remembered for the next time, and the `.env` has them.
    pub(super) fn put_away(self) -> ExitCode {
        for message in &self.messages {
            printer::say(message);
        }
        drop(socket::remove(&self.socket));
        self.leases.remove();
        printer::say("the ports are found and nothing was started, as `--no-start` says");
        ExitCode::Done
    }

    /// The random id of the run, as everybody is told it.
    pub(super) fn run_id(&self) -> String {
        run_id(self.run)
    }
}

fn run_id(run: u64) -> String {
    format!("{run:016x}")
}

/// Prepares a stack whose lock is held.
pub(super) fn prepare(
    invocation: &Invocation,
    ready: &Ready,
    instance: Instance,
    lock: InstanceLock,
    args: &UpArgs,
) -> Result<Prepared, Stop> {
    let mut messages = vec![ready.warnings.trim_end().to_owned()];
    // Who names copies knows that there are several.
    if invocation.project_name().is_none()
        && let Some(others) = others(&lock.others)
    {
        messages.push(format!("warning: {others}"));
    }
    if let Some(owner) = instance.foreign_owner() {
        let (user, dir) = (user_name(owner), instance.dir.display());
        messages.push(warn(
            &format!("`.stack` belongs to {user}: this stack's files are in {dir}"),
            Some("remove it, if nobody needs it"),
        ));
    }
    // Where that is refused nothing is begun: neither is anything ended, nor a file left to somebody else.
    let socket_dir = choose_socket(invocation, &instance)?;
    let socket_dir = socket_dir
        .parent()
        .filter(|it| it.starts_with(&instance.dir));
    socket_dir.map_or(Ok(()), socket::prepare_directory)?;
    reap_leftovers(invocation, &instance, &mut messages)?;
    instance.clear_out();
    let leases = instance.begin_leases()?;
    let (mut plan, allocation) = plan(invocation, &ready.draft, args, &mut messages)?;
    if plan.units.is_empty() {
        messages.push(nothing_to_run(&ready.draft));
    }
    let run = hash::random();
    for unit in &mut plan.units {
        let value = Some(run_id(run));
        unit.environment
            .changes
            .insert("STACK_RUN".to_owned(), value);
    }
    write_dotenv(&plan, &mut messages)?;
    let (owner, ledger) = (owner(&ready.draft), invocation.ledger());
    let (socket, listener) = listen(invocation, &instance)?;
    Ok(Prepared {
        plan,
        requested: ready.draft.requested(),
        allocation,
        instance,
        lock,
        leases,
        listener,
        socket,
        run,
        is_named: invocation.project_name().is_some(),
        owner,
        ledger,
        registry: invocation.registry(),
        messages,
    })
}

/// Why there is nothing to run.
fn nothing_to_run(draft: &Draft) -> String {
    if draft.spec().inactive.is_empty() {
        return "there is nothing to run: no service has a replica".to_owned();
    }
    let profiles = text::list(draft.profiles().iter().map(|name| format!("`{name}`")));
    format!("there is nothing to run: no profile is active; there are {profiles}")
}

/// Ends what a supervisor that was killed together with its guardian has left.
fn reap_leftovers(
    invocation: &Invocation,
    instance: &Instance,
    messages: &mut Vec<String>,
) -> Result<(), Stop> {
    let mut leftovers = Leftovers::default();
    for stray in strays(invocation.registrations(instance)) {
        match stray {
            Stray::Homeless(holder) => stop_homeless(&holder)?,
            Stray::Killed(registration) => {
                let left = reap(Reaper::of_registration(&registration, None));
                if left.remaining.is_empty() {
                    registration.forget();
                }
                leftovers = leftovers.and(left);
            }
        }
    }
    if let Some(reaper) = Reaper::new(&instance.id, &instance.lease_path(), None) {
        leftovers = leftovers.and(reap(reaper));
    }
    if !leftovers.remaining.is_empty() {
        let pids = text::list(&leftovers.remaining);
        return Err(Stop::new(
            ExitCode::Failed,
            format!("processes of an earlier run of this stack cannot be ended: {pids}"),
            Some("end them by hand, then try again"),
        ));
    }
    if leftovers.ended > 0 {
        let count = text::count_of(leftovers.ended, "process", "processes");
        messages.push(format!(
            "ended {count} left over from an earlier run that was killed"
        ));
    }
    Ok(())
}

/// Stops this stack where it goes on in a directory that was removed and made anew. It would do so by
/// itself, but not before it is sure.
fn stop_homeless(holder: &Holder) -> Result<(), Stop> {
    printer::say(&format!("{}: stopping it first", homeless(holder)));
    holder.ask_to_stop();
    while holder.is_alive() {
        if holder.is_guardian_suspended() || holder.is_supervisor_suspended() {
            let pid = holder.supervisor_pid;
            return Err(Stop::new(
                ExitCode::NotAnswering,
                format!("the supervisor of that stack (pid {pid}) does not end: it is suspended"),
                Some(&format!(
                    "`kill -CONT {pid} {}` lets it go on",
                    holder.guardian_pid
                )),
            ));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Allocates the ports and makes the plan.
fn plan(
    invocation: &Invocation,
    draft: &Draft,
    args: &UpArgs,
    messages: &mut Vec<String>,
) -> Result<(Plan, Allocation), Stop> {
    let mut problems = Vec::new();
    let requests = draft.requests(&mut problems);
    let owner = owner(draft);
    let batch = Batch {
        requests: &requests,
        pool: draft.pool(),
        owner: &owner,
        strict: args.strict_ports,
        fresh: args.fresh_ports,
        is_noted_later: false,
        running: None,
    };
    let allocation = allocate(&batch, &invocation.ledger())?;
    messages.extend(
        allocation
            .warnings
            .iter()
            .map(|warning| warn(&warning.to_string(), Some(warning.hint()))),
    );
    let assignment: Assignment = allocation
        .holds
        .iter()
        .map(|(key, hold)| (key.clone(), hold.port()))
        .collect();
    // The draft has told everything that does not depend on the numbers.
    let mut late = Vec::new();
    let plan = draft.finish(&assignment, &mut late);
    problems.extend(late.into_iter().filter(Problem::is_error));
    if problems.iter().any(Problem::is_error) {
        return Err(invocation.problems(&problems));
    }
    messages.push(invocation.render(&problems).trim_end().to_owned());
    Ok((plan, allocation))
}

/// Who a draft is to the ledger.
pub(crate) fn owner(draft: &Draft) -> Owner {
    Owner {
        instance: draft.instance().to_owned(),
        project: draft.project().to_string(),
        project_dir: draft.project_dir().to_path_buf(),
    }
}

/// Writes the generated file.
fn write_dotenv(plan: &Plan, messages: &mut Vec<String>) -> Result<(), Stop> {
    let Some(file) = &plan.dotenv else {
        return Ok(());
    };
    let written = dotenv::write(&file.path, &file.entries)?;
    let shown = shown(&file.path);
    messages.extend(
        written
            .warnings
            .iter()
            .map(|warning| warn(&format!("{shown}: {warning}"), warning.hint().as_deref())),
    );
    let is_new = written.changed && !file.entries.is_empty();
    if is_new && dotenv::would_git_track(&file.path) == Some(true) {
        messages.push(format!(
            "hint: git would track `{shown}`, which is generated; add it to `.gitignore`"
        ));
    }
    Ok(())
}

/// Where the control socket of an instance is.
pub(crate) fn choose_socket(invocation: &Invocation, instance: &Instance) -> Result<PathBuf, Stop> {
    let temp_dirs = temp_dirs(invocation);
    let uid = nix::unistd::getuid().as_raw();
    socket_path::choose(&instance.dir, &instance.id, uid, &temp_dirs)
        .map_err(|error| Stop::new(ExitCode::Failed, error.to_string(), None))
}

/// Where the services' sockets of an instance may be whose paths would be too long there. The control
/// socket has directories of its own, which nobody else may even pass.
pub(crate) fn socket_dirs(invocation: &Invocation) -> Vec<PathBuf> {
    let name = format!("stack-{}-s", nix::unistd::getuid());
    let temp_dirs = temp_dirs(invocation).into_iter();
    temp_dirs.map(|temp_dir| temp_dir.join(&name)).collect()
}

/// Where a control socket may be whose path would be too long beside the lock.
fn temp_dirs(invocation: &Invocation) -> Vec<PathBuf> {
    let named = ["XDG_RUNTIME_DIR", "TMPDIR"].map(|name| invocation.variable(name));
    let named = named.into_iter().flatten().map(PathBuf::from);
    named
        .filter(|path| is_safe(path))
        .chain([PathBuf::from("/tmp")])
        .collect()
}

/// Whether nobody else can take away or exchange what is made in a directory: it is ours or root's, and
/// others cannot write there, or only what is their own.
fn is_safe(directory: &Path) -> bool {
    std::fs::metadata(directory).is_ok_and(|there| {
        let is_trusted = [0, nix::unistd::geteuid().as_raw()].contains(&there.uid());
        let is_closed = there.mode() & 0o022 == 0 || there.mode() & 0o1000 != 0;
        there.is_dir() && is_trusted && is_closed
    })
}

/// Makes the control socket, and listens on it.
fn listen(invocation: &Invocation, instance: &Instance) -> Result<(PathBuf, UnixListener), Stop> {
    let path = choose_socket(invocation, instance)?;
    match socket::bind_listener(&path) {
        Ok(listener) => Ok((path, listener)),
        // Somebody was there before us, who can foresee the name but not every one. The lock tells
        // where the socket is.
        Err(SocketError::NotPrivate { .. } | SocketError::Directory { .. })
            if !path.starts_with(&instance.dir) =>
        {
            let mut error = None;
            for temp_dir in temp_dirs(invocation) {
                match socket::bind_listener_below(&temp_dir) {
                    Ok(made) => return Ok(made),
                    Err(failed) => error = Some(failed),
                }
            }
            Err(error.map_or_else(
                || Stop::new(ExitCode::Failed, "no socket", None),
                Stop::from,
            ))
        }
        Err(error) => Err(error.into()),
    }
}

/// A warning in the usual form.
pub(crate) fn warn(message: &str, hint: Option<&str>) -> String {
    plain(match hint.filter(|hint| !hint.is_empty()) {
        Some(hint) => format!("warning: {message}\nhint: {hint}"),
        None => format!("warning: {message}"),
    })
}
