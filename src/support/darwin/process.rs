//! Processes, and what they have open.

use super::socket_layout::{self as layout, Socket};
use super::{arguments as memory, calls};

/// What is known of a process that still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    /// The process that started it; 1 once that one has ended.
    pub(crate) parent: i32,
    /// When it started, in milliseconds since the Unix epoch by the wall clock of then.
    pub(crate) started: u64,
    /// Its effective user.
    pub(crate) user: u32,
}

/// The process that now has `pid`. `None` if there is none, if it is a zombie, or if it belongs to
/// another user.
pub(crate) fn process(pid: i32) -> Option<Process> {
    let info = calls::process_info(pid)?;
    Some(Process {
        parent: i32::try_from(info.pbi_ppid).ok()?,
        started: info.pbi_start_tvsec * 1000 + info.pbi_start_tvusec / 1000,
        user: info.pbi_uid,
    })
}

/// The words of a process's command line.
pub(crate) fn arguments(pid: i32) -> Option<Vec<String>> {
    let memory = memory::read(&calls::argument_memory(pid)?)?;
    Some(
        memory
            .arguments
            .iter()
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect(),
    )
}

/// The working directory of a process.
pub(crate) fn directory(pid: i32) -> Option<String> {
    let path = calls::directory(pid)?;
    Some(String::from_utf8_lossy(&path).into_owned())
}

/// The entries `KEY=value` of a process's environment, as they were at exec. Empty for the programs
/// that belong to the system (`/bin/sh`, say): the kernel does not show theirs.
pub(crate) fn environment(pid: i32) -> Option<Vec<Vec<u8>>> {
    Some(memory::read(&calls::argument_memory(pid)?)?.environment)
}

/// The TCP and UDP sockets that a process has open, each with its descriptor.
pub(crate) fn sockets(pid: i32) -> nix::Result<Vec<(i32, Socket)>> {
    Ok(calls::socket_descriptors(pid)?
        .into_iter()
        .filter_map(|descriptor| Some((descriptor, socket(pid, descriptor)?)))
        .collect())
}

/// One of them. `None` if the descriptor is something else, or was closed meanwhile.
pub(crate) fn socket(pid: i32, descriptor: i32) -> Option<Socket> {
    layout::read(&calls::socket_info(pid, descriptor)?)
}
