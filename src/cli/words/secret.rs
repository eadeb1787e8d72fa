//! Why a generated secret cannot be kept, in words.

use crate::run::secrets::{Flaw, SecretError};
use crate::support::text::io_reason;

/// What is wrong, and the way out.
pub(super) fn secret_error(error: &SecretError) -> (String, Option<&'static str>) {
    match error {
        SecretError::IsLink { path } => (
            format!("`{}` is a symbolic link", path.display()),
            Some("remove it"),
        ),
        SecretError::Unusable { path, flaw } => {
            let wrong = match flaw {
                Flaw::Empty => "it is empty".to_owned(),
                Flaw::HasNul => "it has a NUL byte in it".to_owned(),
                Flaw::TooLong { most } => format!("it is longer than {most} bytes"),
                Flaw::NotText => "it is not UTF-8 text".to_owned(),
            };
            (
                format!("`{}` cannot be a secret: {wrong}", path.display()),
                Some("write a text into it, or remove it and `stack` makes a new one"),
            )
        }
        SecretError::Io(error) => (io_reason(error), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_out_stands_in_a_hint() {
        let said = |error| {
            let (message, hint) = secret_error(&error);
            format!("{message} / {}", hint.unwrap_or_default())
        };
        let unusable = |flaw| {
            let path = "g/web.KEY".into();
            said(SecretError::Unusable { path, flaw })
        };
        let hint = "write a text into it, or remove it and `stack` makes a new one";
        for (flaw, wrong) in [
            (Flaw::Empty, "it is empty"),
            (Flaw::HasNul, "it has a NUL byte in it"),
            (Flaw::TooLong { most: 9 }, "it is longer than 9 bytes"),
            (Flaw::NotText, "it is not UTF-8 text"),
        ] {
            let wanted = format!("`g/web.KEY` cannot be a secret: {wrong} / {hint}");
            assert_eq!(unusable(flaw), wanted);
        }
        let path = "g".into();
        let wanted = "`g` is a symbolic link / remove it";
        assert_eq!(said(SecretError::IsLink { path }), wanted);
    }
}
