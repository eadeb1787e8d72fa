//! A program that runs beside the test: a foreground `stack up`, a squatter, a client.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::output::Output;
use super::waiting::{LIMIT, wait_at_most};
use super::world::World;

/// The `stack` binary.
pub(crate) fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_stack"))
}

/// The program that misbehaves on purpose.
pub(crate) fn misbehave() -> PathBuf {
    // This test is target/PROFILE/deps/integration-HASH.
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test
        .ancestors()
        .nth(2)
        .expect("tests are built below target");
    let path = profile.join("examples/misbehave");
    assert!(
        path.exists(),
        "{} is missing; `cargo build --example misbehave` builds it, as does a full `cargo test`",
        path.display()
    );
    path
}

/// A running child with its output collected as it comes. Dropped, it is killed.
pub(crate) struct Up {
    child: Child,
    command: String,
    stdout: Stream,
    stderr: Stream,
}

impl Up {
    /// Starts a program in a world. The command's environment is the caller's business.
    #[track_caller]
    pub(crate) fn start(world: &World, mut command: Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let shown = shown(&command);
        let mut child = world
            .network()
            .enter(|| command.spawn())
            .unwrap_or_else(|error| panic!("cannot run {shown}: {error}"));
        Self {
            stdout: Stream::collect(child.stdout.take().expect("stdout is a pipe")),
            stderr: Stream::collect(child.stderr.take().expect("stderr is a pipe")),
            child,
            command: shown,
        }
    }

    /// Its pid.
    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// What it has printed so far on stdout.
    pub(crate) fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it has printed so far on stderr.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits until a line of either stream contains `part`, and returns the line.
    #[track_caller]
    pub(crate) fn wait_for_line(&mut self, part: &str) -> String {
        self.wait_at_most_for_line(part, LIMIT)
            .unwrap_or_else(|| panic!("no line with `{part}` from {}", self.so_far()))
    }

    /// The same, `None` when `limit` has passed or the program has ended without it.
    pub(crate) fn wait_at_most_for_line(&mut self, part: &str, limit: Duration) -> Option<String> {
        wait_at_most(limit, || {
            // Whether it has ended is asked first: what it printed before is then all there.
            let has_ended = self.has_ended();
            let line = self.stdout.line_with(part);
            match line.or_else(|| self.stderr.line_with(part)) {
                Some(line) => Some(Some(line)),
                None if has_ended => Some(None),
                None => None,
            }
        })
        .flatten()
    }

    /// Sends a signal to this one process.
    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("a child that was not waited for is there");
    }

    /// Whether it has ended and said all it had to say.
    pub(crate) fn has_ended(&mut self) -> bool {
        let status = self.child.try_wait().expect("a child can be waited for");
        status.is_some() && self.stdout.is_finished() && self.stderr.is_finished()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Output {
        let end = wait_at_most(2 * LIMIT, || self.has_ended().then_some(()));
        assert!(end.is_some(), "no end of {}", self.so_far());
        let status = self.child.wait().expect("a child can be waited for");
        Output {
            command: self.command.clone(),
            code: status
                .code()
                .or(status.signal().map(|signal| 128 + signal))
                .expect("a process that ended has a code or a signal"),
            stdout: self.stdout.text(),
            stderr: self.stderr.text(),
        }
    }

    fn so_far(&self) -> String {
        let (stdout, stderr) = (self.stdout(), self.stderr());
        format!(
            "{}\n--- stdout\n{stdout}--- stderr\n{stderr}---",
            self.command
        )
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Of a stack, what this leaves is found by its world.
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// The command as a person would type it, without the environment.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(command.get_program());
    std::iter::once(name)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// One stream of a child, read by a thread of its own so that the child never waits.
struct Stream {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Stream {
    fn collect(pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            loop {
                let length = match pipe.fill_buf() {
                    Ok([]) | Err(_) => return,
                    Ok(new) => {
                        let mut all = shared.lock().unwrap_or_else(PoisonError::into_inner);
                        all.extend_from_slice(new);
                        new.len()
                    }
                };
                pipe.consume(length);
            }
        });
        Self { bytes, reader }
    }

    fn text(&self) -> String {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn line_with(&self, part: &str) -> Option<String> {
        let text = self.text();
        text.lines()
            .find(|line| line.contains(part))
            .map(str::to_owned)
    }

    fn is_finished(&self) -> bool {
        self.reader.is_finished()
    }
}
