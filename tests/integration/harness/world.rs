//! What copies of a project share, and the reckoning at the end.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fs_err as fs;
use nix::sys::signal::{SigHandler, Signal, signal};
use tempfile::TempDir;

use super::network::Network;
use super::processes::Process;
use super::waiting::{LIMIT, wait_at_most};

/// The variable that marks everything a test starts. `stack` passes its environment on, so the
/// services have it too.
const MARK: &str = "STACK_TEST_WORLD";

/// How long `stack`'s own two processes may take to be gone after the command that stopped the
/// stack has ended. Services get no such time.
const OWN_PROCESSES_GO_WITHIN: Duration = Duration::from_secs(2);

/// A machine of its own, as far as `stack` can see: network, state directory, user.
pub(crate) struct World {
    directory: TempDir,
    network: Network,
    /// Every process of the stacks that was ever seen.
    seen: Mutex<BTreeSet<Process>>,
    /// Pids of programs that the test itself runs beside the stacks.
    helpers: Mutex<BTreeSet<i32>>,
}

impl World {
    /// A new one.
    pub(crate) fn new() -> Arc<Self> {
        let directory = tempfile::Builder::new()
            .prefix("stack-test-")
            .tempdir()
            .expect("the temporary directory is writable");
        for name in ["state", "tmp"] {
            fs::create_dir(directory.path().join(name)).expect("the directory is new");
        }
        Arc::new(Self {
            directory,
            network: Network::new(),
            seen: Mutex::default(),
            helpers: Mutex::default(),
        })
    }

    /// Where everything of this world is.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The state directory of `stack`.
    pub(crate) fn state_dir(&self) -> PathBuf {
        self.path().join("state/stack")
    }

    /// Its network.
    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    /// Changes a setting of this world's network: `ipv4/ip_local_port_range`. `false` where it has
    /// none of its own, after the test has been told that it is over.
    #[track_caller]
    pub(crate) fn set_kernel(&self, setting: &str, value: &str) -> bool {
        if self.network.identity().is_none() {
            return super::lacks("a network namespace of its own");
        }
        let path = Path::new("/proc/sys/net").join(setting);
        let written = self.network.enter(|| fs::write(path, value));
        written.is_ok() || super::lacks("kernel settings that can be written")
    }

    /// Makes `command` a part of this world: its environment, not the caller's where that could
    /// change an outcome.
    #[expect(
        unsafe_code,
        reason = "signal(2), which is without danger for the default action"
    )]
    pub(crate) fn prepare<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        for key in [
            "STACK_FILE",
            "COLORTERM",
            "NO_COLOR",
            "FORCE_COLOR",
            "CLICOLOR_FORCE",
            "PORT",
        ] {
            command.env_remove(key);
        }
        // Whoever runs the tests under `nohup` ignores it, and all that they start would.
        // SAFETY: the default action runs no code of ours.
        unsafe { signal(Signal::SIGHUP, SigHandler::SigDfl) }.expect("it can be set");
        command
            .env(MARK, self.path())
            .env("XDG_STATE_HOME", self.path().join("state"))
            .env("TMPDIR", self.path().join("tmp"))
            .env("TERM", "dumb")
    }

    /// Says that a process is the test's own and no part of a stack.
    pub(crate) fn add_helper(&self, pid: i32) {
        lock(&self.helpers).insert(pid);
    }

    /// Every process of the stacks that runs now: by mark, by namespace, or seen before.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let mark = format!("{MARK}={}", self.path().display());
        let identity = self.network.identity();
        let helpers = lock(&self.helpers).clone();
        let is_ours = |proc: &Path| {
            let is_inside = identity.as_ref().is_some_and(|identity| {
                fs::read_link(proc.join("ns/net")).is_ok_and(|link| link.as_os_str() == &**identity)
            });
            is_inside
                || fs::read(proc.join("environ"))
                    .is_ok_and(|raw| raw.split(|&b| b == 0).any(|entry| entry == mark.as_bytes()))
        };
        // The test's own threads enter the namespace, but its process has its main thread's.
        let now = Process::all(is_ours);
        let mut seen = lock(&self.seen);
        seen.extend(now);
        seen.retain(|process| !helpers.contains(&process.pid));
        seen.iter()
            .filter(|process| process.is_alive())
            .cloned()
            .collect()
    }

    /// The processes of services: what `stack` marked as such, without its own two.
    pub(crate) fn service_processes(&self) -> Vec<Process> {
        let mut processes = self.processes();
        processes.retain(|process| process.variable("STACK_SERVICE").is_some());
        processes
    }

    /// Waits until nothing is left; for stacks that end without a command that says so.
    #[track_caller]
    pub(crate) fn wait_until_nothing_is_left(&self) {
        let end = wait_at_most(LIMIT, || self.processes().is_empty().then_some(()));
        assert!(
            end.is_some(),
            "left after {} s: {}",
            LIMIT.as_secs(),
            list(&self.processes())
        );
    }

    /// Checks that no service is left now, and no process of `stack` itself within moments.
    #[track_caller]
    pub(crate) fn assert_nothing_is_left(&self) {
        let services = self.service_processes();
        assert!(
            services.is_empty(),
            "services are left: {}",
            list(&services)
        );
        let end = wait_at_most(OWN_PROCESSES_GO_WITHIN, || {
            self.processes().is_empty().then_some(())
        });
        assert!(end.is_some(), "left: {}", list(&self.processes()));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A test that fails already has a reason of its own; a second panic would hide it.
        let outcome = if std::thread::panicking() {
            Ok(())
        } else {
            catch_unwind(AssertUnwindSafe(|| self.assert_nothing_is_left()))
        };
        self.kill_everything();
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
    }
}

impl World {
    /// A test that fails must not leave its stacks behind for the others.
    fn kill_everything(&self) {
        wait_at_most(LIMIT, || {
            let left = self.processes();
            for process in &left {
                process.signal(Signal::SIGKILL);
            }
            left.is_empty().then_some(())
        });
    }
}

fn list(processes: &[Process]) -> String {
    processes
        .iter()
        .map(|process| {
            let service = process.variable("STACK_SERVICE").unwrap_or_default();
            format!("\n  {} [{service}] {}", process.pid, process.command())
        })
        .collect::<Vec<_>>()
        .concat()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
