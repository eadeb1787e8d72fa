//! The one filter between what is not ours and a terminal: text and colour pass, nothing else.
//!
//! A service, a check or the name of a file must not move the cursor, clear the screen, set the
//! title or reach the clipboard. [`Filter`] lets text and SGR sequences through, drops every other
//! sequence, and turns a carriage return into what it leaves on the screen: the last version of the
//! line. It keeps its state between blocks, as a sequence may be cut anywhere.
//!
//! [`super::painter`] uses it for what services print, and [`push_text`] for all that we say, in
//! which anything of others may stand.

use std::io::Write as _;
use std::mem;

/// The filter of one stream of one service.
#[derive(Default)]
pub(super) struct Filter {
    parser: vte::Parser,
    line: Line,
}

/// What is known of the line at hand.
#[derive(Debug, Default, PartialEq, Eq)]
struct Line {
    /// Whether something of it has come by.
    is_begun: bool,
    /// Whether some text attribute is on.
    is_styled: bool,
    /// Whether the cursor was put back to the start of the line.
    is_returned: bool,
}

/// Whether a line can be shown as it is. Deliberately without an early exit, so that it is
/// compiled to a few vector instructions: almost every line is plain.
pub(super) fn is_plain(line: &[u8]) -> bool {
    let is_control = |byte: u8| (byte < 0x20 && byte != b'\t') || byte == 0x7f || byte == 0xc2;
    !line
        .iter()
        .fold(false, |is_special, &byte| is_special | is_control(byte))
}

/// Appends text of one line or several, each of which ends with its attributes switched off.
pub(super) fn push_text(text: &str, out: &mut Vec<u8>) {
    let mut filter = Filter::default();
    for line in text.split_inclusive('\n') {
        let text = line.strip_suffix('\n');
        let whole = text.unwrap_or(line).as_bytes();
        if is_plain(whole) {
            out.extend_from_slice(whole);
        } else {
            filter.push(whole, None, out);
            filter.end_line(out);
        }
        if text.is_some() {
            out.push(b'\n');
        }
    }
}

impl Filter {
    /// Whether nothing is left over from the piece before.
    pub(super) fn is_at_rest(&self) -> bool {
        self.line == Line::default()
    }

    /// Appends what of `bytes`, a piece of one line without its end, may be shown. Where an earlier
    /// piece of the line is on the screen already, `head` is what stands at the start of each line.
    pub(super) fn push(&mut self, bytes: &[u8], head: Option<&[u8]>, out: &mut Vec<u8>) {
        self.line.is_begun = true;
        let mut screen = Screen {
            line: &mut self.line,
            head,
            start: out.len(),
            out,
        };
        self.parser.advance(&mut screen, bytes);
    }

    /// Ends the line: an unfinished sequence is dropped, so that it cannot swallow the next line,
    /// and attributes are switched off.
    pub(super) fn end_line(&mut self, out: &mut Vec<u8>) {
        let line = mem::take(&mut self.line);
        if line.is_begun {
            self.parser = vte::Parser::new();
        }
        if line.is_styled {
            out.extend_from_slice(RESET);
        }
    }
}

const RESET: &[u8] = b"\x1b[0m";

/// One piece of a line on its way to the screen.
struct Screen<'a> {
    line: &'a mut Line,
    /// What stands at the start of each line, if an earlier piece of this one is on the screen.
    head: Option<&'a [u8]>,
    /// Where the line begins in `out`.
    start: usize,
    out: &'a mut Vec<u8>,
}

impl Screen<'_> {
    /// Makes room for the next version of the line. What is on the screen cannot be taken back:
    /// then the new version follows below.
    fn begin_again(&mut self) {
        let was_styled = mem::take(&mut self.line.is_styled);
        if let Some(head) = self.head.take() {
            if was_styled {
                self.out.extend_from_slice(RESET);
            }
            self.out.push(b'\n');
            self.out.extend_from_slice(head);
            self.start = self.out.len();
        } else {
            self.out.truncate(self.start);
        }
    }
}

impl vte::Perform for Screen<'_> {
    fn print(&mut self, character: char) {
        if character == '\u{7f}' {
            return;
        }
        if mem::take(&mut self.line.is_returned) {
            self.begin_again();
        }
        let mut encoded = [0; 4];
        self.out
            .extend_from_slice(character.encode_utf8(&mut encoded).as_bytes());
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\t' => self.print('\t'),
            b'\r' => self.line.is_returned = true,
            _ => {}
        }
    }

    fn csi_dispatch(
        &mut self,
        parameters: &vte::Params,
        intermediates: &[u8],
        is_ignored: bool,
        action: char,
    ) {
        // `?`, `>` and the like make another sequence of it, one that sets a mode.
        if action != 'm' || !intermediates.is_empty() || is_ignored {
            return;
        }
        let groups = parameters.iter().map(|group| {
            let numbers: Vec<String> = group.iter().map(ToString::to_string).collect();
            numbers.join(":")
        });
        let text = groups.collect::<Vec<_>>().join(";");
        // A vector takes everything.
        let _ = write!(self.out, "\x1b[{text}m");
        self.line.is_styled = !parameters.iter().all(|group| group == [0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filtered(pieces: &[&[u8]]) -> String {
        let mut filter = Filter::default();
        let mut out = Vec::new();
        for (place, bytes) in pieces.iter().enumerate() {
            let head: Option<&[u8]> = (place > 0).then_some(b"api | ");
            filter.push(bytes, head, &mut out);
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
            "\u{9b}",
            "\u{9d}",
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
        filter.push(b"a\x1b]0;never ends", None, &mut out);
        filter.end_line(&mut out);
        assert!(filter.is_at_rest());
        filter.push(b"b", None, &mut out);
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
    fn what_we_say_keeps_its_lines_and_its_colours() {
        let said = |text: &str| {
            let mut out = Vec::new();
            push_text(text, &mut out);
            String::from_utf8(out).unwrap()
        };
        let ours = "\x1b[1;31merror:\x1b[0m no `x`\n\n  hint: y\n";
        assert_eq!(said(ours), ours);
        assert_eq!(
            said("no `\x1b[2Jx\x1b]0;t`\nnext\x1b[32m"),
            "no `x\nnext\x1b[32m\x1b[0m"
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
            filter.push(&bytes, None, &mut out);
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
