//! Text of others without what would steer a terminal.
//!
//! What services and their checks print, names of files and programs, command lines: all of it may
//! hold escape sequences. [`plain`] is for text that becomes part of a line of ours. Whatever goes
//! to a terminal passes the filter of `cli::printer` as well, so that a place that forgets this
//! looks odd and does no harm.

use std::mem;

/// The text without escape sequences and control characters; tabs and line ends stay.
///
/// Of a line with carriage returns the last version is left, as a terminal would show it.
pub fn plain(bytes: impl AsRef<[u8]>) -> String {
    let mut plain = Plain::default();
    vte::Parser::new().advance(&mut plain, bytes.as_ref());
    plain.text
}

/// The same on one line, with spaces for tabs and line ends.
pub fn plain_line(bytes: impl AsRef<[u8]>) -> String {
    plain(bytes).replace(['\t', '\n'], " ")
}

#[derive(Default)]
struct Plain {
    text: String,
    line_start: usize,
    is_returned: bool,
}

impl vte::Perform for Plain {
    fn print(&mut self, character: char) {
        if character == '\u{7f}' {
            return;
        }
        if mem::take(&mut self.is_returned) {
            self.text.truncate(self.line_start);
        }
        self.text.push(character);
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\t' => self.print('\t'),
            b'\r' => self.is_returned = true,
            b'\n' => {
                self.is_returned = false;
                self.text.push('\n');
                self.line_start = self.text.len();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_but_text() {
        assert_eq!(plain("grüße\t日本 ©\n"), "grüße\t日本 ©\n");
        assert_eq!(
            plain("\x1b[1;32m   Compiling\x1b[0m serde\r"),
            "   Compiling serde"
        );
        assert_eq!(plain("\x1b]52;c;aGk=\x07\x1b[2Jbad\u{9b}\x7f"), "bad");
        assert_eq!(plain("10%\r20%\r\nnext"), "20%\nnext");
        assert_eq!(plain(b"caf\xe9!"), "caf\u{fffd}!");
        assert_eq!(plain_line("a\x1b[2J\nb\tc"), "a b c");
    }
}
