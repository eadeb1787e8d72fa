//! What is said when the command line is not one that can be carried out.

use std::ffi::OsString;
use std::fmt;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};

use super::{Cli, ListFormat, PortsVerb, Verb};
use crate::support::text::nearest;

/// The verbs that are defined but not built yet.
const LATER_VERBS: [&str; 16] = [
    "kill",
    "exec",
    "graph",
    "events",
    "wait",
    "attach",
    "top",
    "ls",
    "scale",
    "watch",
    "init",
    "export",
    "doctor",
    "tui",
    "web",
    "completions",
];

/// The flags that are not built yet, each with the verb after which it will stand; `None` is
/// before the verb, where people forget to put it.
const LATER_FLAGS: [(Option<&str>, &str); 16] = [
    (None, "--env-file"),
    (None, "--profile"),
    (None, "--web"),
    (Some("up"), "--watch"),
    (Some("up"), "-w"),
    (Some("up"), "--attach"),
    (Some("up"), "--no-attach"),
    (Some("up"), "--abort-on-exit"),
    (Some("logs"), "--since"),
    (Some("logs"), "--until"),
    (Some("logs"), "--grep"),
    (Some("ps"), "-a"),
    (Some("ps"), "--all"),
    (Some("ps"), "-q"),
    (Some("ps"), "--quiet"),
    (Some("restart"), "--no-deps"),
];

/// The flags that stand before the verb only: after it they mean something else to some verbs.
const FLAGS_BEFORE_THE_VERB: [&str; 2] = ["-f", "--file"];

/// The flags that hold for every verb.
const GLOBAL_FLAGS: [&str; 8] = [
    "-f",
    "--file",
    "-p",
    "--project-name",
    "--progress",
    "--color",
    "-v",
    "--verbose",
];

/// Those of them that take a value.
const GLOBAL_FLAGS_WITH_VALUE: [&str; 6] = [
    "-f",
    "--file",
    "-p",
    "--project-name",
    "--progress",
    "--color",
];

/// Why nothing is carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotRun {
    /// Help or the version was asked for: a text for stdout; exit code 0.
    Show(String),
    /// Wrong usage; exit code 2.
    Wrong(UsageError),
}

/// What is wrong with the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageError {
    /// What is wrong, as a lowercase fragment.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// How the verb is used: `stack up [OPTIONS] [SERVICE]...`.
    pub usage: Option<String>,
}

impl UsageError {
    /// The stable code.
    pub const CODE: &str = "stack::cli::usage";
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        if let Some(usage) = &self.usage {
            write!(f, "\nusage: {usage}")?;
        }
        Ok(())
    }
}

/// Reads a command line, the program's name included.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, NotRun> {
    let arguments = help_as_a_flag(arguments.into_iter().collect());
    let cli = Cli::try_parse_from(&arguments).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            NotRun::Show(error.render().to_string())
        }
        _ => NotRun::Wrong(explain(&error, &arguments)),
    })?;
    before_ports_verb(&cli).map_err(NotRun::Wrong)?;
    Ok(cli)
}

/// `stack help` and `stack help up` are what many type first.
fn help_as_a_flag(mut arguments: Vec<OsString>) -> Vec<OsString> {
    if arguments.get(1).is_some_and(|word| word == "help") {
        arguments.remove(1);
        arguments.push("--help".into());
    }
    arguments
}

/// Puts `clap`'s error into our form, and adds what we know better.
fn explain(error: &clap::Error, arguments: &[OsString]) -> UsageError {
    let verb = find_verb(arguments);
    later(error, verb)
        .or_else(|| misplaced(error, verb))
        .or_else(|| unknown_flag(error, verb, arguments))
        .or_else(|| unknown_verb(error, verb))
        .or_else(|| down_of_one(error, verb))
        .or_else(|| ports_of_a_number(error, verb))
        .unwrap_or_else(|| plain(error, verb, arguments))
}

/// Something of the design that nobody has built yet.
fn later(error: &clap::Error, verb: Option<&str>) -> Option<UsageError> {
    let what = match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let name = text(error, ContextKind::InvalidSubcommand)?;
            (verb.is_none() && LATER_VERBS.contains(&name)).then(|| format!("stack {name}"))?
        }
        ErrorKind::UnknownArgument => {
            let flag = flag_name(text(error, ContextKind::InvalidArg)?);
            let is_later = LATER_FLAGS
                .iter()
                .any(|&(after, later)| later == flag && (after == verb || after.is_none()));
            is_later.then(|| flag.to_owned())?
        }
        _ => return None,
    };
    Some(UsageError {
        message: format!("`{what}` is not supported yet"),
        hint: None,
        usage: None,
    })
}

/// A flag that stands before the verb, found after it.
fn misplaced(error: &clap::Error, verb: Option<&str>) -> Option<UsageError> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let flag = flag_name(text(error, ContextKind::InvalidArg)?);
    let verb = verb?;
    let value = match flag {
        _ if !FLAGS_BEFORE_THE_VERB.contains(&flag) => return None,
        "-f" | "--file" => " FILE",
        _ => "",
    };
    Some(UsageError {
        message: format!("`{flag}` cannot stand after `{verb}`"),
        hint: Some(format!(
            "it goes before the verb: `stack {flag}{value} {verb}`"
        )),
        usage: None,
    })
}

/// A flag that there is not. `clap` would offer to pass it as a value, which helps nobody here.
fn unknown_flag(
    error: &clap::Error,
    verb: Option<&str>,
    arguments: &[OsString],
) -> Option<UsageError> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let flag = flag_name(text(error, ContextKind::InvalidArg)?);
    if !flag.starts_with('-') {
        return None;
    }
    let place = |word: &str| {
        let is_it = |argument: &OsString| argument.to_str().map(flag_name) == Some(word);
        arguments.iter().position(is_it)
    };
    let is_before = verb.is_some_and(|verb| place(flag) < place(verb));
    let error_of = |message, hint| UsageError {
        message,
        hint: Some(hint),
        usage: None,
    };
    if let Some(verb) = verb.filter(|verb| is_before && has_flag(verb, flag)) {
        return Some(error_of(
            format!("`{flag}` cannot stand before `{verb}`"),
            format!("it goes behind the verb: `stack {verb} {flag}`"),
        ));
    }
    let command = verb
        .filter(|_| !is_before)
        .map_or_else(|| "stack".to_owned(), |verb| format!("stack {verb}"));
    let hint = match text(error, ContextKind::SuggestedArg) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("`{command} --help` lists what it takes"),
    };
    Some(error_of(format!("`{command}` has no `{flag}`"), hint))
}

/// Whether a verb has this long flag.
fn has_flag(verb: &str, flag: &str) -> bool {
    let long = flag.trim_start_matches('-');
    Cli::command()
        .find_subcommand(verb)
        .is_some_and(|verb| verb.get_arguments().any(|arg| arg.get_long() == Some(long)))
}

/// A command that there is not.
fn unknown_verb(error: &clap::Error, verb: Option<&str>) -> Option<UsageError> {
    if error.kind() != ErrorKind::InvalidSubcommand || verb.is_some() {
        return None;
    }
    let name = text(error, ContextKind::InvalidSubcommand)?;
    let command = Cli::command();
    let known = command.get_subcommands().map(clap::Command::get_name);
    Some(UsageError {
        message: format!("there is no command `{name}`"),
        hint: Some(match nearest(name, known) {
            Some(near) => format!("did you mean `stack {near}`?"),
            None => "`stack --help` lists the commands".to_owned(),
        }),
        usage: None,
    })
}

/// `down web`: Compose users expect it, and there is a verb for it.
fn down_of_one(error: &clap::Error, verb: Option<&str>) -> Option<UsageError> {
    if error.kind() != ErrorKind::UnknownArgument || verb != Some("down") {
        return None;
    }
    let service = text(error, ContextKind::InvalidArg)?;
    (!service.starts_with('-')).then(|| UsageError {
        message: "`stack down` stops everything and takes no services".to_owned(),
        hint: Some(format!("`stack stop {service}` stops one")),
        usage: None,
    })
}

/// `ports 8123`: whoever types a number wants to know about it.
fn ports_of_a_number(error: &clap::Error, verb: Option<&str>) -> Option<UsageError> {
    let is_unexpected = matches!(
        error.kind(),
        ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand
    );
    if !is_unexpected || verb != Some("ports") {
        return None;
    }
    let word = text(error, ContextKind::InvalidArg)
        .or_else(|| text(error, ContextKind::InvalidSubcommand))?;
    let port: u16 = word.parse().ok()?;
    Some(UsageError {
        message: format!("`stack ports` has no command `{port}`"),
        hint: Some(format!("`stack ports who {port}` explains it")),
        usage: None,
    })
}

/// What belongs to the list, before a verb below `ports` that does not list.
fn before_ports_verb(cli: &Cli) -> Result<(), UsageError> {
    let Some(Verb::Ports(ports)) = &cli.verb else {
        return Ok(());
    };
    let (name, takes_format) = match &ports.verb {
        None => return Ok(()),
        Some(PortsVerb::Who(_)) => ("who", true),
        Some(PortsVerb::Free(_)) => ("free", false),
    };
    let flag = if ports.all {
        "--all"
    } else if ports.format != ListFormat::Table {
        "--format"
    } else {
        return Ok(());
    };
    Err(UsageError {
        message: format!("`{flag}` cannot stand before `{name}`"),
        hint: Some(if flag == "--format" && takes_format {
            format!("it goes behind it: `stack ports {name} PORT --format json`")
        } else {
            format!("it belongs to the list: `stack ports {flag}`")
        }),
        usage: None,
    })
}

/// `clap`'s own words: `error: …`, paragraphs with tips, and `Usage: …`.
fn plain(error: &clap::Error, verb: Option<&str>, arguments: &[OsString]) -> UsageError {
    let rendered = error.render().to_string();
    let mut message = String::new();
    let mut hints = Vec::new();
    let mut usage = None;
    for paragraph in rendered.split("\n\n") {
        let paragraph = paragraph.trim_end();
        if let Some(text) = paragraph.strip_prefix("error: ") {
            message = text.split_whitespace().collect::<Vec<_>>().join(" ");
        } else if let Some(text) = paragraph.strip_prefix("Usage: ") {
            usage = Some(text.to_owned());
        } else {
            let tips = paragraph
                .lines()
                .filter_map(|line| line.trim().strip_prefix("tip: "));
            hints.extend(tips.map(str::to_owned));
        }
    }
    if hints.is_empty() {
        hints.push(match verb {
            Some(_) if is_about_global_flag(error) => "`stack --help` lists the values".to_owned(),
            Some("ports") => match ["free", "who"]
                .into_iter()
                .find(|below| arguments.iter().any(|argument| argument == below))
            {
                Some(below) => format!("`stack ports {below} --help` lists what it takes"),
                None => "`stack ports --help` lists what it takes".to_owned(),
            },
            Some(verb) => format!("`stack {verb} --help` lists what it takes"),
            None => "`stack --help` lists the commands".to_owned(),
        });
    }
    UsageError {
        message,
        hint: Some(hints.join("; ")),
        usage,
    }
}

/// `--progress fast up` is nothing that `up` could explain.
fn is_about_global_flag(error: &clap::Error) -> bool {
    text(error, ContextKind::InvalidArg)
        .and_then(|argument| argument.split_whitespace().next())
        .is_some_and(|flag| GLOBAL_FLAGS.contains(&flag))
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text),
        _ => None,
    }
}

/// `--port=web=8000` is about `--port`.
fn flag_name(argument: &str) -> &str {
    argument.split_once('=').map_or(argument, |(name, _)| name)
}

/// The verb on the command line, as far as it can be told: the first argument that is no global
/// flag or its value.
fn find_verb(arguments: &[OsString]) -> Option<&str> {
    let mut rest = arguments.iter().skip(1);
    while let Some(argument) = rest.next() {
        let argument = argument.to_str()?;
        if GLOBAL_FLAGS_WITH_VALUE.contains(&argument) {
            rest.next();
        } else if !argument.starts_with('-') {
            let command = Cli::command();
            let is_verb = command
                .get_subcommands()
                .any(|verb| verb.get_name() == argument);
            return is_verb.then_some(argument);
        }
    }
    None
}
