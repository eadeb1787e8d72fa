//! Names: of projects, services and ports.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The name of a service: `[A-Za-z0-9][A-Za-z0-9_.-]*`, at most 63 bytes.
///
/// Cheap to clone; every room passes it by value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ServiceName(Arc<str>);

impl TryFrom<String> for ServiceName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::new(&text).map_err(|error| format!("`{text}` is not a service name: {error}"))
    }
}

/// The name of a port within its service: `[A-Z_a-z][A-Z_a-z0-9]*`, usually `PORT`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortName(Arc<str>);

/// One replica of a service: whose a process, a log or a line of output is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UnitId {
    /// The service.
    pub service: ServiceName,
    /// The number of the replica, from 1.
    pub replica: u32,
}

/// The name of a project: `[a-z0-9][a-z0-9_-]*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProjectName(Arc<str>);

/// Why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing is left.
    #[error("the name is empty")]
    Empty,
    /// More than 63 bytes.
    #[error("the name is longer than 63 bytes")]
    TooLong,
    /// A character that the kind of name does not allow at its place.
    #[error("`{}` cannot stand here in a name", shown(*.0))]
    Character(char),
}

/// A character as it can be read: `\u{1b}` instead of what would steer a terminal.
fn shown(character: char) -> String {
    if character.is_control() {
        character.escape_debug().to_string()
    } else {
        character.to_string()
    }
}

/// The longest name, in bytes: it becomes a part of file names and of environment keys.
const MAX_NAME: usize = 63;

fn check(
    text: &str,
    first: impl Fn(char) -> bool,
    rest: impl Fn(char) -> bool,
) -> Result<(), NameError> {
    let mut characters = text.chars();
    let start = characters.next().ok_or(NameError::Empty)?;
    if !first(start) {
        return Err(NameError::Character(start));
    }
    if let Some(bad) = characters.find(|&c| !rest(c)) {
        return Err(NameError::Character(bad));
    }
    if text.len() > MAX_NAME {
        return Err(NameError::TooLong);
    }
    Ok(())
}

impl ServiceName {
    /// Checks and wraps a service's name.
    pub fn new(text: &str) -> Result<Self, NameError> {
        check(
            text,
            |c| c.is_ascii_alphanumeric(),
            |c| c.is_ascii_alphanumeric() || "_.-".contains(c),
        )?;
        Ok(Self(text.into()))
    }

    /// The name in upper snake case, as generated environment keys begin: `skin-ai.api` gives
    /// `SKIN_AI_API`. A name that starts with a digit gets an underscore before it, since no
    /// environment key may start with one.
    pub fn env_prefix(&self) -> String {
        let mut key: String = self
            .0
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_uppercase()
                } else {
                    '_'
                }
            })
            .collect();
        if key.starts_with(|c: char| c.is_ascii_digit()) {
            key.insert(0, '_');
        }
        key
    }
}

impl PortName {
    /// Checks and wraps a port's name.
    pub fn new(text: &str) -> Result<Self, NameError> {
        check(
            text,
            |c| c.is_ascii_alphabetic() || c == '_',
            |c| c.is_ascii_alphanumeric() || c == '_',
        )?;
        Ok(Self(text.into()))
    }

    /// The name of which it is the plural: `PORT` for `PORTS`, if that is what it means.
    pub fn singular(&self) -> Option<&str> {
        self.0.strip_suffix('S')
    }

    /// The key under which a service's port is exported: `<SERVICE>_<NAME>`.
    pub fn env_key(&self, service: &ServiceName) -> String {
        format!("{}_{}", service.env_prefix(), self.0.to_ascii_uppercase())
    }

    /// The key of one replica's port, where a service is replicated: `<SERVICE>_<N>_<NAME>`.
    pub fn env_key_of(&self, service: &ServiceName, replica: u32) -> String {
        let name = self.0.to_ascii_uppercase();
        format!("{}_{replica}_{name}", service.env_prefix())
    }

    /// The key of the ports of all replicas, likewise: `<SERVICE>_<NAME>S`.
    pub fn env_key_of_all(&self, service: &ServiceName) -> String {
        format!("{}S", self.env_key(service))
    }
}

impl ProjectName {
    /// Checks and wraps a project's name as it stands.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        check(text, allowed, |c| allowed(c) || c == '_' || c == '-')?;
        Ok(Self(text.into()))
    }

    /// Makes a project's name out of any text, as Compose does for a directory's name: lower
    /// case, every other character dropped, no separator at the start. `None` if nothing is left.
    pub fn normalised(text: &str) -> Option<Self> {
        let kept: String = text
            .to_lowercase()
            .chars()
            .filter(|&c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-')
            .collect();
        let trimmed = kept.trim_start_matches(['_', '-']);
        let short = &trimmed[..trimmed.len().min(MAX_NAME)];
        Self::new(short).ok()
    }
}

impl UnitId {
    /// The only, or first, replica of a service.
    pub fn first(service: ServiceName) -> Self {
        Self {
            service,
            replica: 1,
        }
    }

    /// The name that is shown, `web` or `web-2`: the number only where the service has `replicas`
    /// of which it must be told apart.
    pub fn label(&self, replicas: u32) -> String {
        if replicas > 1 || self.replica > 1 {
            format!("{}-{}", self.service, self.replica)
        } else {
            self.service.to_string()
        }
    }
}

macro_rules! text_newtype {
    ($($name:ident),*) => {$(
        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )*};
}

text_newtype!(ServiceName, PortName, ProjectName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_names_stay_inside_their_alphabet() {
        for good in ["web", "skin-ai.api", "2fa", "A_b"] {
            assert!(ServiceName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "../x", "a/b", ".", "-x", "a b", "a\0", "\u{202e}x"] {
            assert!(ServiceName::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(ServiceName::new(&"x".repeat(64)), Err(NameError::TooLong));
    }

    #[test]
    fn environment_keys_are_upper_snake_case() {
        let service = ServiceName::new("skin-ai.api").unwrap();
        assert_eq!(
            PortName::new("PORT").unwrap().env_key(&service),
            "SKIN_AI_API_PORT"
        );
        assert_eq!(ServiceName::new("2fa").unwrap().env_prefix(), "_2FA");
        let admin = PortName::new("admin").unwrap();
        assert_eq!(admin.env_key_of(&service, 2), "SKIN_AI_API_2_ADMIN");
        assert_eq!(admin.env_key_of_all(&service), "SKIN_AI_API_ADMINS");
    }

    #[test]
    fn a_directory_name_becomes_a_project_name() {
        for (text, name) in [
            ("My_App", Some("my_app")),
            ("-Shop 2!", Some("shop2")),
            ("日本", None),
        ] {
            assert_eq!(
                ProjectName::normalised(text).map(|n| n.to_string()),
                name.map(str::to_owned)
            );
        }
    }

    #[test]
    fn a_character_that_cannot_be_seen_is_told_by_its_number() {
        let said = NameError::Character('\u{1b}').to_string();
        assert_eq!(said, "`\\u{1b}` cannot stand here in a name");
        let said = NameError::Character('\'').to_string();
        assert_eq!(said, "`'` cannot stand here in a name");
    }
}
