//! The arguments of `stack`: every verb and flag, as `clap` reads them.
//!
//! [`parse`] turns the command line into [`Cli`], or into what to show instead. What each verb takes
//! is in `verbs`; wrong usage, and what the design names but nobody has built yet, are explained
//! by `usage`.

mod times;
mod usage;
mod verbs;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::printer::{Color, Progress};
use crate::support::name::ProjectName;

pub use usage::{NotRun, parse};
pub use verbs::{
    AttachArgs, ConfigArgs, ConfigFormat, DoctorArgs, DownArgs, EnvArgs, EnvFormat, ListFormat,
    LogsArgs, PortArgs, PortsArgs, PortsFreeArgs, PortsVerb, PortsWhoArgs, PsArgs, RunArgs,
    ServicesArgs, StopArgs, Tail, UpArgs, WatchArgs,
};

/// The first page of the help: `clap` cannot group verbs, so they are written out here. A test
/// compares them with the verbs that there are.
const HELP: &str = "\
{about}

{usage-heading} {usage}

Run:
  up        Start services in order and show their logs
  down      Stop everything
  start     Start services that are not running
  stop      Stop services; they keep their ports
  restart   Stop services and start them again
  watch     Restart services when their files change

Look:
  ps        List the services with state and address
  logs      Show what the services printed
  port      Print a port of a service
  ports     List the ports of all your stacks, or explain one
  config    Check stack.yaml and print how it is understood
  doctor    Look for what went wrong around your stacks

Use:
  env       Print the generated variables
  run       Run a command with the generated variables
  attach    Type to a service and see what it prints

Options:
{options}{after-help}
";

const AFTER_HELP: &str = "\
Environment:
  STACK_FILE           The files to use, as -f does, with `:` between them
  STACK_PROJECT_NAME   The project's name, as -p does
  STACK_PROFILES       The active profiles, as --profile does, with `,` between them
  STACK_ENV_FILES      The files in place of .env, as --env-file does, with `,` between them
  NO_COLOR             Turns colours off, if set

`stack COMMAND --help` explains a command.";

/// The whole command line.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(
    name = "stack",
    version,
    about = "Run every process of a project from one stack.yaml: free ports, .env, order, health, \
             a clean stop",
    help_template = HELP,
    after_help = AFTER_HELP,
    max_term_width = 100
)]
pub struct Cli {
    /// What holds for every verb.
    #[command(flatten)]
    pub global: Global,

    /// What to do; none shows the state of this project's stack.
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// The flags of every verb: all but `-f`, which is follow after `logs`, may also stand behind it, where
/// the help lists them last.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Global {
    /// Use this stack.yaml; a further one is merged over it; `-` reads standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: Vec<PathBuf>,

    /// Let services of this profile take part, too; `*` is all
    #[arg(long, value_name = "NAME", global = true, display_order = 99)]
    pub profile: Vec<String>,

    /// Use this file in place of .env for `${…}`; later ones win
    #[arg(long, value_name = "FILE", global = true, display_order = 99)]
    pub env_file: Vec<PathBuf>,

    /// Use this name for the project
    #[arg(short, long, value_name = "NAME", value_parser = ProjectName::new, global = true, display_order = 100)]
    pub project_name: Option<ProjectName>,

    /// How to show progress: auto, tty, plain, json or quiet
    #[arg(
        long,
        global = true,
        display_order = 101,
        value_name = "KIND",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub progress: Progress,

    /// When to use colours: auto, always or never
    #[arg(
        long,
        global = true,
        display_order = 102,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub color: Color,

    /// Write what stack itself decides and does to supervisor.log
    #[arg(short, long, global = true, display_order = 103)]
    pub verbose: bool,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
// The flags of a verb are made when it is read, not those of all at every start.
#[command(defer = true)]
pub enum Verb {
    /// Start services in order and show their logs
    Up(UpArgs),
    /// Stop everything
    Down(DownArgs),
    /// Start services that are not running
    Start(ServicesArgs),
    /// Stop services; they keep their ports
    Stop(StopArgs),
    /// Stop services and start them again
    Restart(StopArgs),
    /// Restart services when their files change
    Watch(WatchArgs),
    /// List the services with state and address
    Ps(PsArgs),
    /// Show what the services printed
    Logs(LogsArgs),
    /// Print a port of a service
    Port(PortArgs),
    /// Check stack.yaml and print how it is understood
    Config(ConfigArgs),
    /// Print the generated variables
    Env(EnvArgs),
    /// Run a command with the generated variables
    Run(RunArgs),
    /// Type to a service and see what it prints
    Attach(AttachArgs),
    /// List the ports of all your stacks, or explain one
    Ports(PortsArgs),
    /// Look for what went wrong around your stacks
    Doctor(DoctorArgs),
}
