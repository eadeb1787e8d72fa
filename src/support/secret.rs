//! What must not be shown, and what is shown in its place: one rule for every look at the files.
//!
//! Masked are the value of a key whose name says so, `NAME=value` of such a name inside of a text, what
//! came from such a variable, and the password of a URL. What only refers to something, `${…}` or `$<…>`,
//! gives nothing away and stays; the default in it is a text as any other.

use super::text::name_length;

/// What stands for a value that must not be shown.
pub const MASK: &str = "********";

/// What makes a word one for a secret, wherever it ends so: `PGPASSWORD`, `githubtoken`.
const TELLING: [&str; 10] = [
    "SECRET",
    "TOKEN",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "CREDENTIAL",
    "APIKEY",
    "ACCESSKEY",
    "PRIVATEKEY",
    "AUTHKEY",
];

/// What does so alone: `DB_PASS`.
const WORDS: [&str; 4] = ["PASS", "PW", "AUTHORIZATION", "COOKIE"];

/// Before `KEY`: what everybody may know, or no key to anything.
const OPEN_KEYS: [&str; 10] = [
    "PUBLIC",
    "PUBLISHABLE",
    "SORT",
    "PRIMARY",
    "FOREIGN",
    "PARTITION",
    "CACHE",
    "GROUP",
    "INDEX",
    "HASH",
];

/// At the end: where a secret is, and not what it is.
const PLACES: [&str; 3] = ["FILE", "PATH", "DIR"];

/// Whether a name says that its value is a secret: `DB_PASSWORD`, `X-Api-Key`, `githubToken`. `MONKEY`,
/// `SORT_KEY` and `TOKENIZERS` do not.
pub fn is_secret(name: &str) -> bool {
    let words = words(name);
    if words
        .last()
        .is_some_and(|last| PLACES.contains(&last.as_str()))
    {
        return false;
    }
    let is_telling = |word: &str| {
        // Of several tokens there are mostly a number: `MAX_TOKENS`.
        let one = word.strip_suffix('S').filter(|one| *one != "TOKEN");
        TELLING.iter().any(|it| one.unwrap_or(word).ends_with(it))
    };
    words.iter().enumerate().any(|(at, word)| {
        let before = at.checked_sub(1).map(|before| words[before].as_str());
        let is_open = before.is_some_and(|before| OPEN_KEYS.contains(&before));
        WORDS.contains(&word.as_str())
            || is_telling(word)
            || matches!(word.as_str(), "KEY" | "KEYS") && !is_open
    })
}

/// The words of a name, in capitals: `X-Api-Key` and `xApiKey` have three.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_small = false;
    for c in name.chars() {
        let is_new = !c.is_ascii_alphanumeric() || (was_small && c.is_ascii_uppercase());
        was_small = c.is_ascii_lowercase() || c.is_ascii_digit();
        if is_new {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c.is_ascii_alphanumeric()) {
            word.push(c.to_ascii_uppercase());
        }
    }
    words
}

/// A settled value of a key, masked where it must be.
pub fn mask_value(key: &str, value: &str) -> String {
    if !value.is_empty() && is_secret(key) {
        MASK.to_owned()
    } else {
        mask_text(value)
    }
}

/// A text as it is written, masked where it must be.
pub fn mask_text(text: &str) -> String {
    mask_written(text, false)
}

/// The written value of a key, masked where it must be.
pub fn mask_key(key: &str, text: &str) -> String {
    // The list of this name holds names.
    mask_written(text, key != "secrets" && is_secret(key))
}

/// The default of a variable.
pub fn mask_default(name: &str, text: &str) -> String {
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

/// Whether a word of a command is a secret because of the one before it: `--password`. An option is none,
/// and a variable of a shell gives nothing away.
pub fn is_asked_for(before: &str, word: &str) -> bool {
    let asks = before.starts_with("--") && !before.contains('=') && is_flag_of_secret(before);
    asks && !word.starts_with('-') && !is_shell_variable(word)
}

/// The words of a command, of which one may say that the next is a secret.
pub fn mask_words(words: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    let mut before = String::new();
    words.map(move |word| {
        let masked = if is_asked_for(&before, &word) {
            mask_key(&before, &word)
        } else {
            word.clone()
        };
        before = word;
        masked
    })
}

/// Whether a text is but a variable of a shell, `$NAME` or `$(command)`.
fn is_shell_variable(text: &str) -> bool {
    text.starts_with('$') && !text.starts_with("${") && !text.starts_with("$<")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known() {
        let secret = "PASSWORD PGPASSWORD db_password DB_PASSWORDS DB_PASS API_KEY API_KEYS apiKey apikey KEY
            AWS_SECRET_ACCESS_KEY AWS_ACCESS_KEY_ID githubToken GITHUBTOKEN TOKEN Authorization X-Api-Key
            SECRET_KEY_BASE CREDENTIALS";
        for name in secret.split_whitespace() {
            assert!(is_secret(name), "{name}");
        }
        let open = "PORT DATABASE_URL KEYBOARD MONKEY SORT_KEY PUBLIC_KEY sortKey COMPASS BYPASS_CACHE PATH
            TOKENIZERS_PARALLELISM MAX_TOKENS PASSWORDLESS POSTGRES_PASSWORD_FILE tokenFile SECRETARY";
        for name in open.split_whitespace().chain([""]) {
            assert!(!is_secret(name), "{name}");
        }
    }

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
    }

    #[test]
    fn a_word_may_say_that_the_next_is_a_secret() {
        for (words, masked) in [
            ("x --password p q", "x --password ******** q"),
            ("x --api-key k", "x --api-key ********"),
            ("x --password -x", "x --password -x"),
            ("x --password $X", "x --password $X"),
            ("x --password ${X} y", "x --password ${X} y"),
            ("x --password ${X:-p}", "x --password ${X:-********}"),
            ("x --key k password p", "x --key k password p"),
            ("x --password=p q", "x --password=p q"),
        ] {
            let split = words.split(' ').map(str::to_owned);
            assert_eq!(mask_words(split).collect::<Vec<_>>().join(" "), masked);
        }
    }
}
