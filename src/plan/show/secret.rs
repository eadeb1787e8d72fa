//! What of a text must not be shown: one rule for every look at the files.
//!
//! Masked are the value of a key whose name says so, `NAME=value` of such a name inside of a text, what
//! came from such a variable, and the password of a URL. What only refers to something, `${…}` or `$<…>`,
//! gives nothing away and stays; the default in it is a text as any other.

use crate::spec::template::Template;
use crate::support::secret::{MASK, is_secret};
use crate::support::text::name_length;

/// The value of a key, or the mask. A text that declares a port stays, since others refer to it, and so
/// does one that is but a reference.
pub(super) fn mask(key: &str, template: &Template, value: String) -> String {
    let mut placeholders = template.placeholders();
    let is_reference = template.placeholders().count() == template.pieces.len();
    if is_reference
        || placeholders.any(|(it, _)| it.is_declaration())
        || value.is_empty()
        || !is_secret(key)
    {
        value
    } else {
        MASK.to_owned()
    }
}

/// The words of a command, of which one may say that the next is a secret.
pub(super) fn mask_words(words: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    let mut is_next = false;
    words.map(move |word| {
        let is_masked = is_next && !word.starts_with(['-', '$']);
        is_next = asks_for_secret(&word);
        if is_masked { MASK.to_owned() } else { word }
    })
}

/// A settled value of a key, masked where it must be.
pub(in crate::plan) fn mask_value(key: &str, value: &str) -> String {
    if !value.is_empty() && is_secret(key) {
        MASK.to_owned()
    } else {
        mask_text(value)
    }
}

/// A text as it is written, masked where it must be.
pub(in crate::plan) fn mask_text(text: &str) -> String {
    mask_written(text, false)
}

/// The written value of a key, masked where it must be.
pub(in crate::plan) fn mask_key(key: &str, text: &str) -> String {
    // The list of this name holds names.
    mask_written(text, key != "secrets" && is_secret(key))
}

/// The default of a variable.
pub(in crate::plan) fn mask_default(name: &str, text: &str) -> String {
    mask_written(text, is_secret(name))
}

/// A text in which references stand; all else in it is a secret, or may hold some.
fn mask_written(text: &str, is_all: bool) -> String {
    let (mut masked, mut rest) = (String::new(), text);
    while !rest.is_empty() {
        let at = [rest.find("${"), rest.find("$<")];
        let at = at.into_iter().flatten().min().unwrap_or(rest.len());
        let (plain, reference) = rest.split_at(at);
        if is_all && plain.contains(|c: char| !c.is_whitespace()) {
            masked.push_str(MASK);
        } else {
            masked.push_str(&mask_assignments(&mask_urls(plain)));
        }
        let length = reference_length(reference);
        let (reference, after) = reference.split_at(length);
        masked.push_str(&mask_reference(reference, is_all));
        rest = after;
    }
    masked
}

/// How long the `${…}` or `$<…>` is with which a text begins; without an end it is all of it.
fn reference_length(text: &str) -> usize {
    let (open, close) = match text.as_bytes().get(1) {
        Some(b'<') => return text.find('>').map_or(text.len(), |at| at + 1),
        _ => ("${", '}'),
    };
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        depth += usize::from(text[at..].starts_with(open));
        if c == close {
            depth -= 1;
            if depth == 0 {
                return at + 1;
            }
        }
    }
    text.len()
}

/// A `${NAME:-default}` with its default masked, where it must be; any other reference as it is.
fn mask_reference(reference: &str, is_all: bool) -> String {
    let Some(body) = reference.strip_prefix("${") else {
        return reference.to_owned();
    };
    let (name, after) = body.split_at(name_length(body));
    let sign = after.len() - after.trim_start_matches(':').len();
    if !matches!(after[sign..].chars().next(), Some('-' | '+' | '=')) {
        return reference.to_owned();
    }
    let (operator, text) = after.split_at(sign + 1);
    let (text, end) = match text.strip_suffix('}') {
        Some(text) => (text, "}"),
        None => (text, ""),
    };
    let text = mask_written(text, is_all || is_secret(name));
    format!("${{{name}{operator}{text}{end}")
}

/// A text in which the password of every URL, `scheme://user:password@host`, is masked. One that is a
/// variable of a shell stays.
fn mask_urls(text: &str) -> String {
    let (mut masked, mut rest) = (String::new(), text);
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        masked.push_str(before);
        rest = after;
        let is_end = |c: char| c.is_whitespace() || "/?#'\"<>".contains(c);
        let authority = &rest[..rest.find(is_end).unwrap_or(rest.len())];
        let password = authority.rsplit_once('@').and_then(|(user, _)| {
            let (name, password) = user.split_once(':')?;
            (!password.is_empty() && !password.starts_with('$')).then_some((name, user))
        });
        if let Some((name, user)) = password {
            masked.push_str(name);
            masked.push(':');
            masked.push_str(MASK);
            rest = &rest[user.len()..];
        }
    }
    masked.push_str(rest);
    masked
}

/// A text in which the value of every `NAME=value` and `NAME: value` is masked whose name says that it is
/// a secret, as `env PGPASSWORD=…`, `--api-key=…` and `curl -H 'Authorization: …'` have them.
fn mask_assignments(text: &str) -> String {
    let (mut masked, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(['=', ':']) {
        let is_line = rest[at..].starts_with(": ");
        let (before, after) = rest.split_at(at + 1 + usize::from(is_line));
        masked.push_str(before);
        rest = after;
        let is_part = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let name = before[..at].rsplit(|c| !is_part(c)).next().unwrap_or("");
        let is_assignment = is_line || before.ends_with('=');
        if !is_assignment || !is_flag_of_secret(name) {
            continue;
        }
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
        // One that is not closed may be the end of a text: `echo 'password: '`.
        if is_line && quote.is_some_and(|quote| !rest[1..].contains(quote)) {
            continue;
        }
        let start = usize::from(quote.is_some());
        let is_end = |c: char| match quote {
            Some(quote) => c == quote,
            None if is_line => "\n'\"".contains(c),
            None => c.is_whitespace() || "&;,'\"|)".contains(c),
        };
        let value = &rest[start..];
        let value = value[..value.find(is_end).unwrap_or(value.len())].trim_end();
        if !value.is_empty() && !value.starts_with('$') {
            masked.push_str(&rest[..start]);
            masked.push_str(MASK);
            rest = &rest[start + value.len()..];
        }
    }
    masked.push_str(rest);
    masked
}

/// Whether what follows a name inside of a text is a secret. `sort --key=2` is none.
fn is_flag_of_secret(name: &str) -> bool {
    let name = name.trim_start_matches('-');
    is_secret(name) && !name.eq_ignore_ascii_case("key")
}

/// Whether the word after this one is a secret: `--password`.
fn asks_for_secret(word: &str) -> bool {
    word.starts_with("--") && !word.contains('=') && is_flag_of_secret(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_inside_of_texts_are_masked() {
        for (text, masked) in [
            (
                "postgres://u:p@h:5432/db",
                "postgres://u:********@h:5432/db",
            ),
            (
                "a=http://u:p@h b=redis://:s3@h/0",
                "a=http://u:********@h b=redis://:********@h/0",
            ),
            ("amqp://u:p@ss@h", "amqp://u:********@h"),
            ("http://u@h/a:b@c", "http://u@h/a:b@c"),
            ("http://h:80/x?y=a:b@c", "http://h:80/x?y=a:b@c"),
            ("http://u:@h", "http://u:@h"),
            ("psql postgres://u:$PW@h", "psql postgres://u:$PW@h"),
            ("no url: a:b@c", "no url: a:b@c"),
            ("://", "://"),
            ("${U:-http://a:b@c}", "${U:-http://a:********@c}"),
            (
                "${A:-${B:-http://a:b@c}} d",
                "${A:-${B:-http://a:********@c}} d",
            ),
            ("x ${DB_PASSWORD:-p} y", "x ${DB_PASSWORD:-********} y"),
            (
                "${TOKEN} ${TOKEN:?say it} $<TOKEN:secret>",
                "${TOKEN} ${TOKEN:?say it} $<TOKEN:secret>",
            ),
            ("${TOKEN:-$<K:secret>}", "${TOKEN:-$<K:secret>}"),
            ("PGPASSWORD=p psql", "PGPASSWORD=******** psql"),
            (
                "x --api-key=k --key=2 -n=1",
                "x --api-key=******** --key=2 -n=1",
            ),
            (
                "user=me password='a b' db=x",
                "user=me password='********' db=x",
            ),
            (
                "TOKEN=$(cat t) PASSWORD=\"$P\" x",
                "TOKEN=$(cat t) PASSWORD=\"$P\" x",
            ),
            ("http://h/?token=t&x=1", "http://h/?token=********&x=1"),
            ("PASSWORD= x", "PASSWORD= x"),
            (
                "curl -H 'Authorization: Bearer b' h:80",
                "curl -H 'Authorization: ********' h:80",
            ),
            (
                "a:\n  password: p q\n  b: c",
                "a:\n  password: ********\n  b: c",
            ),
            (
                "echo 'password: '; x token:y",
                "echo 'password: '; x token:y",
            ),
            ("${never", "${never"),
            ("$<never", "$<never"),
        ] {
            assert_eq!(mask_text(text), masked);
        }
    }

    #[test]
    fn the_value_of_a_secret_key_is_masked_where_it_is_not_a_reference() {
        for (text, masked) in [
            ("p", "********"),
            ("", ""),
            ("${P}", "${P}"),
            ("${P:-p}", "${P:-********}"),
            ("a${P}", "********${P}"),
            ("$<K:secret>", "$<K:secret>"),
        ] {
            assert_eq!(mask_key("DB_PASSWORD", text), masked);
        }
        assert_eq!(mask_key("secrets", "db"), "db");
        assert_eq!(mask_value("DB_PASSWORD", "${P}"), "********");
        assert_eq!(mask_value("DB_PASSWORD", ""), "");
        assert_eq!(mask_value("URL", "http://a:b@c"), "http://a:********@c");
        assert_eq!(mask_default("DB_PASSWORD", "p"), "********");
        assert!(asks_for_secret("--password") && asks_for_secret("--api-key"));
        assert!(!asks_for_secret("--key") && !asks_for_secret("password"));
    }
}
