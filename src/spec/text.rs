//! From bytes to text: size, encoding, byte order mark, NUL.

use std::path::PathBuf;
use std::sync::Arc;

use super::code;
use super::problem::{Home, Problem, Source, Span};

/// The largest file that is read, in bytes.
pub(crate) const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Decodes a file. The byte order mark is left out of the text, so that positions count from the
/// first character that the user sees.
pub(crate) fn decode(bytes: Vec<u8>, path: PathBuf, home: Home) -> Result<Arc<Source>, Problem> {
    if bytes.len() > MAX_BYTES {
        return Err(too_large(&path.display().to_string()));
    }
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            return Err(invalid_utf8(&error.into_bytes(), valid, path, home));
        }
    };
    let text = match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    };
    let nul = text.bytes().position(|byte| byte == 0);
    let source = Arc::new(Source { path, text, home });
    match nul {
        None => Ok(source),
        Some(at) => {
            let span = Span::new(&source, at..at + 1);
            Err(Problem::error(code::NUL, "a NUL byte in the file", &span)
                .hint("remove it; no argument or environment variable can hold one either"))
        }
    }
}

/// The problem with a file over the limit.
pub(crate) fn too_large(shown: &str) -> Problem {
    Problem::without_place(
        code::TOO_LARGE,
        format!("`{shown}` is larger than {} MiB", MAX_BYTES >> 20),
    )
    .hint("is it really the file you meant?")
}

fn invalid_utf8(bytes: &[u8], valid: usize, path: PathBuf, home: Home) -> Problem {
    let hint = match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "the file looks like UTF-16; save it as UTF-8",
        _ => "save the file as UTF-8",
    };
    let byte = bytes.get(valid).copied().unwrap_or_default();
    // What comes before the bad byte is unchanged by the replacement, so the offset still holds.
    let text = String::from_utf8_lossy(bytes).into_owned();
    let source = Arc::new(Source { path, text, home });
    let width = source.text[valid..]
        .chars()
        .next()
        .map_or(0, char::len_utf8);
    let span = Span::new(&source, valid..valid + width);
    let message = format!("the byte 0x{byte:02x} is not valid UTF-8");
    Problem::error(code::INVALID_UTF8, message, &span).hint(hint)
}
