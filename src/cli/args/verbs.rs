//! What each verb takes.

#![expect(
    missing_docs,
    reason = "the documentation of a struct would replace that of its verb in the help"
)]

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum, value_parser};

use super::times::parse_time;
use crate::cli::verbs::attach::keys;
use crate::plan::PortArgument;
use crate::run::logs::Pattern;
use crate::run::snapshot::LogStream;
use crate::support::clock::unix_nanos;
use crate::support::duration;
use crate::support::name::{PortName, ServiceName};
use crate::support::port_range::{PortRange, parse_port};

// `stack up`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub struct UpArgs {
    /// Only these services, with what they depend on [default: all]
    #[arg(value_name = "SERVICE", value_parser = ServiceName::new)]
    pub services: Vec<ServiceName>,

    /// Return once everything has been started, and keep it running in the background
    #[arg(short, long)]
    pub detach: bool,

    /// Return once everything is ready; implies -d
    #[arg(long)]
    pub wait: bool,

    /// How long --wait may take, in seconds or as 1m30s; 0 for no limit [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = seconds_or_duration, requires = "wait")]
    pub wait_timeout: Option<Duration>,

    /// Act when files change, as `watch` in stack.yaml says
    #[arg(
        short,
        long,
        conflicts_with_all = ["detach", "wait", "dry_run", "no_start"]
    )]
    pub watch: bool,

    /// Leave dependencies alone
    #[arg(long)]
    pub no_deps: bool,

    /// Show what would happen; write and start nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Find ports and write the .env, and start nothing that does not run
    #[arg(long, conflicts_with = "wait")]
    pub no_start: bool,

    /// Start everything anew, also what has not changed
    #[arg(long, help_heading = "Changes", conflicts_with = "no_recreate")]
    pub force_recreate: bool,

    /// Leave what runs as it is, also what has changed
    #[arg(long, help_heading = "Changes")]
    pub no_recreate: bool,

    /// Stop what another file has started, if it is not in these files
    #[arg(long, help_heading = "Changes")]
    pub remove_orphans: bool,

    /// Does nothing, as nothing is asked
    #[arg(short = 'y', long = "yes", hide = true)]
    pub yes: bool,

    /// How many replicas of a service to start, whatever the file says; repeatable
    #[arg(long, value_name = "SERVICE=N", value_parser = parse_scale)]
    pub scale: Vec<(ServiceName, u32)>,

    /// Ask for this number for a port, before all other wishes; repeatable
    #[arg(
        long = "port",
        value_name = "SERVICE[.NAME]=N",
        value_parser = parse_port_argument,
        help_heading = "Ports"
    )]
    pub ports: Vec<PortArgument>,

    /// Fail if a port that was asked for is taken, instead of taking another one
    #[arg(long, help_heading = "Ports")]
    pub strict_ports: bool,

    /// Forget the ports of earlier runs
    #[arg(long, help_heading = "Ports")]
    pub fresh_ports: bool,

    /// Stop everything when a service fails
    #[arg(long, help_heading = "End")]
    pub abort_on_failure: bool,

    /// Stop everything when this service ends, and exit with its code
    #[arg(
        long,
        value_name = "SERVICE",
        value_parser = ServiceName::new,
        conflicts_with_all = ["detach", "wait"],
        help_heading = "End"
    )]
    pub exit_code_from: Option<ServiceName>,

    /// How long services may take to stop, in seconds or as 1m30s [default: each its own grace period]
    #[arg(
        short,
        long,
        value_name = "TIME",
        value_parser = seconds_or_duration,
        help_heading = "End"
    )]
    pub timeout: Option<Duration>,

    /// Leave out the service's name before each line of its output
    #[arg(long, help_heading = "Output")]
    pub no_log_prefix: bool,

    /// Show the time before each line of output
    #[arg(long, help_heading = "Output")]
    pub timestamps: bool,
}

// `stack down`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct DownArgs {
    /// Every stack of yours on this machine, wherever its directory is
    #[arg(long)]
    pub all: bool,

    /// How long services may take to stop, in seconds or as 1m30s [default: each its own grace period]
    #[arg(short, long, value_name = "TIME", value_parser = seconds_or_duration)]
    pub timeout: Option<Duration>,
}

// `stack doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct DoctorArgs {
    /// Mend what can be mended: end leftovers, remove stale files and entries
    #[arg(long)]
    pub fix: bool,
}

// `stack start`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ServicesArgs {
    /// Only these services, with what they depend on [default: all]
    #[arg(value_name = "SERVICE", value_parser = ServiceName::new)]
    pub services: Vec<ServiceName>,
}

// `stack stop` and `stack restart`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct StopArgs {
    /// Only these services [default: all]
    #[arg(value_name = "SERVICE", value_parser = ServiceName::new)]
    pub services: Vec<ServiceName>,

    /// How long services may take to stop, in seconds or as 1m30s [default: each its own grace period]
    #[arg(short, long, value_name = "TIME", value_parser = seconds_or_duration)]
    pub timeout: Option<Duration>,
}

// `stack watch`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct WatchArgs {
    /// Only for these services [default: all that have `watch`]
    #[arg(value_name = "SERVICE", value_parser = ServiceName::new)]
    pub services: Vec<ServiceName>,

    /// Start nothing first
    #[arg(long)]
    pub no_up: bool,
}

// `stack attach`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct AttachArgs {
    /// The service, or a single replica of it, as web-2
    #[arg(value_name = "SERVICE", value_parser = ServiceName::new)]
    pub service: ServiceName,

    /// The number of the replica [default: 1]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub index: Option<u32>,

    /// The keys that detach, as ctrl-x,x [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS", value_parser = parse_keys)]
    pub detach_keys: Option<Keys>,
}

/// Keys as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys(pub Vec<u8>);

fn parse_keys(text: &str) -> Result<Keys, String> {
    keys::parse(text).map(Keys)
}

// `stack ps`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct PsArgs {
    /// How to print the list: table or json
    #[arg(long, value_enum, default_value_t, hide_possible_values = true)]
    pub format: ListFormat,
}

/// How a list is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

// `stack logs`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub struct LogsArgs {
    /// Only these services, or single replicas of them, as web-2 [default: all]
    #[arg(value_name = "SERVICE", value_parser = ServiceName::new)]
    pub services: Vec<ServiceName>,

    /// Go on and show what is printed from now on
    #[arg(short, long)]
    pub follow: bool,

    /// Show only the last N lines of each service, or `all`
    #[arg(
        short = 'n',
        long = "tail",
        value_name = "N",
        default_value = "all",
        value_parser = parse_tail
    )]
    pub tail: Tail,

    /// Show what was printed since then, in any run: 10m ago, as a time like 2026-11-27T15:04:05Z, or in
    /// seconds since 1970
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub since: Option<u64>,

    /// Show what was printed up to then, in any run
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub until: Option<u64>,

    /// Show only lines that match a regular expression; (?i) in front of it ignores case
    #[arg(long, value_name = "PATTERN", value_parser = Pattern::new)]
    pub grep: Option<Pattern>,

    /// Show only one stream: stdout or stderr
    #[arg(long, value_name = "STREAM", value_parser = parse_stream)]
    pub stream: Option<LogStream>,

    /// Leave out the service's name before each line
    #[arg(long)]
    pub no_log_prefix: bool,

    /// Show the time before each line
    #[arg(short, long)]
    pub timestamps: bool,

    /// Use no colour, as with --color never
    #[arg(long)]
    pub no_color: bool,

    /// Remove what was logged so far instead; what runs goes on, and so do its later logs
    #[arg(long, conflicts_with_all = ["follow", "tail", "since", "until", "grep", "stream"])]
    pub clear: bool,
}

/// How much of the earlier output is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tail {
    /// Everything.
    #[default]
    All,
    /// That many lines of each service.
    Lines(usize),
}

// `stack port`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct PortArgs {
    /// The service
    #[arg(value_name = "SERVICE", value_parser = ServiceName::new)]
    pub service: ServiceName,

    /// The port's name [default: the service's only port, or PORT]
    #[arg(value_name = "NAME", value_parser = PortName::new)]
    pub name: Option<PortName>,

    /// The number of the replica
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(1..))]
    pub index: u32,
}

// `stack config`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub struct ConfigArgs {
    /// How to print it: yaml or json
    #[arg(long, value_enum, default_value_t, hide_possible_values = true)]
    pub format: ConfigFormat,

    /// Only check; print nothing if all is well
    #[arg(short, long, group = "look")]
    pub quiet: bool,

    /// Print what is written, all files merged, but nothing replaced
    #[arg(long, group = "look")]
    pub no_resolve: bool,

    /// Print which file and line each value comes from
    #[arg(long, group = "look")]
    pub sources: bool,

    /// Print the names of the services
    #[arg(long, group = "look")]
    pub services: bool,

    /// Print the names of all profiles
    #[arg(long, group = "look")]
    pub profiles: bool,

    /// Print the variables that the files use
    #[arg(long, group = "look")]
    pub variables: bool,

    /// Print the variables that there are, and where each comes from
    #[arg(long, group = "look")]
    pub environment: bool,

    /// Write it to this file
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// How the configuration is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ConfigFormat {
    /// As it would be written.
    #[default]
    Yaml,
    /// For programs.
    Json,
}

// `stack env`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct EnvArgs {
    /// How to print the variables: dotenv, json or shell
    #[arg(long, value_enum, default_value_t, hide_possible_values = true)]
    pub format: EnvFormat,
}

/// How variables are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum EnvFormat {
    /// As in a `.env` file.
    #[default]
    Dotenv,
    /// One JSON object.
    Json,
    /// `export` lines for `eval`.
    Shell,
}

// `stack run`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(override_usage = "stack run [OPTIONS] -- COMMAND...")]
pub struct RunArgs {
    /// Use the environment, the directory, the user and the limits of this service
    #[arg(short, long, value_name = "SERVICE", value_parser = ServiceName::new)]
    pub service: Option<ServiceName>,

    /// The command and its arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true)]
    pub command: Vec<OsString>,
}

// `stack ports`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(disable_help_subcommand = true)]
pub struct PortsArgs {
    /// What to do with them; without it they are listed.
    #[command(subcommand)]
    pub verb: Option<PortsVerb>,

    /// Also list the ports that stopped stacks had last
    #[arg(short, long)]
    pub all: bool,

    /// How to print it: table or json
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub format: ListFormat,
}

// What `stack ports` does.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum PortsVerb {
    /// Explain who has a port: a service, another program, or nobody
    Who(PortsWhoArgs),
    /// Print free ports, one per line; no other `stack` hands them out for two minutes
    Free(PortsFreeArgs),
}

// `stack ports who`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct PortsWhoArgs {
    /// The port number
    #[arg(value_name = "PORT", value_parser = parse_port)]
    pub port: u16,
}

// `stack ports free`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct PortsFreeArgs {
    /// How many ports
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u16).range(1..))]
    pub count: u16,

    /// The range to look in, both ends included
    #[arg(long, value_name = "RANGE", default_value_t = PortRange::DEFAULT)]
    pub range: PortRange,
}

/// Whole seconds (`10`), or a duration with units (`1m30s`).
fn seconds_or_duration(text: &str) -> Result<Duration, duration::DurationError> {
    match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => duration::parse(text),
    }
}

fn parse_scale(text: &str) -> Result<(ServiceName, u32), String> {
    const FORM: &str = "it is not of the form SERVICE=N";
    let (service, count) = text.split_once('=').ok_or(FORM)?;
    let service = ServiceName::new(service).map_err(|error| error.to_string())?;
    let number = count.parse().ok().filter(|_| !count.starts_with('+'));
    let number = number.ok_or_else(|| format!("`{count}` is not a valid number of replicas"))?;
    Ok((service, number))
}

fn parse_port_argument(text: &str) -> Result<PortArgument, String> {
    const FORM: &str = "it is not of the form SERVICE=N or SERVICE.NAME=N";
    let (port, number) = text.split_once('=').ok_or(FORM)?;
    if port.is_empty() {
        return Err(FORM.to_owned());
    }
    Ok(PortArgument {
        port: port.to_owned(),
        number: parse_port(number).map_err(|error| error.to_string())?,
    })
}

/// A point in time, in nanoseconds since the Unix epoch.
fn parse_moment(text: &str) -> Result<u64, &'static str> {
    parse_time(text, unix_nanos())
}

fn parse_stream(text: &str) -> Result<LogStream, &'static str> {
    match text {
        "stdout" => Ok(LogStream::Stdout),
        "stderr" => Ok(LogStream::Stderr),
        _ => Err("it is neither `stdout` nor `stderr`"),
    }
}

fn parse_tail(text: &str) -> Result<Tail, &'static str> {
    if text == "all" {
        return Ok(Tail::All);
    }
    text.parse()
        .map(Tail::Lines)
        .map_err(|_| "it is neither a number nor `all`")
}
