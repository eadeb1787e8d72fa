//! What runs on the machine, by the marks that a round and `stack` give to their processes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use fs_err as fs;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// The variable that names the project of a round.
pub(crate) const MARK: &str = "STACK_CHAOS";

/// How often the machine is looked at.
const PAUSE: Duration = Duration::from_millis(10);

/// A process, told apart from a later one with its pid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    started: String,
    /// The project of its round.
    project: PathBuf,
    /// The random id of its supervisor, for a service's.
    pub(crate) run: Option<String>,
}

impl Process {
    fn of(pid: i32) -> Option<Self> {
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let value = |key: &str| {
            let entries = environment.split(|&byte| byte == 0);
            let mut texts = entries.filter_map(|entry| std::str::from_utf8(entry).ok());
            texts.find_map(|entry| Some(entry.strip_prefix(key)?.strip_prefix('=')?.to_owned()))
        };
        Some(Self {
            pid,
            started: started(pid)?,
            project: value(MARK)?.into(),
            run: value("STACK_RUN"),
        })
    }

    pub(crate) fn is_alive(&self) -> bool {
        started(self.pid).as_ref() == Some(&self.started)
    }
}

/// When a process that has not ended started, in the words of proc(5).
fn started(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18).map(str::to_owned)
}

/// Has this program see mounts of its own from now on; only root may. Whether it does.
pub(crate) fn own_mounts() -> bool {
    let none = None::<&str>;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    unshare(CloneFlags::CLONE_NEWNS).is_ok() && mount(none, "/", none, private, none).is_ok()
}

/// All processes of all rounds.
pub(crate) fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(Process::of).collect()
}

/// Those of one project.
pub(crate) fn of(project: &Path) -> Vec<Process> {
    let mut processes = all();
    processes.retain(|process| process.project == project && process.is_alive());
    processes
}

/// Looks at the machine all the time, for two supervisors' services in one project.
pub(crate) struct Watcher {
    found: Arc<Mutex<HashMap<PathBuf, String>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    pub(crate) fn start() -> Self {
        let (found, is_over) = (Arc::default(), Arc::default());
        let watch = {
            let (found, is_over): (Arc<Mutex<HashMap<_, _>>>, Arc<AtomicBool>) =
                (Arc::clone(&found), Arc::clone(&is_over));
            move || {
                while !is_over.load(Ordering::SeqCst) {
                    for (project, what) in duplicates(&all()) {
                        if let Ok(mut found) = found.lock() {
                            found.insert(project, what);
                        }
                    }
                    std::thread::sleep(PAUSE);
                }
            }
        };
        Self {
            found,
            is_over,
            thread: Some(std::thread::spawn(watch)),
        }
    }

    /// What was seen in a project.
    pub(crate) fn seen(&self, project: &Path) -> Option<String> {
        self.found.lock().ok()?.remove(project)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn duplicates(processes: &[Process]) -> Vec<(PathBuf, String)> {
    let mut first: HashMap<&Path, &Process> = HashMap::new();
    let mut found = Vec::new();
    for process in processes.iter().filter(|process| process.run.is_some()) {
        let earlier = *first.entry(&process.project).or_insert(process);
        // The earlier one last: had it ended before the other began, it would be gone.
        if earlier.run != process.run && process.is_alive() && earlier.is_alive() {
            let what = format!(
                "services of two supervisors at once: pid {} of {:?}, pid {} of {:?}",
                earlier.pid, earlier.run, process.pid, process.run
            );
            found.push((process.project.clone(), what));
        }
    }
    found
}
