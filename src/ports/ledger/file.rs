//! The book as a file: a line that counts the rows, then two lines for each of them.
//!
//! ```text
//! {"version":1,"boot":"…","checked":…,"live":1,"stacks":1,"grants":[…]}
//! {"owner":{…},"netns":4026531840,"supervisor":{…},"numbers":{"tcp":[[8000,8000]]}}
//! [{"key":{…},"port":8000}]
//! {"owner":{…},"until":…,"numbers":{"tcp":[[8000,8000]]}}
//! {"sticky":[{"key":{…},"port":8000,"used":…}]}
//! ```
//!
//! The bodies (each second line) are carried over unread. So that a file that was cut off is found
//! out all the same, the first line says how many rows there are, and the last byte is a newline.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::book::Book;
use super::row::{Body, GrantRow, LiveRow, StackRow};

/// The version of the file that this program reads and writes.
pub(crate) const VERSION: u32 = 1;

/// The first line.
#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    /// The boot to which the live rows and the grants belong.
    boot: String,
    /// When everybody was last looked up, in milliseconds since boot.
    checked: u64,
    live: usize,
    stacks: usize,
    grants: Vec<GrantRow>,
}

/// Only as much as the first line of every version has.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// Why text is no book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoBook {
    /// A later version wrote it.
    Newer,
    /// Where and how it is damaged.
    Damaged(String),
}

impl From<serde_json::Error> for NoBook {
    fn from(error: serde_json::Error) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// Reads a book.
pub(crate) fn read(bytes: &[u8]) -> Result<Book, NoBook> {
    let text = std::str::from_utf8(bytes).map_err(|error| NoBook::Damaged(error.to_string()))?;
    let first = text.lines().next().unwrap_or_default();
    // A newer file may well have another shape; its version says so.
    if let Ok(Version { version }) = serde_json::from_str(first)
        && version > VERSION
    {
        return Err(NoBook::Newer);
    }
    let head: Head = serde_json::from_str(first)?;
    let whole = text.strip_suffix('\n');
    let mut lines = whole.unwrap_or_default().split('\n').skip(1);
    let rows = head.live.saturating_add(head.stacks);
    if whole.is_none() || Some(lines.clone().count()) != rows.checked_mul(2) {
        return Err(NoBook::Damaged("it ends early".to_owned()));
    }
    let mut live = Vec::with_capacity(head.live);
    for _ in 0..head.live {
        let (head, text, ports) = row(&mut lines, ('[', ']'))?;
        live.push(LiveRow {
            head,
            head_text: Some(text),
            ports,
        });
    }
    let mut stacks = Vec::with_capacity(head.stacks);
    for _ in 0..head.stacks {
        let (head, text, past) = row(&mut lines, ('{', '}'))?;
        stacks.push(StackRow {
            head,
            head_text: Some(text),
            past,
        });
    }
    Ok(Book {
        live,
        stacks,
        grants: head.grants,
        boot: head.boot,
        checked: head.checked,
        damage: RefCell::new(None),
    })
}

/// The two lines of a row, the first one also as it stands there; `ends` are the characters in which the body stands.
fn row<'a, H: DeserializeOwned, B>(
    lines: &mut impl Iterator<Item = &'a str>,
    ends: (char, char),
) -> Result<(H, String, Body<B>), NoBook> {
    let mut next = || lines.next().unwrap_or_default();
    let text = next();
    let head = serde_json::from_str(text)?;
    let body = next();
    if !body.starts_with(ends.0) || !body.ends_with(ends.1) {
        return Err(NoBook::Damaged("a row has no body".to_owned()));
    }
    Ok((head, text.to_owned(), Body::Text(body.to_owned())))
}

/// The book as [`read`] takes it.
pub(crate) fn to_bytes(book: &Book) -> serde_json::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(64 * 1024);
    let head = Head {
        version: VERSION,
        boot: book.boot.clone(),
        checked: book.checked,
        live: book.live.len(),
        stacks: book.stacks.len(),
        grants: book.grants.clone(),
    };
    serde_json::to_writer(&mut bytes, &head)?;
    bytes.push(b'\n');
    for row in &book.live {
        write_row(&mut bytes, &row.head, row.head_text.as_ref(), &row.ports)?;
    }
    for row in &book.stacks {
        write_row(&mut bytes, &row.head, row.head_text.as_ref(), &row.past)?;
    }
    Ok(bytes)
}

fn write_row<T: Clone + Serialize + DeserializeOwned>(
    to: &mut Vec<u8>,
    head: &impl Serialize,
    head_text: Option<&String>,
    body: &Body<T>,
) -> serde_json::Result<()> {
    match head_text {
        Some(text) => to.extend_from_slice(text.as_bytes()),
        None => serde_json::to_writer(&mut *to, head)?,
    }
    to.push(b'\n');
    body.write(to)?;
    to.push(b'\n');
    Ok(())
}

/// Puts `bytes` in the place of the file `path`: they are written into the file `spare`, and the two
/// change places. A reader finds the old file or the new one. Only for who has the lock of the
/// ledger.
///
/// Two files that take turns cost a fraction of a new one each time: ext4 is slow to give away an
/// inode that was just deleted, and starts to write the data of a file that is renamed over another
/// one (`auto_da_alloc` in ext4(5)). Who reads without the lock keeps a shared one on the file, so
/// that the spare is not written while somebody still reads it as what it was.
pub(crate) fn replace(path: &Path, spare: &Path, bytes: &[u8]) -> io::Result<()> {
    let named = |error: io::Error| {
        let text = format!("failed to write `{}`: {error}", spare.display());
        io::Error::new(error.kind(), text)
    };
    let file = open_spare(spare).map_err(named)?;
    let written = (|| {
        file.write_all_at(bytes, 0)?;
        let length = bytes.len() as u64;
        if file.metadata()?.len() != length {
            file.set_len(length)?;
        }
        Ok(())
    })();
    let outcome = written.map_err(named).and_then(|()| exchange(spare, path));
    if outcome.is_err() {
        drop(fs_err::remove_file(spare));
    }
    outcome
}

/// The spare file, locked; a new one where the old one is in use, or is no file of ours.
fn open_spare(spare: &Path) -> io::Result<File> {
    let known = File::options()
        .write(true)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
        .open(spare);
    if let Ok(file) = known
        && file.metadata()?.is_file()
        && file.try_lock().is_ok()
    {
        return Ok(file);
    }
    match fs_err::remove_file(spare) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(spare)?;
    // Nobody knows it yet; but soon it is the one that is read.
    drop(file.try_lock());
    Ok(file)
}

/// Lets two files change places, or renames the first one where there is no second.
#[cfg(target_os = "linux")]
fn exchange(from: &Path, to: &Path) -> io::Result<()> {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    // Not with a directory: it could not be read either, and the next one would have to remove it.
    let is_file = std::fs::symlink_metadata(to).is_ok_and(|about| about.is_file());
    if is_file && renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_EXCHANGE).is_ok() {
        return Ok(());
    }
    fs_err::rename(from, to)
}

/// Renames a file over another one.
#[cfg(not(target_os = "linux"))]
fn exchange(from: &Path, to: &Path) -> io::Result<()> {
    fs_err::rename(from, to)
}
