//! What a service may do to the terminal: colour its text, nothing else.
//!
//! One service among many must not move the cursor, clear the screen, set the title or reach the
//! clipboard. [`Filter`] lets text and SGR sequences through, drops every other sequence, and
//! turns a carriage return into what it leaves on the screen: the last version of the line. It
//! keeps its state between blocks, as a sequence may be cut anywhere. Used by
//! [`super::painter`], for terminals only: pipes and files get the bytes as they are.

/// The longest SGR sequence that is kept; true colour for both sides takes 40 bytes.
const MAX_SGR: usize = 64;

const ESC: u8 = 0x1b;
const BEL: u8 = 0x07;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    /// After ESC.
    Escape,
    /// After ESC and an intermediate byte: a choice of character set, for one.
    Intermediate,
    /// After ESC [, until a final byte.
    Csi,
    /// In a string (OSC, DCS, SOS, PM, APC), until BEL or ESC \.
    Text,
    /// In a string, after ESC.
    TextEscape,
    /// After the byte 0xC2, which may begin a C1 control in UTF-8.
    Lead,
}

/// The filter of one stream of one service.
#[derive(Debug, Default)]
pub(super) struct Filter {
    state: State,
    /// The parameters of the control sequence that is being read.
    parameters: Vec<u8>,
    /// Whether some text attribute is on.
    is_styled: bool,
    /// Whether the cursor was put back to the start of the line.
    is_returned: bool,
}

/// Where a piece of a line stands, for what a carriage return does to it.
pub(super) struct Piece<'a> {
    /// Whether an earlier piece of the same line is on the screen already.
    pub(super) is_continued: bool,
    /// What stands at the start of each line.
    pub(super) head: &'a [u8],
}

/// Whether a line can be shown as it is. Deliberately without an early exit, so that it is
/// compiled to a few vector instructions: almost every line is plain.
pub(super) fn is_plain(line: &[u8]) -> bool {
    !line
        .iter()
        .fold(false, |is_special, &byte| is_special | is_control(byte))
}

/// Whether a byte is a control character, or may begin one.
fn is_control(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f || byte == 0xc2
}

impl Filter {
    /// Whether nothing is left over from the piece before.
    pub(super) fn is_at_rest(&self) -> bool {
        self.state == State::Ground && !self.is_styled && !self.is_returned
    }

    /// Appends what of `bytes`, a piece of one line without its end, may be shown.
    pub(super) fn push(&mut self, bytes: &[u8], piece: &Piece<'_>, out: &mut Vec<u8>) {
        let mut is_continued = piece.is_continued;
        let mut start = out.len();
        for &byte in bytes {
            let begins_text = match self.state {
                State::Ground => !is_control(byte),
                State::Lead => !(0x80..0xa0).contains(&byte),
                State::Escape
                | State::Intermediate
                | State::Csi
                | State::Text
                | State::TextEscape => false,
            };
            if begins_text && self.is_returned {
                self.is_returned = false;
                if is_continued {
                    // What is on the screen cannot be taken back: the new version follows below.
                    self.reset(out);
                    out.push(b'\n');
                    out.extend_from_slice(piece.head);
                    is_continued = false;
                    start = out.len();
                } else {
                    out.truncate(start);
                    self.is_styled = false;
                }
            }
            self.step(byte, out);
        }
    }

    /// Ends the line: an unfinished sequence is dropped, so that it cannot swallow the next line,
    /// and attributes are switched off.
    pub(super) fn end_line(&mut self, out: &mut Vec<u8>) {
        self.state = State::Ground;
        self.is_returned = false;
        self.reset(out);
    }

    fn reset(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.is_styled) {
            out.extend_from_slice(b"\x1b[0m");
        }
    }

    fn step(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.state = match self.state {
            State::Ground => self.ground(byte, out),
            State::Escape => match byte {
                b'[' => {
                    self.parameters.clear();
                    State::Csi
                }
                b']' | b'P' | b'X' | b'^' | b'_' => State::Text,
                0x20..=0x2f => State::Intermediate,
                ESC => State::Escape,
                0x00..=0x1f | 0x30..=0xff => State::Ground,
            },
            State::Intermediate => match byte {
                0x20..=0x2f => State::Intermediate,
                ESC => State::Escape,
                0x00..=0x1f | 0x30..=0xff => State::Ground,
            },
            State::Csi => self.csi(byte, out),
            State::Text => match byte {
                BEL => State::Ground,
                ESC => State::TextEscape,
                0x00..=0x06 | 0x08..=0x1a | 0x1c..=0xff => State::Text,
            },
            State::TextEscape if byte == b'\\' => State::Ground,
            // A terminal takes any other ESC as the start of a new sequence.
            State::TextEscape => {
                self.state = State::Escape;
                self.step(byte, out);
                self.state
            }
            State::Lead => match byte {
                0x9b => {
                    self.parameters.clear();
                    State::Csi
                }
                0x90 | 0x98 | 0x9d | 0x9e | 0x9f => State::Text,
                0x80..=0x8f | 0x91..=0x97 | 0x99 | 0x9a | 0x9c => State::Ground,
                0xa0..=0xbf => {
                    out.extend_from_slice(&[0xc2, byte]);
                    State::Ground
                }
                // No UTF-8. Left alone, the lead might find a second byte once what stands between
                // has been dropped, and be a control after all.
                0x00..=0x7f | 0xc0..=0xff => {
                    out.extend_from_slice("\u{fffd}".as_bytes());
                    self.ground(byte, out)
                }
            },
        };
    }

    fn ground(&mut self, byte: u8, out: &mut Vec<u8>) -> State {
        match byte {
            ESC => return State::Escape,
            0xc2 => return State::Lead,
            b'\r' => self.is_returned = true,
            b'\t' | 0x20..=0x7e | 0x80..=0xff => out.push(byte),
            0x00..=0x1f | 0x7f => {}
        }
        State::Ground
    }

    fn csi(&mut self, byte: u8, out: &mut Vec<u8>) -> State {
        match byte {
            0x20..=0x3f => {
                if self.parameters.len() <= MAX_SGR {
                    self.parameters.push(byte);
                }
                State::Csi
            }
            b'm' => {
                // `?`, `>` and the like make another sequence of it, one that sets a mode.
                let is_sgr = self
                    .parameters
                    .iter()
                    .all(|b| matches!(b, b'0'..=b'9' | b';' | b':'));
                if is_sgr && self.parameters.len() <= MAX_SGR {
                    out.extend_from_slice(b"\x1b[");
                    out.extend_from_slice(&self.parameters);
                    out.push(b'm');
                    self.is_styled = !self.parameters.iter().all(|&b| b == b'0');
                }
                State::Ground
            }
            ESC => State::Escape,
            0x00..=0x1a | 0x1c..=0x1f | 0x40..=0x6c | 0x6e..=0xff => State::Ground,
        }
    }
}

/// The text of a line without any sequence, for where it is cut and drawn over.
pub(super) fn strip(line: &[u8]) -> String {
    let mut filter = Filter::default();
    let mut kept = Vec::with_capacity(line.len());
    let piece = Piece {
        is_continued: false,
        head: b"",
    };
    let mut plain = Vec::with_capacity(line.len());
    filter.push(line, &piece, &mut kept);
    // What is left are SGR sequences, which are well formed.
    let mut rest = kept.as_slice();
    while let Some(at) = memchr::memchr(ESC, rest) {
        plain.extend_from_slice(&rest[..at]);
        let end = memchr::memchr(b'm', &rest[at..]).map_or(rest.len(), |end| at + end + 1);
        rest = &rest[end..];
    }
    plain.extend_from_slice(rest);
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filtered(pieces: &[&[u8]]) -> String {
        let mut filter = Filter::default();
        let mut out = Vec::new();
        for (place, bytes) in pieces.iter().enumerate() {
            let piece = Piece {
                is_continued: place > 0,
                head: b"api | ",
            };
            filter.push(bytes, &piece, &mut out);
        }
        filter.end_line(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn text_and_colour_pass() {
        assert_eq!(filtered(&["grüße\t日本 ©".as_bytes()]), "grüße\t日本 ©");
        assert_eq!(
            filtered(&[b"\x1b[1;38:5:9mred\x1b[0m."]),
            "\x1b[1;38:5:9mred\x1b[0m."
        );
        assert_eq!(filtered(&[b"\x1b[32mopen"]), "\x1b[32mopen\x1b[0m");
        assert_eq!(filtered(&[b"\x1b[3", b"2mcut"]), "\x1b[32mcut\x1b[0m");
    }

    #[test]
    fn everything_else_is_dropped() {
        for hostile in [
            "\x1b[2J",
            "\x1b[H",
            "\x1b[5A",
            "\x1b[?25l",
            "\x1b[?1049h",
            "\x1b[>4;1m",
            "\x1bc",
            "\x1b]0;title\x07",
            "\x1b]52;c;aGk=\x1b\\",
            "\x1bP+q\x1b\\",
            "\x1b(0",
            "\x1b[6n",
            "\u{9b}2J",
            "\u{9d}0;t\x07",
            "\u{85}",
            "\x07",
            "\x08",
            "\x00",
            "\x7f",
        ] {
            let line = format!("a{hostile}b");
            assert_eq!(filtered(&[line.as_bytes()]), "ab", "{hostile:?}");
        }
    }

    #[test]
    fn an_unfinished_sequence_swallows_no_more_than_its_line() {
        let mut filter = Filter::default();
        let mut out = Vec::new();
        let piece = Piece {
            is_continued: false,
            head: b"",
        };
        filter.push(b"a\x1b]0;never ends", &piece, &mut out);
        filter.end_line(&mut out);
        assert!(filter.is_at_rest());
        filter.push(b"b", &piece, &mut out);
        assert_eq!(out, b"ab");
    }

    #[test]
    fn a_carriage_return_leaves_the_last_version() {
        assert_eq!(filtered(&[b"10%\r20%\r30%"]), "30%");
        assert_eq!(filtered(&[b"done\r"]), "done");
        assert_eq!(filtered(&[b"done\r\x1b[K"]), "done");
        assert_eq!(filtered(&[b"\x1b[31m10%\r20%"]), "20%");
    }

    #[test]
    fn what_is_on_the_screen_already_is_followed_below() {
        assert_eq!(filtered(&[b"10%", b"\r20%"]), "10%\napi | 20%");
        assert_eq!(filtered(&[b"10%\r", b"20%"]), "10%\napi | 20%");
        assert_eq!(filtered(&[b"10%", b" and on"]), "10% and on");
    }

    #[test]
    fn a_line_for_the_live_region_is_plain_text() {
        assert_eq!(
            strip(b"\x1b[1;32m   Compiling\x1b[0m serde\r"),
            "   Compiling serde"
        );
    }

    proptest! {
        #[test]
        fn nothing_but_colour_gets_through(
            bytes in prop::collection::vec(
                prop_oneof![
                    Just(0x1b), Just(b'['), Just(b']'), Just(b'm'), Just(b';'), Just(b'?'),
                    Just(0xc2), Just(0x9b), any::<u8>(),
                ],
                0..60,
            ).prop_map(|mut bytes| { bytes.retain(|&b| b != b'\n'); bytes }),
        ) {
            let mut filter = Filter::default();
            let mut out = Vec::new();
            filter.push(&bytes, &Piece { is_continued: false, head: b"" }, &mut out);
            filter.end_line(&mut out);
            let mut rest = out.as_slice();
            while let Some(at) = rest.iter().position(|&b| b == 0x1b) {
                prop_assert!(is_harmless(&rest[..at]));
                let end = rest[at..].iter().position(|&b| b == b'm');
                prop_assert!(end.is_some());
                let end = at + end.unwrap();
                prop_assert!(rest[at + 1..end].iter().all(|b| b"[0123456789;:".contains(b)));
                rest = &rest[end + 1..];
            }
            prop_assert!(is_harmless(rest));
        }

        #[test]
        fn a_plain_line_is_not_changed(line in "[ -~\t\u{a0}-\u{2fff}]{0,40}") {
            prop_assert_eq!(filtered(&[line.as_bytes()]), line);
        }
    }

    fn is_harmless(bytes: &[u8]) -> bool {
        let has_c1 = bytes
            .windows(2)
            .any(|pair| pair[0] == 0xc2 && (0x80..0xa0).contains(&pair[1]));
        let text: Vec<u8> = bytes.iter().copied().filter(|&b| b != 0xc2).collect();
        is_plain(&text) && !has_c1
    }
}
