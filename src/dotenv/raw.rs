//! Reads a file of `KEY=value` lines as `docker run --env-file` does: what stands after the `=` is the
//! value, quotes, spaces and `$` included.

use super::read::{Contents, Entry, ReadErrorKind, decode};

/// Reads a whole file; what is wrong is collected.
pub fn read_raw(bytes: &[u8]) -> Contents {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let (text, invalid) = decode(bytes);
    let mut contents = Contents::default();
    let mut at = 0;
    for (index, whole) in text.split_inclusive('\n').enumerate() {
        let line = whole.strip_suffix('\n').unwrap_or(whole);
        let line = line.strip_suffix('\r').unwrap_or(line).trim_start();
        let start = at + whole.find(line).unwrap_or(0);
        at += whole.len();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = match line.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (line, None),
        };
        let bad = invalid
            .iter()
            .find(|&&bad| (start..start + line.len()).contains(&bad));
        let error = match bad {
            Some(&bad) => Some(ReadErrorKind::NotUtf8.at(bad)),
            None if key.is_empty() => Some(ReadErrorKind::KeyMissing.at(start)),
            None if line.contains('\0') => Some(ReadErrorKind::Nul.at(start)),
            None => key
                .find([' ', '\t'])
                .map(|space| ReadErrorKind::KeySpace.at(start + space)),
        };
        match error {
            Some(error) => contents.errors.push(error),
            None => contents.entries.push(Entry {
                key: key.to_owned(),
                value,
                line: index + 1,
            }),
        }
    }
    contents
}

#[cfg(test)]
mod tests {
    use super::ReadErrorKind::{KeyMissing, KeySpace, NotUtf8, Nul};
    use super::*;

    #[test]
    fn what_stands_after_the_first_equals_sign_is_the_value() {
        let text = "# no\n\n  A= 'x' \nB=\"$HOME\" # y\r\nC=\nD\nE=a=b\\n\n";
        let contents = read_raw(text.as_bytes());
        assert!(contents.errors.is_empty() && contents.unset.is_empty());
        let entries = contents.entries.iter();
        let entries: Vec<_> = entries
            .map(|it| (it.key.as_str(), it.value.as_deref()))
            .collect();
        assert_eq!(
            entries,
            [
                ("A", Some(" 'x' ")),
                ("B", Some("\"$HOME\" # y")),
                ("C", Some("")),
                ("D", None),
                ("E", Some("a=b\\n")),
            ]
        );
        assert_eq!(contents.entries[0].line, 3);
    }

    #[test]
    fn lines_that_are_no_assignment_are_told_with_their_place() {
        let contents = read_raw(b"\xef\xbb\xbf=x\nA B=c\nC=\xff\nD=\0\nE=e");
        let kinds: Vec<_> = contents
            .errors
            .iter()
            .map(|it| (it.at, it.kind.clone()))
            .collect();
        assert_eq!(
            kinds,
            [(0, KeyMissing), (4, KeySpace), (11, NotUtf8), (15, Nul)]
        );
        assert_eq!(contents.entries.len(), 1);
    }
}
