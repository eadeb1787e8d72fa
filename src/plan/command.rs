//! How a command is executed: by itself, or by a shell.
//!
//! A command that is a string is a shell line. A shell between `stack` and the service costs a
//! process, hides the service's pid from people and passes signals on in its own way, so a line
//! that means the same without a shell is split here and executed directly. Where there is the
//! least doubt, the shell decides: that is never wrong, only one process more.
//!
//! The words are resolved to a program by [`find_program`]; `run` executes it.

mod builtins;
mod find;
#[cfg(test)]
mod tests;

pub use find::{FindError, find_program};

/// The words of a shell line that can be executed without a shell, with nobody able to tell; the
/// first is the program. Nothing where the shell must read the line.
///
/// `is_shell_set`: the user asked for a shell of their own.
pub fn decide(line: &str, is_shell_set: bool) -> Option<Vec<String>> {
    let line = line.trim_end_matches('\n');
    // `sh -c -x` reads its line as an option; that, too, is the shell's to say.
    let is_shells = is_shell_set || line.starts_with(['-', '+']);
    let words = split(line).filter(|_| !is_shells)?;
    is_program(words.first()).then_some(words)
}

/// Whether a first word names a program in every shell.
fn is_program(word: Option<&String>) -> bool {
    word.is_some_and(|word| {
        // An empty name is an error, `A=1` an assignment, `%1` a job in bash.
        !word.is_empty()
            && !word.contains('=')
            && !word.starts_with('%')
            && !builtins::is_shell_word(word)
    })
}

/// Splits a line by POSIX quoting. `None` where it holds anything that a shell does more with than
/// splitting, or that shells do not agree on.
fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    // Quotes make a word even where nothing is between them.
    let mut word: Option<String> = None;
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        if is_odd(c) {
            return None;
        }
        match c {
            ' ' | '\t' => words.extend(word.take()),
            '\'' | '"' => word
                .get_or_insert_default()
                .push_str(quoted(&mut characters, c)?),
            '\\' => {
                let escaped = characters.next().filter(|&c| !is_odd(c))?;
                word.get_or_insert_default().push(escaped);
            }
            '|' | '&' | ';' | '<' | '>' | '(' | ')' | '{' | '}' | '$' | '`' | '*' | '?' | '['
            | ']' | '#' | '~' | '!' | '^' => return None,
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

/// Takes the text up to a closing quote. `None` if it is not closed, or not plain text.
fn quoted<'a>(characters: &mut std::str::Chars<'a>, quote: char) -> Option<&'a str> {
    let (text, rest) = characters.as_str().split_once(quote)?;
    *characters = rest.chars();
    let is_plain = |c| !is_odd(c) && (quote == '\'' || !matches!(c, '$' | '`' | '\\'));
    text.chars().all(is_plain).then_some(text)
}

/// A control character other than the tab: a line feed ends the command, NUL ends the text, and
/// some of the others are marks that shells use inside themselves.
fn is_odd(c: char) -> bool {
    c.is_control() && c != '\t'
}
