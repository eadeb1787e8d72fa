//! What can be wrong in a .env file, each with its code and what to do about it.

/// `$NAME` or `${NAME}` without a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsetVariable {
    /// The byte of its `$`, counted as in [`ReadError`].
    pub at: usize,
    /// The variable.
    pub name: String,
}

/// Something wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadError {
    /// At which byte of the text, without its byte order mark, and with a replacement character for what
    /// is not UTF-8.
    pub at: usize,
    /// What is wrong.
    pub kind: ReadErrorKind,
}

/// What can be wrong in a .env file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadErrorKind {
    /// A line that begins with `=` or `:`.
    #[error("there is no key before the `=`")]
    KeyMissing,
    /// A character that no key may have.
    #[error("`{}` cannot stand in a key", .0.escape_debug())]
    KeyCharacter(char),
    /// Two words before the `=`, or a line that is not an assignment.
    #[error("a key cannot hold a space")]
    KeySpace,
    /// A quote, this one, that is never closed.
    #[error("the quote is not closed")]
    Unterminated(char),
    /// Something directly behind a closing quote.
    #[error("text follows the closing quote")]
    TextAfterQuote,
    /// `${` without a valid name, operator or closing brace.
    #[error("this is not a valid variable")]
    BadVariable,
    /// `${NAME:?message}` without a value.
    #[error("`{name}` is required{}{message}", if .message.is_empty() { "" } else { ": " })]
    Required {
        /// The variable.
        name: String,
        /// The file's own words.
        message: String,
    },
    /// `${A:-${B:-…}}`, too many times.
    #[error("the variables are nested too deeply")]
    TooDeep,
    /// A value, or all of them, beyond every use.
    #[error("the values are too long")]
    TooLong,
    /// No environment can hold it.
    #[error("a value cannot hold a NUL byte")]
    Nul,
    /// Bytes that are not text.
    #[error("this is not valid UTF-8")]
    NotUtf8,
}

impl ReadErrorKind {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        self.row().0
    }

    /// What to do about it.
    pub const fn hint(&self) -> &'static str {
        self.row().1
    }

    const fn row(&self) -> (&'static str, &'static str) {
        const FORM: &str = "write KEY=value; a comment starts with #";
        const SINGLE: &str =
            "in single quotes, \\' is a quote: a value that ends in \\ needs double quotes";
        const DOUBLE: &str = "close it; inside double quotes, \\\" is a quote and \\\\ a backslash";
        const WHOLE: &str = "quote the whole value; inside double quotes, \\\" is a quote";
        const NUL: &str = "remove it; no program can be given one";
        const OWN: &str = "give the default in a variable of its own";
        const FILE: &str = "put it into a file, and its path here";
        match self {
            Self::KeyMissing => ("stack::dotenv::key_missing", FORM),
            Self::KeyCharacter(_) => ("stack::dotenv::key_character", FORM),
            Self::KeySpace => ("stack::dotenv::key_space", FORM),
            Self::Unterminated('\'') => ("stack::dotenv::unterminated_quote", SINGLE),
            Self::Unterminated(_) => ("stack::dotenv::unterminated_quote", DOUBLE),
            Self::TextAfterQuote => ("stack::dotenv::text_after_quote", WHOLE),
            Self::BadVariable => ("stack::dotenv::bad_variable", "write $$ for a dollar sign"),
            Self::Required { .. } => (
                "stack::dotenv::required_variable",
                "set it in the environment",
            ),
            Self::TooDeep => ("stack::dotenv::nested_too_deeply", OWN),
            Self::TooLong => ("stack::dotenv::values_too_long", FILE),
            Self::Nul => ("stack::dotenv::nul", NUL),
            Self::NotUtf8 => ("stack::dotenv::not_utf8", "save the file as UTF-8"),
        }
    }

    /// Wrong at a byte.
    pub(super) const fn at(self, at: usize) -> ReadError {
        ReadError { at, kind: self }
    }
}
