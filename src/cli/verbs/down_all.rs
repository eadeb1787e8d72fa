//! `stack down --all`: stops every stack of the user on this machine, all at once.

use std::future::Future;
use std::pin::Pin;

use futures_util::future::join_all;

use super::{Context, InFile, Output, down};
use crate::api::messages::Update;
use crate::cli::args::DownArgs;
use crate::cli::exit::{ExitCode, Stop};
use crate::cli::invocation::Invocation;
use crate::cli::printer::Printer;
use crate::run::instance::{Holder, Instance, all_holders};
use crate::run::leftovers::{self, Reaper};
use crate::run::logs::LogBlock;
use crate::run::registry::{Registration, Stray, strays};
use crate::support::name::UnitId;
use crate::support::text;

/// Stops them. Exits 0 even if nothing runs; where one cannot be stopped, with the code of the first.
pub fn run(invocation: &Invocation, arguments: &DownArgs) -> Result<ExitCode, Stop> {
    let holders = all_holders().into_iter();
    let stacks: Vec<(Holder, Instance)> = holders
        .filter_map(|holder| Instance::of(&holder).map(|instance| (holder, instance)))
        .collect();
    let printer = Printer::new(invocation.printer_options(&[]))?;
    let orphans = leftovers::orphans();
    let strays = strays(invocation.registry().all()).into_iter();
    // Those that go on are among the holders.
    let killed = |stray| match stray {
        Stray::Killed(registration) => Some(registration),
        Stray::Homeless(_) => None,
    };
    let killed: Vec<Registration> = strays.filter_map(killed).collect();
    if stacks.is_empty() && orphans.is_empty() {
        printer.page().line_err("no stack of yours is running");
    }
    let stop = async |(holder, instance): &(Holder, Instance)| {
        instance.call_home();
        let mut output = Labelled {
            label: format!("{} in {}", instance.project, place(instance)),
            printer: &printer,
        };
        let mut context = Context {
            instance,
            in_file: &InFile::new(),
            has_changed: &|_| false,
            output: &mut output,
        };
        let outcome = if instance.is_locked() {
            down::run(&mut context, arguments, Vec::new()).await
        } else {
            down::stop_hidden(&mut context, holder, down::FILES_REMOVED).await
        };
        outcome.unwrap_or_else(|stop| {
            output.message(stop.message.trim_end());
            stop.code
        })
    };
    super::runtime()?.block_on(printer.run(async {
        let mut codes = join_all(stacks.iter().map(stop)).await;
        // What nobody supervises: its guardian was killed as well.
        let mut end = async |project: &str, reaper| {
            let mut output = Labelled {
                label: project.to_owned(),
                printer: &printer,
            };
            let left = down::reap(&mut output, reaper).await;
            if left.ended > 0 {
                let count = text::count_of(left.ended, "process", "processes");
                output.message(&format!("ended {count} that nobody supervised"));
            }
            if !left.remaining.is_empty() {
                output.message(&down::not_ended(&left.remaining));
                codes.push(ExitCode::Failed);
            }
        };
        for orphans in &orphans {
            end(&orphans.project, Reaper::of(orphans)).await;
        }
        for it in &killed {
            let reaper = Reaper::of_registration(it, arguments.timeout);
            end(it.instance.project.as_str(), reaper).await;
        }
        if !codes.contains(&ExitCode::Failed) {
            killed.iter().for_each(Registration::forget);
        }
        let failed = codes.into_iter().find(|&code| code != ExitCode::Done);
        Ok(failed.unwrap_or(ExitCode::Done))
    }))
}

/// Where it runs, or ran until the directory was removed.
fn place(instance: &Instance) -> String {
    let place = instance.project_dir.display().to_string();
    place.trim_end_matches(" (deleted)").to_owned()
}

/// Says of each stack only what became of it, and which one it is.
struct Labelled<'p> {
    label: String,
    printer: &'p Printer,
}

impl Output for Labelled<'_> {
    fn data(&mut self, text: &str) {
        self.printer.page().line_out(text);
    }

    fn message(&mut self, text: &str) {
        let line = format!("{}: {text}", self.label);
        self.printer.page().line_err(&line);
    }

    fn update(&mut self, _update: &Update) {}

    fn introduce(&mut self, _units: &[UnitId]) {}

    fn block(&mut self, _block: LogBlock) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(std::future::ready(()))
    }
}
