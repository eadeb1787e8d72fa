//! From the command line to the verbs that speak to a running supervisor.

use std::future::Future;
use std::io;
use std::pin::Pin;

use super::ground::{actual, hidden, left, others, unreachable};
use super::{
    Context, InFile, Output, attach, down, down_all, env, logs, port, ps, restart, start, stop,
    watching,
};
use crate::api::client::Client;
use crate::api::messages::Update;
use crate::cli::args::Verb;
use crate::cli::exit::{ExitCode, Stop};
use crate::cli::invocation::Invocation;
use crate::cli::printer::{Color, Printer};
use crate::cli::table::services;
use crate::plan::Draft;
use crate::run::control::StackSnapshot;
use crate::run::instance::{Holder, Instance};
use crate::run::logs::LogBlock;
use crate::support::clock::unix_millis;
use crate::support::name::{ServiceName, UnitId};
use crate::support::text;

/// Runs one of the verbs that speak to a supervisor.
pub fn client(invocation: &Invocation, verb: &Verb) -> Result<ExitCode, Stop> {
    if let Verb::Down(args) = verb
        && args.all
    {
        return down_all::run(invocation, args);
    }
    let (instance, names) = match (find(invocation), verb) {
        (Err(stop), Verb::Down(_)) if stop.code == ExitCode::Usage => {
            (in_spite_of(invocation).ok_or(stop)?, InFile::new())
        }
        (found, _) => found?,
    };
    if !matches!(verb, Verb::Down(_))
        && let Some(hidden) = hidden(&instance)
    {
        return Err(Stop::new(ExitCode::NotAnswering, hidden, None));
    }
    // How many replicas there are is told by the stack, if it runs or has left its last state.
    let units: Vec<UnitId> = taking_part(&names).cloned().map(UnitId::first).collect();
    let mut options = invocation.printer_options(&units);
    options.log_dir = Some(instance.log_dir());
    if let Verb::Logs(args) = verb {
        options.log_prefix = !args.no_log_prefix;
        options.timestamps = args.timestamps;
        if args.no_color {
            options.color = Color::Never;
        }
    }
    let printer = Printer::new(options)?;
    let mut context = Context {
        instance: &instance,
        in_file: &names,
        has_changed: &|stack| invocation.has_changed_since(stack),
        output: &mut &printer,
    };
    let table = |stack: &StackSnapshot| invocation.draw(&services(&stack.services, unix_millis()));
    let work = async {
        match verb {
            Verb::Down(args) => {
                let registrations = invocation.registrations(&instance);
                down::run(&mut context, args, registrations).await
            }
            Verb::Start(args) => start::run(&mut context, args).await,
            Verb::Stop(args) => stop::run(&mut context, args).await,
            Verb::Restart(args) => restart::run(&mut context, args).await,
            Verb::Ps(args) => ps::run(&mut context, args, table).await,
            Verb::Logs(args) => tokio::select! {
                outcome = logs::run(&mut context, args) => outcome,
                // Whoever reads has seen enough.
                () = printer.output_gone() => Ok(ExitCode::Done),
            },
            Verb::Port(args) => port::run(&mut context, args).await,
            Verb::Env(args) => env::run(&mut context, args).await,
            Verb::Attach(args) => attach::run(&mut context, args).await,
            Verb::Watch(args) => watching::run(&mut context, invocation, &printer, args).await,
            // These do not come here.
            Verb::Up(_) | Verb::Config(_) | Verb::Run(_) | Verb::Ports(_) | Verb::Doctor(_) => {
                Ok(ExitCode::Usage)
            }
        }
    };
    let outcome = super::runtime()?.block_on(printer.run(work));
    let outcome = outcome.map_err(|mut stop| {
        if stop.code == ExitCode::NotRunning
            && let Some(holder) = instance.holder().filter(Holder::is_being_cleaned_up)
        {
            return Stop::new(ExitCode::Busy, unreachable(&holder), None);
        }
        if stop.code == ExitCode::NotRunning
            && let Some((code, message, hint)) = left(invocation, &instance)
        {
            return Stop::new(code, message, Some(hint));
        }
        if stop.code == ExitCode::NotRunning
            && let Some(others) = others(&instance.others())
        {
            stop.message = format!("{}\n{others}", stop.message);
        }
        stop
    });
    match outcome {
        Ok(ExitCode::Done) if printer.has_output_failed() => Ok(ExitCode::Failed),
        outcome => outcome,
    }
}

/// The instance that is meant, and the services of its file.
///
/// A file that was broken while its stack ran must not keep anybody from seeing or stopping it:
/// then the one that runs here is meant, if there is but one.
pub(super) fn find(invocation: &Invocation) -> Result<(Instance, InFile), Stop> {
    let (instance, services) = match invocation.draft() {
        Ok(ready) => {
            let spec = ready.draft.spec();
            let services = spec.services.keys().map(|name| (name.clone(), None));
            let inactive = spec.inactive.iter().map(|(name, service)| {
                let profile = service.profiles.first();
                (name.clone(), profile.map(|it| it.value.clone()))
            });
            let services = services.chain(inactive).collect();
            (
                actual(invocation, invocation.instance(&ready.draft)),
                services,
            )
        }
        Err(stop) => match invocation.running().as_slice() {
            [] => return Err(stop),
            [holder] => (Instance::of(holder).ok_or(stop)?, InFile::new()),
            several => {
                let names = several.iter().map(|holder| format!("`{}`", holder.project));
                return Err(Stop::new(
                    ExitCode::Busy,
                    format!(
                        "several stacks run in this directory: {}",
                        text::list(names)
                    ),
                    Some("`-p NAME` says which one is meant"),
                ));
            }
        },
    };
    // If that fails, whoever finds nothing there says why.
    instance.call_home();
    Ok((instance, services))
}

/// The instance of a file with mistakes, as long as it has a name: where nothing runs, none of them keeps
/// what is left of it from being stopped.
fn in_spite_of(invocation: &Invocation) -> Option<Instance> {
    let (draft, _) = Draft::new(invocation.sources().ok()?);
    Some(invocation.instance(&draft?))
}

/// The services of a file that take part.
pub(super) fn taking_part(in_file: &InFile) -> impl Iterator<Item = &ServiceName> {
    let services = in_file.iter();
    services.filter_map(|(name, inactive)| inactive.is_none().then_some(name))
}

/// The state of an instance that runs and answers.
pub(super) fn running(instance: &Instance) -> io::Result<Option<StackSnapshot>> {
    Ok(match instance.holder() {
        Some(holder) => super::runtime()?
            .block_on(Client::new(holder.socket).stack())
            .ok(),
        None => None,
    })
}

impl Output for &Printer {
    fn data(&mut self, text: &str) {
        self.page().line_out(text);
    }

    fn message(&mut self, text: &str) {
        self.page().line_err(text);
    }

    fn update(&mut self, update: &Update) {
        self.page().update(update);
    }

    fn introduce(&mut self, units: &[UnitId]) {
        self.page().introduce(units);
    }

    fn block(&mut self, block: LogBlock) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        self.page().logs(&block);
        Box::pin(self.room())
    }
}
