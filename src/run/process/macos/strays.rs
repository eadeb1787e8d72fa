//! Orphans that launchd has taken over, watched until they end.
//!
//! Where there are subreapers the end of an orphan is a SIGCHLD like any other. Here a thread looks at
//! what was found, and sends the SIGCHLD that is missing; [`ended_strays`] then tells the reaper of
//! it. A stray is asked to end as soon as it is found, so the thread lives for seconds.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::libc;

use crate::run::process::facts::ProcessId;
use crate::run::process::signal_process;

/// How often the strays are looked at.
const PAUSE: Duration = Duration::from_millis(50);

/// Those that still run, as far as was seen.
static WATCHED: Mutex<Vec<ProcessId>> = Mutex::new(Vec::new());

fn watched() -> std::sync::MutexGuard<'static, Vec<ProcessId>> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Watches an orphan until it has ended.
pub(super) fn watch(pid: i32) {
    let Some(process) = ProcessId::of(pid) else {
        return;
    };
    let mut watched = watched();
    if watched.contains(&process) {
        return;
    }
    watched.push(process);
    if watched.len() == 1 {
        // The only thread beside the runtime's own. A process that is started meanwhile is a fork
        // that makes nothing but system calls until exec, whatever lock this thread may hold.
        let thread = std::thread::Builder::new().name("strays".to_owned());
        // Without a thread the next SIGCHLD of anybody brings the news.
        drop(thread.spawn(look));
    }
}

/// Looks until nothing is watched any more.
fn look() {
    let own = nix::unistd::getpid().as_raw();
    loop {
        std::thread::sleep(PAUSE);
        let (is_empty, has_ended) = {
            let watched = watched();
            let has_ended = watched.iter().any(|process| !process.is_alive());
            (watched.is_empty(), has_ended)
        };
        if is_empty {
            return;
        }
        if has_ended {
            signal_process(own, libc::SIGCHLD);
        }
    }
}

/// The watched orphans that have ended since the last call.
pub(crate) fn ended_strays() -> Vec<i32> {
    watched()
        .extract_if(.., |process| !process.is_alive())
        .map(|process| process.pid)
        .collect()
}
