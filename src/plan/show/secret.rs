//! Which values must not be shown.

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
    if is_secret(key) && !is_needed {
        MASK.to_owned()
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
