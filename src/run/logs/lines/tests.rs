use super::*;

use super::super::testing::{info, unit};
use super::super::writer::{BlockInfo, LogFiles};

fn append(files: &mut LogFiles, attempt: u32, continues: bool, bytes: &[u8]) {
    let info = BlockInfo {
        attempt,
        continues,
        is_partial: !bytes.ends_with(b"\n"),
        ..info(u64::from(attempt))
    };
    files.append(&unit("api"), info, bytes);
}

#[test]
fn the_last_lines_are_those_of_one_attempt() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let mut files = LogFiles::new(dir.into(), 9);
    append(&mut files, 1, false, b"first attempt\n");
    append(&mut files, 2, false, b"one\r\ntwo\nthr");
    append(&mut files, 2, true, b"ee\nhalf \xff");
    assert_eq!(
        last_lines_of_attempt(dir, &unit("api"), 9, 2, 10),
        ["one", "two", "three", "half \u{fffd}"]
    );
    assert_eq!(
        last_lines_of_attempt(dir, &unit("api"), 9, 2, 2),
        ["three", "half \u{fffd}"]
    );
    assert_eq!(
        last_lines_of_attempt(dir, &unit("api"), 9, 1, 5),
        ["first attempt"]
    );
    assert_eq!(last_lines_of_attempt(dir, &unit("api"), 9, 3, 5), [""; 0]);
    assert_eq!(last_lines_of_attempt(dir, &unit("api"), 8, 1, 5), [""; 0]);
    assert_eq!(
        last_lines_of_attempt(dir, &unit("silent"), 9, 1, 5),
        [""; 0]
    );
}

#[test]
fn a_huge_line_is_shortened() {
    let directory = tempfile::tempdir().unwrap();
    let mut files = LogFiles::new(directory.path().into(), 1);
    for number in 0..20 {
        append(&mut files, 1, number > 0, &vec![b'x'; 64 * 1024]);
    }
    let lines = last_lines_of_attempt(directory.path(), &unit("api"), 1, 1, 5);
    assert_eq!(
        lines.iter().map(String::len).collect::<Vec<_>>(),
        [LINE_CAP]
    );
}
