//! Which values must not be shown.

use std::borrow::Cow;

use crate::spec::template::Template;

/// What stands for a value that must not be shown.
const MASK: &str = "********";

/// What makes a key's value a secret wherever it stands in the key: `PGPASSWORD`, `tokenFile`.
const TELLING: [&str; 6] = [
    "SECRET",
    "TOKEN",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "CREDENTIAL",
];

/// What does so as a word of its own: `DB_PASS`, `X-Api-Key`; `KEYBOARD` is not one.
const WORDS: [&str; 6] = ["KEY", "KEYS", "PASS", "PW", "AUTHORIZATION", "COOKIE"];

/// Whether a key's name says that its value is a secret.
fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_uppercase();
    TELLING.iter().any(|telling| key.contains(telling))
        || key.ends_with("KEY")
        || key
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(|word| WORDS.contains(&word))
}

/// The value of a key, or the mask. A text that declares a port stays, since others refer to it.
pub(super) fn mask(key: &str, template: &Template, value: String) -> String {
    let is_needed = template.placeholders().any(|(it, _)| it.is_declaration());
    if is_needed {
        value
    } else {
        mask_text(key, value)
    }
}

/// A text that is the value of a key, or the mask.
pub(in crate::plan) fn mask_text(key: &str, value: String) -> String {
    if is_secret(key) {
        MASK.to_owned()
    } else {
        value
    }
}

/// A text in which the password of every URL, `scheme://user:password@host`, is masked. One that is a
/// variable of a shell stays.
pub(in crate::plan) fn mask_urls(text: &str) -> Cow<'_, str> {
    if !text.contains("://") {
        return Cow::Borrowed(text);
    }
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
    Cow::Owned(masked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_inside_of_urls_are_masked() {
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
        ] {
            assert_eq!(mask_urls(text), masked);
        }
    }

    #[test]
    fn keys_that_look_secret_are() {
        for key in [
            "PASSWORD",
            "PGPASSWORD",
            "db_password",
            "DB_PASS",
            "API_KEY",
            "apiKey",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_ACCESS_KEY_ID",
            "githubToken",
            "Authorization",
            "X-Api-Key",
        ] {
            assert!(is_secret(key), "{key}");
        }
        for key in [
            "PORT",
            "DATABASE_URL",
            "KEYBOARD",
            "COMPASS",
            "BYPASS_CACHE",
            "PATH",
            "",
        ] {
            assert!(!is_secret(key), "{key}");
        }
    }
}
