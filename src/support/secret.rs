//! Which names say that what they name is a secret, and what is shown in its place.

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
}
