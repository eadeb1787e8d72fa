//! What is said when the command line cannot be carried out: clap's words, and a few tips of ours.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};

use super::Cli;
use crate::support::escape::plain;

/// The verbs that are defined but not built yet.
const LATER_VERBS: &str = "kill exec graph events wait top ls scale init export doctor \
                           tui web completions";

/// The flags that are defined but not built yet, each with the verbs that will have it; none for all.
const LATER_FLAGS: [(&str, &[&str]); 6] = [
    ("--web", &[]),
    ("--attach", &["up"]),
    ("--no-attach", &["up"]),
    ("--abort-on-exit", &["up"]),
    ("--all", &["ps"]),
    ("--no-deps", &["restart"]),
];

/// Why nothing is carried out: what to show instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotRun {
    /// Help or the version was asked for: a text for stdout; exit code 0.
    Show(String),
    /// Wrong usage: a text for stderr; exit code 2.
    Wrong(String),
}

/// Reads a command line, the program's name included.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, NotRun> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    Cli::try_parse_from(&arguments).map_err(|error| {
        if error.use_stderr() {
            let text = explain(error, verb_among(&arguments)).render().to_string();
            // It repeats words of the command line.
            NotRun::Wrong(plain(text.trim_end()))
        } else {
            NotRun::Show(error.render().to_string())
        }
    })
}

/// Adds what we know better to `clap`'s error.
fn explain(mut error: clap::Error, verb: Option<&str>) -> clap::Error {
    let word = match error.kind() {
        ErrorKind::UnknownArgument => error.get(ContextKind::InvalidArg),
        ErrorKind::InvalidSubcommand => error.get(ContextKind::InvalidSubcommand),
        _ => None,
    };
    let Some(ContextValue::String(word)) = word.cloned() else {
        return error;
    };
    // `--port=web=8000` is about `--port`.
    let word = word.split('=').next().unwrap_or_default();
    if is_later(word, verb) {
        return clap::Error::raw(error.kind(), format!("`{word}` is not supported yet"));
    }
    let tip = match (verb, word) {
        (Some(verb), "-f" | "--file") => Some(format!(
            "`{word}` goes before the command: `stack {word} FILE {verb}`"
        )),
        (Some("down"), service) if !service.starts_with('-') => Some(format!(
            "`stack down` stops everything; `stack stop {service}` stops one service"
        )),
        (Some("ports"), port) if port.parse::<u16>().is_ok() => {
            Some(format!("`stack ports who {port}` explains who has it"))
        }
        // `clap` would offer to pass a flag as a value, but no value begins with a dash here.
        (Some(verb), flag) if flag.starts_with('-') && !is_flag_of(verb, flag) => None,
        (_, _) => return error,
    };
    match tip {
        Some(tip) => {
            let tip = ContextValue::StyledStrs(vec![tip.into()]);
            error.insert(ContextKind::Suggested, tip);
        }
        None => {
            error.remove(ContextKind::Suggested);
        }
    }
    error
}

/// Something of the design that nobody has built yet.
fn is_later(word: &str, verb: Option<&str>) -> bool {
    let is_verb = verb.is_none() && LATER_VERBS.split(' ').any(|later| later == word);
    let is_flag = LATER_FLAGS.iter().any(|(flag, verbs)| {
        *flag == word && (verbs.is_empty() || verb.is_some_and(|verb| verbs.contains(&verb)))
    });
    is_verb || is_flag
}

fn is_flag_of(verb: &str, flag: &str) -> bool {
    let long = flag.trim_start_matches('-');
    let mut command = Cli::command();
    command.build();
    command
        .find_subcommand(verb)
        .is_some_and(|verb| verb.get_arguments().any(|arg| arg.get_long() == Some(long)))
}

/// The first word of the command line that is a verb. Only tips depend on it.
fn verb_among(arguments: &[OsString]) -> Option<&str> {
    let command = Cli::command();
    let words = arguments.iter().skip(1).filter_map(|word| word.to_str());
    words
        .into_iter()
        .find(|word| command.find_subcommand(word).is_some())
}
