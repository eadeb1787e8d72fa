//! The book as a file: a line that counts the rows, then two lines for each of them.
//!
//! ```text
//! {"version":2,"boot":"…","checked":…,"live":1,"stacks":1,"grants":[…]}
//! {"owner":{…},"netns":4026531840,"supervisor":{…},"numbers":{"tcp":[[8000,8000]]}}
//! [["api","PORT",8000]]
//! {"owner":{…},"until":…,"numbers":{"tcp":[[8000,8000]]}}
//! {"sticky":[{"used":…,"ports":[["api","PORT",8000]]}]}
//! ```
//!
//! The bodies (each second line) are carried over unread. So that a file that was cut off is found
//! out all the same, the first line says how many rows there are, and the last byte is a newline.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::rc::Rc;

use nix::fcntl::OFlag;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::book::Book;
use super::row::{Body, GrantRow, LiveRow, Slice, StackRow};

/// The version of the file that this program reads and writes. The first one was a single object.
pub(crate) const VERSION: u32 = 2;

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
    /// An earlier one did, in a form that is no longer read.
    Older,
    /// Where and how it is damaged.
    Damaged(String),
}

impl From<serde_json::Error> for NoBook {
    fn from(error: serde_json::Error) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// Reads a book.
pub(crate) fn read(bytes: Vec<u8>) -> Result<Book, NoBook> {
    let text = String::from_utf8(bytes).map_err(|error| NoBook::Damaged(error.to_string()))?;
    let mut lines = Lines {
        text: Rc::new(text),
        position: 0,
    };
    let first = lines.next();
    // Another version's file may well have another shape; its version says so.
    if let Ok(Version { version }) = serde_json::from_str(first.as_str()) {
        match version.cmp(&VERSION) {
            Ordering::Greater => return Err(NoBook::Newer),
            Ordering::Less => return Err(NoBook::Older),
            Ordering::Equal => {}
        }
    }
    let head: Head = serde_json::from_str(first.as_str())?;
    let (mut live, mut stacks) = (Vec::new(), Vec::new());
    for _ in 0..head.live {
        let (head, ports, lines) = lines.row(*b"[]")?;
        live.push(LiveRow {
            head,
            lines: Some(lines),
            ports,
        });
    }
    for _ in 0..head.stacks {
        let (head, past, lines) = lines.row(*b"{}")?;
        stacks.push(StackRow {
            head,
            lines: Some(lines),
            past,
        });
    }
    if lines.position != lines.text.len() || !lines.text.ends_with('\n') {
        return Err(NoBook::Damaged(
            "it is longer or shorter than it says".to_owned(),
        ));
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

/// The text, line by line.
struct Lines {
    text: Rc<String>,
    position: usize,
}

impl Lines {
    /// The next line without its end; empty after the last one.
    fn next(&mut self) -> Slice {
        let start = self.position;
        let rest = &self.text[start..];
        let length = rest.find('\n').unwrap_or(rest.len());
        self.position = (start + length + 1).min(self.text.len());
        Slice {
            text: Rc::clone(&self.text),
            range: start..start + length,
        }
    }

    /// The head of a row, its body, and both together; `ends` are the first and the last character
    /// of the body.
    fn row<H: DeserializeOwned, B>(
        &mut self,
        ends: [u8; 2],
    ) -> Result<(H, Body<B>, Slice), NoBook> {
        let head = self.next();
        let body = self.next();
        let bytes = body.as_str().as_bytes();
        if bytes.first() != Some(&ends[0]) || bytes.last() != Some(&ends[1]) {
            return Err(NoBook::Damaged("a row is not whole".to_owned()));
        }
        let both = Slice {
            text: Rc::clone(&self.text),
            range: head.range.start..self.position,
        };
        Ok((serde_json::from_str(head.as_str())?, Body::Text(body), both))
    }
}

/// A part of the file that is written.
#[derive(Debug)]
pub(crate) enum Piece {
    /// As it was read.
    Old(Slice),
    /// What was made.
    New(Vec<u8>),
}

impl Piece {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Old(slice) => slice.as_str().as_bytes(),
            Self::New(bytes) => bytes,
        }
    }
}

/// The book as [`read`] takes it, in few pieces.
pub(crate) fn to_pieces(book: &Book) -> serde_json::Result<Vec<Piece>> {
    let head = Head {
        version: VERSION,
        boot: book.boot.clone(),
        checked: book.checked,
        live: book.live.len(),
        stacks: book.stacks.len(),
        grants: book.grants.clone(),
    };
    let mut first = serde_json::to_vec(&head)?;
    first.push(b'\n');
    let mut pieces = vec![Piece::New(first)];
    for row in &book.live {
        add(&mut pieces, row.lines.as_ref(), &row.head, &row.ports)?;
    }
    for row in &book.stacks {
        add(&mut pieces, row.lines.as_ref(), &row.head, &row.past)?;
    }
    Ok(pieces)
}

/// Adds a row, to the last piece where it can be.
fn add<T: Clone + Serialize + DeserializeOwned>(
    pieces: &mut Vec<Piece>,
    lines: Option<&Slice>,
    head: &impl Serialize,
    body: &Body<T>,
) -> serde_json::Result<()> {
    match (pieces.last_mut(), lines) {
        (Some(Piece::Old(last)), Some(lines))
            if last.range.end == lines.range.start && Rc::ptr_eq(&last.text, &lines.text) =>
        {
            last.range.end = lines.range.end;
        }
        (_, Some(lines)) => pieces.push(Piece::Old(lines.clone())),
        (_, None) => {
            let mut bytes = serde_json::to_vec(head)?;
            bytes.push(b'\n');
            body.write(&mut bytes)?;
            bytes.push(b'\n');
            pieces.push(Piece::New(bytes));
        }
    }
    Ok(())
}

/// Puts `pieces` in the place of the file `path`: they are written into the file `spare`, and the two
/// change places. A reader finds the old file or the new one. Only for who has the lock of the
/// ledger.
///
/// Two files that take turns cost a fraction of a new one each time: ext4 is slow to give away an
/// inode that was just deleted, and starts to write the data of a file that is renamed over another
/// one (`auto_da_alloc` in ext4(5)). Who reads without the lock keeps a shared one on the file, so
/// that the spare is not written while somebody still reads it as what it was.
pub(crate) fn replace(path: &Path, spare: &Path, pieces: &[Piece]) -> io::Result<()> {
    let named = |error: io::Error| {
        let text = format!("failed to write `{}`: {error}", spare.display());
        io::Error::new(error.kind(), text)
    };
    let mut file = open_spare(spare).map_err(named)?;
    let mut write = || {
        let mut length = 0;
        for bytes in pieces.iter().map(Piece::as_bytes) {
            file.write_all(bytes)?;
            length += bytes.len() as u64;
        }
        if file.metadata()?.len() != length {
            file.set_len(length)?;
        }
        Ok(())
    };
    let outcome = write().map_err(named).and_then(|()| exchange(spare, path));
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
fn exchange(from: &Path, to: &Path) -> io::Result<()> {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    // Not with a directory: it could not be read either, and the next one would have to remove it.
    let is_file = std::fs::symlink_metadata(to).is_ok_and(|about| about.is_file());
    if is_file && renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_EXCHANGE).is_ok() {
        return Ok(());
    }
    fs_err::rename(from, to)
}
