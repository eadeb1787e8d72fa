//! What a running stack has in the file system, kept whole: the lock, the leases, the control
//! socket, the directory of the logs, and the generated `.env`.
//!
//! `git clean -fdx` and `rm -rf .stack` remove them while the stack runs, and a stack that nobody finds
//! is started a second time. The kernel tells of it (`process::Removals`); a second later, when all is
//! quiet, what is gone is put back. Where the whole directory has gone for good, everything ends. Who
//! cannot wait asks for it: by SIGURG, which ends nobody who does not know it, or by `up`.
//!
//! The supervisor works in the project directory and has relative paths, so a directory that was
//! renamed is none of its business.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::control::{Controller, Request};
use super::instance::{Holder, Instance, InstanceLock};
use super::news::News;
use super::process::Removals;
use super::proposal::Advice;
use super::registry::Registry;
use super::socket;
use crate::dotenv;
use crate::plan::model::DotenvPlan;
use crate::support::beside::Beside;
use crate::support::fs::{below, open_private_append};
use crate::support::text;

/// How long it must be quiet after something was removed: whoever removes a directory fails if
/// something new appears in it meanwhile.
const QUIET: Duration = Duration::from_secs(1);

/// How long a directory must have no name until it is gone for good.
const GONE_AFTER: Duration = Duration::from_secs(10);

/// How long it takes until it is tried again to put back what could not be.
const AGAIN: Duration = Duration::from_secs(10);

/// The same where another command was in the way, which is gone in a moment.
const SOON: Duration = Duration::from_millis(20);

/// Whoever wants the files to be there now.
#[derive(Debug)]
pub struct Wanted {
    /// What is to be another than before.
    pub change: Change,
    /// Answered when it was tried.
    pub done_tx: oneshot::Sender<Written>,
}

/// What is to be another than before.
#[derive(Debug)]
pub enum Change {
    /// Nothing.
    None,
    /// The generated file.
    Dotenv(Option<DotenvPlan>),
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Written {
    /// What the user should know.
    pub warnings: Vec<Advice>,
    /// Why the file is as it was before.
    pub failure: Option<Advice>,
}

/// The files of a running stack.
#[derive(Debug)]
pub struct Home {
    instance: Instance,
    lock: InstanceLock,
    holder: Holder,
    /// The stack's file: without it the directory is about to be removed, or another branch's.
    file: PathBuf,
    socket: PathBuf,
    /// How others call the directory.
    project_dir: PathBuf,
    dotenv: Option<DotenvPlan>,
    /// Where the run is noted, whatever becomes of its files.
    registry: Registry,
    /// Takes a control socket that was made anew.
    listener_tx: mpsc::UnboundedSender<UnixListener>,
    removals: Option<Removals>,
    /// Somebody wants the files to be there now.
    called: Option<Signal>,
    /// When something was removed last.
    removed_at: Instant,
    /// When it is looked whether everything is there.
    look_at: Option<Instant>,
    /// Since when the directory has no name.
    gone_since: Option<Instant>,
    /// Whether it was said that the files cannot be put back.
    is_told: bool,
    /// What may block and must not keep the loop.
    beside: Beside,
}

impl Home {
    /// The files of `instance`, an instance [from within](Instance::from_within). `project_dir` is how
    /// others call the directory.
    pub fn new(
        instance: Instance,
        project_dir: &Path,
        (lock, holder): (InstanceLock, Holder),
        socket: &Path,
        dotenv: Option<DotenvPlan>,
        registry: Registry,
        listener_tx: mpsc::UnboundedSender<UnixListener>,
    ) -> Self {
        let dotenv = dotenv.filter(|dotenv| !dotenv.entries.is_empty());
        Self {
            file: holder.file.clone(),
            socket: below(socket, project_dir),
            project_dir: project_dir.to_path_buf(),
            dotenv: dotenv.map(|dotenv| DotenvPlan {
                path: below(&dotenv.path, project_dir),
                ..dotenv
            }),
            instance,
            lock,
            holder,
            registry,
            listener_tx,
            removals: None,
            called: None,
            removed_at: Instant::now(),
            look_at: None,
            gone_since: None,
            is_told: false,
            beside: Beside::default(),
        }
    }

    /// Keeps them there until nobody can want them any more: the supervisor has ended.
    pub async fn keep(
        mut self,
        mut wanted_rx: mpsc::UnboundedReceiver<Wanted>,
        controller: Controller,
    ) -> Self {
        // Not before, as the first services would start later.
        self.registry.enter(&self.holder, &self.project_dir);
        if !self.registry.elsewhere().is_empty() {
            let registry = self.registry.clone();
            self.beside.run(move || registry.sweep());
        }
        self.removals = Removals::new().ok();
        self.called = signal(SignalKind::from_raw(nix::libc::SIGURG)).ok();
        self.watch_all();
        loop {
            let look_at = self.look_at;
            tokio::select! {
                wanted = wanted_rx.recv() => match wanted {
                    Some(wanted) => {
                        let written = match wanted.change {
                            Change::None => Written::default(),
                            Change::Dotenv(dotenv) => self.change_dotenv(dotenv),
                        };
                        self.put_back(&controller).await;
                        // No timer does it: an idle stack wakes nobody.
                        self.registry.renew(&self.holder, &self.project_dir);
                        // Who has lost interest has dropped the other end.
                        let _ = wanted.done_tx.send(written);
                    }
                    None => return self,
                },
                Some(()) = next(self.called.as_mut()) => self.put_back(&controller).await,
                Some(()) = next(self.removals.as_mut().map(Removals::signal)) => {
                    let now = Instant::now();
                    self.removed_at = now;
                    self.look_at.get_or_insert(now + QUIET);
                }
                () = sleep_until(look_at.unwrap_or_else(Instant::now)), if look_at.is_some() => {
                    self.look(&controller).await;
                }
            }
        }
    }

    /// Writes another generated file. Where that cannot be, the old one stays.
    fn change_dotenv(&mut self, dotenv: Option<DotenvPlan>) -> Written {
        let dotenv = dotenv.map(|dotenv| DotenvPlan {
            path: below(&dotenv.path, &self.project_dir),
            ..dotenv
        });
        let mut written = Written::default();
        if let Some(new) = &dotenv {
            match dotenv::write(&new.path, &new.entries) {
                Ok(done) => {
                    written.warnings = done
                        .warnings
                        .iter()
                        .map(|warning| Advice {
                            message: format!("{}: {warning}", new.path.display()),
                            hint: warning.hint().unwrap_or_default(),
                        })
                        .collect();
                }
                Err(error) => {
                    written.failure = Some(Advice {
                        hint: error.hint().to_owned(),
                        message: text::chain(&error),
                    });
                    return written;
                }
            }
        }
        let old = self.dotenv.take();
        let is_elsewhere =
            |old: &DotenvPlan| dotenv.as_ref().is_none_or(|new| new.path != old.path);
        if let Some(old) = old.filter(is_elsewhere) {
            // What stays there is only out of date.
            drop(dotenv::write(&old.path, &[]));
        }
        self.dotenv = dotenv.filter(|dotenv| !dotenv.entries.is_empty());
        written
    }

    /// Gives the files up, as the stack has ended: what was made for its services, the socket, then the
    /// lock. Where something is left, it is to be found.
    pub fn leave(self, is_anything_left: bool) {
        if !is_anything_left {
            self.registry.leave(&self.holder);
        }
        self.instance.clear_out();
        // Ours to remove: the lock is still held.
        drop(socket::remove(&self.socket));
    }

    /// Looks whether everything is there, and does what is to be done.
    async fn look(&mut self, controller: &Controller) {
        self.look_at = None;
        let now = Instant::now();
        // Not by its name, which may be another directory's by now.
        let is_gone = File::open(&self.instance.project_dir)
            .and_then(|directory| directory.metadata())
            .is_ok_and(|directory| directory.nlink() == 0);
        if is_gone {
            let since = *self.gone_since.get_or_insert(now);
            if now >= since + GONE_AFTER {
                tell(controller, News::DirectoryGone);
            } else {
                self.look_at = Some(now + QUIET);
            }
            return;
        }
        self.gone_since = None;
        if self.is_whole() {
            return;
        }
        // A file from standard input has never been there.
        let has_file = self.file == Path::new("-") || self.file.exists();
        if has_file && now >= self.removed_at + QUIET {
            self.put_back(controller).await;
        } else {
            self.look_at = Some(now + QUIET);
        }
    }

    fn is_whole(&self) -> bool {
        let dotenv = self.dotenv.as_ref().map(|dotenv| &dotenv.path);
        let others = [
            &self.socket,
            &self.instance.lease_path(),
            &self.instance.log_dir(),
        ];
        self.lock.is_at(&self.instance.lock_path())
            && others.into_iter().chain(dotenv).all(|path| path.exists())
    }

    async fn put_back(&mut self, controller: &Controller) {
        let was_whole = self.is_whole();
        let outcome = self.try_put_back(was_whole);
        self.watch_all();
        match outcome {
            Ok(()) if was_whole => return,
            Ok(()) => {
                self.is_told = false;
                tell(controller, News::FilesPutBack);
            }
            // Somebody looks at a lock that has just been made.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.look_at = Some(Instant::now() + SOON);
            }
            Err(error) => {
                self.look_at = Some(Instant::now() + AGAIN);
                if !std::mem::replace(&mut self.is_told, true) {
                    tell(
                        controller,
                        News::FilesNotPutBack {
                            error: error.to_string(),
                        },
                    );
                }
            }
        }
        // The leases and the last state are the supervisor's.
        let (reply_tx, reply_rx) = oneshot::channel();
        let path = self.instance.lease_path();
        if controller
            .request_tx
            .send(Request::PutBack(path, reply_tx))
            .is_ok()
        {
            // One that ends has nothing to put back.
            let _ = reply_rx.await;
        }
    }

    /// Puts back what is missing. The `.env` is also looked at where nothing is: somebody may have
    /// changed the block in it. It comes last, as nobody finds the stack by it.
    fn try_put_back(&mut self, was_whole: bool) -> io::Result<()> {
        if !was_whole {
            self.instance.create()?;
            self.lock.put_back(&self.instance, &self.holder)?;
            if !self.socket.exists() {
                let listener = socket::bind_listener(&self.socket).map_err(io::Error::other)?;
                // A server that has ended takes nobody in.
                let _ = self.listener_tx.send(listener);
            }
            let log = open_private_append(&self.instance.supervisor_log_path())?;
            nix::unistd::dup2_stdout(&log)?;
            nix::unistd::dup2_stderr(&log)?;
        }
        if let Some(dotenv) = &self.dotenv {
            dotenv::write(&dotenv.path, &dotenv.entries).map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// Watches the directories that are there now. What cannot be watched is put back when somebody asks.
    fn watch_all(&mut self) {
        if let Some(removals) = &mut self.removals {
            let own = [self.instance.project_dir.as_path(), &self.instance.dir];
            removals.watch(own.into_iter().chain(self.instance.dir.parent()));
        }
    }
}

fn tell(controller: &Controller, news: News) {
    // A supervisor that has ended has no use for it.
    let _ = controller.request_tx.send(Request::Home(news));
}

/// The next of these signals, if they can come at all.
async fn next(signal: Option<&mut Signal>) -> Option<()> {
    match signal {
        Some(signal) => signal.recv().await,
        None => std::future::pending().await,
    }
}
