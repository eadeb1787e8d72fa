//! Processes as the kernel sees them: spawn, fork, reap, signal, look up.
//!
//! The one room in which `unsafe` is allowed. Everything above deals in pids and typed results;
//! what must hold between `clone` and `exec`, and in a process that was just forked, is kept here.

mod fork;
mod kill;
mod proc_fs;
mod reap;
mod signals;
mod spawn;
mod table;

pub(crate) use fork::{Forked, become_subreaper, detach, fork, parent_lifeline};
pub(crate) use kill::{signal_group, signal_process};
pub(crate) use proc_fs::{
    ProcessId, boot_id, children_of, clock_ticks, descendants, environment_has, group_of,
    has_job_control, own_children, session_members, session_of, unit_mark,
};
pub(crate) use reap::{Reaped, has_children, reap_all};
pub(crate) use signals::{
    Received, Sender, block_for_waiting, is_ignored, stop_self, unblock_all, wait_for_signal,
};
pub(crate) use spawn::{LeaseSlot, SpawnError, SpawnStep, Spawner, Stdio, Target};
pub(crate) use table::{Row, SharedTable};
