//! From the command line to the verbs that speak to a running supervisor.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use super::ground::{hidden, others};
use super::{Context, Output, down, env, logs, port, ps, restart, start, stop};
use crate::api::client::Client;
use crate::cli::args::Verb;
use crate::cli::exit::{ExitCode, Stop};
use crate::cli::invocation::Invocation;
use crate::cli::printer::{self, Printer};
use crate::cli::table::services;
use crate::run::control::StackSnapshot;
use crate::run::instance::Instance;
use crate::run::logs::LogBlock;
use crate::run::snapshot::Event;
use crate::support::clock::unix_millis;
use crate::support::name::{ServiceName, UnitId};

/// Runs one of the verbs that speak to a supervisor.
pub fn client(invocation: &Invocation, verb: &Verb) -> Result<ExitCode, Stop> {
    let (instance, names) = find(invocation)?;
    // What only answers needs no thread that prints.
    let is_answer = matches!(verb, Verb::Ps(_) | Verb::Port(_) | Verb::Env(_));
    let printer = if is_answer {
        None
    } else {
        // How many replicas there are is told by the stack, if it runs or has left its last state.
        let units: Vec<UnitId> = names.iter().cloned().map(UnitId::first).collect();
        let mut options = invocation.printer_options(&units);
        options.log_dir = Some(instance.log_dir());
        if let Verb::Logs(args) = verb {
            options.log_prefix = !args.no_log_prefix;
            options.timestamps = args.timestamps;
        }
        Some(Arc::new(Printer::start(options)))
    };
    let mut output: Box<dyn Output> = match &printer {
        Some(printer) => Box::new(Printing(Arc::clone(printer))),
        None => Box::new(Direct),
    };
    let mut context = Context {
        instance: &instance,
        in_file: &names,
        output: &mut *output,
    };
    let table = |stack: &StackSnapshot| invocation.draw(&services(&stack.services, unix_millis()));
    let runtime = super::runtime()?;
    let outcome = runtime.block_on(async {
        match verb {
            Verb::Down(args) => down::run(&mut context, args).await,
            Verb::Start(args) => start::run(&mut context, args).await,
            Verb::Stop(args) => stop::run(&mut context, args).await,
            Verb::Restart(args) => restart::run(&mut context, args).await,
            Verb::Ps(args) => ps::run(&mut context, args, table).await,
            Verb::Logs(args) => logs::run(&mut context, args).await,
            Verb::Port(args) => port::run(&mut context, args).await,
            Verb::Env(args) => env::run(&mut context, args).await,
            // These do not come here.
            Verb::Up(_) | Verb::Config(_) | Verb::Run(_) | Verb::Ports(_) => Ok(ExitCode::Usage),
        }
    });
    let outcome = outcome.map_err(|mut stop| {
        if stop.code == ExitCode::NotRunning {
            if let Some(hidden) = hidden(&instance) {
                stop.message = format!("error: {hidden}");
            } else if let Some(others) = others(&instance) {
                stop.message = format!("{}\n{others}", stop.message);
            }
        }
        stop
    });
    let Some(printer) = printer else {
        return outcome;
    };
    printer.finish();
    match outcome {
        Ok(ExitCode::Done) if printer.has_output_failed() => Ok(ExitCode::Failed),
        outcome => outcome,
    }
}

/// The instance that is meant, and the services of its file.
///
/// A file that was broken while its stack ran must not keep anybody from seeing or stopping it:
/// then the one that runs here is meant, if there is but one.
pub(super) fn find(invocation: &Invocation) -> Result<(Instance, Vec<ServiceName>), Stop> {
    match invocation.draft() {
        Ok(ready) => {
            let services = ready.draft.spec().services.keys().cloned().collect();
            Ok((invocation.instance(&ready.draft), services))
        }
        Err(stop) => invocation
            .running_instance()
            .map(|instance| (instance, Vec::new()))
            .ok_or(stop),
    }
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

/// The printer as the verbs' output.
pub(super) struct Printing(pub(super) Arc<Printer>);

impl Output for Printing {
    fn data(&mut self, text: &str) -> io::Result<()> {
        self.0.line_out(text);
        Ok(())
    }

    fn message(&mut self, text: &str) {
        self.0.line_err(text);
    }

    fn event(&mut self, event: &Event) {
        self.0.event(event);
    }

    fn introduce(&mut self, units: Vec<UnitId>) {
        self.0.introduce(units);
    }

    fn block(&mut self, block: LogBlock) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(async move {
            self.0.logs(block);
            while !self.0.has_room() {
                self.0.room().await;
            }
        })
    }
}

/// Straight to stdout and stderr, for commands that only answer.
pub(super) struct Direct;

impl Output for Direct {
    fn data(&mut self, text: &str) -> io::Result<()> {
        printer::say_out(text)
    }

    fn message(&mut self, text: &str) {
        printer::say(text);
    }

    fn event(&mut self, _event: &Event) {}

    fn introduce(&mut self, _units: Vec<UnitId>) {}

    fn block(&mut self, _block: LogBlock) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(async {})
    }
}
