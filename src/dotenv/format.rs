//! The same values for other readers: what `stack env --format` prints.

use super::quote::{self, EntryError, KeyError};

/// What the output is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// The lines of the generated block, without its fence.
    #[default]
    Dotenv,
    /// One object, keys in order.
    Json,
    /// `export KEY='value'`, for `eval` in any POSIX shell.
    Shell,
}

/// Renders all entries; the text ends with a line feed unless it is empty.
///
/// JSON and the shell can hold what no .env file can, so only `Dotenv` has limits beyond the key's.
pub fn render(format: Format, entries: &[(String, String)]) -> Result<String, EntryError> {
    match format {
        Format::Dotenv => quote::lines(entries).map(|(text, _)| text),
        Format::Json => Ok(json(entries)),
        Format::Shell => entries
            .iter()
            .map(|(key, value)| shell(key, value))
            .collect(),
    }
}

fn json(entries: &[(String, String)]) -> String {
    let object: serde_json::Map<_, _> = entries
        .iter()
        .map(|(key, value)| (key.clone(), value.clone().into()))
        .collect();
    format!("{:#}\n", serde_json::Value::Object(object))
}

fn shell(key: &str, value: &str) -> Result<String, EntryError> {
    quote::check_key(key).map_err(|source: KeyError| EntryError::Key {
        key: key.to_owned(),
        source,
    })?;
    if value.contains('\0') {
        return Err(EntryError::Value {
            key: key.to_owned(),
            source: quote::QuoteError::Nul,
        });
    }
    Ok(format!("export {key}='{}'\n", value.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<(String, String)> {
        [("WEB_PORT", "8001"), ("API", "it's $HOME"), ("A", "x\ny")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .to_vec()
    }

    #[test]
    fn each_format_keeps_the_order_and_the_values() {
        let all = entries();
        assert_eq!(
            render(Format::Dotenv, &all).unwrap(),
            "WEB_PORT=8001\nAPI=\"it's \\$HOME\"\nA='x\ny'\n"
        );
        assert_eq!(
            render(Format::Json, &all).unwrap(),
            "{\n  \"WEB_PORT\": \"8001\",\n  \"API\": \"it's $HOME\",\n  \"A\": \"x\\ny\"\n}\n"
        );
        assert_eq!(
            render(Format::Shell, &all).unwrap(),
            "export WEB_PORT='8001'\nexport API='it'\\''s $HOME'\nexport A='x\ny'\n"
        );
    }

    #[test]
    fn no_entries_are_no_lines() {
        assert_eq!(render(Format::Dotenv, &[]).unwrap(), "");
        assert_eq!(render(Format::Json, &[]).unwrap(), "{}\n");
        assert_eq!(render(Format::Shell, &[]).unwrap(), "");
    }

    #[test]
    fn the_shell_form_cannot_be_broken_out_of() {
        let bad = [("A;id".to_owned(), "x".to_owned())];
        assert_eq!(
            render(Format::Shell, &bad).unwrap_err().code(),
            "stack::dotenv::key"
        );
    }
}
