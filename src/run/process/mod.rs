//! Processes as the kernel sees them: spawn, fork, reap, signal, look up.
//!
//! The one room in which `unsafe` is allowed. Everything above deals in pids and typed results;
//! what must hold between `clone` and `exec`, and in a process that was just forked, is kept here.

mod facts;
mod fork;
mod kill;
mod reap;
mod signals;
mod spawn;
#[path = "linux/mod.rs"]
mod system;
mod table;

pub(crate) use facts::{ProcessId, ancestors, descendants, group_of, has_job_control};
pub use fork::ForkError;
pub(crate) use fork::{Forked, detach, fork, parent_lifeline, runtime};
pub(crate) use kill::{signal_group, signal_process};
pub(crate) use reap::{Reaped, reap_all};
pub(crate) use signals::{Received, Sender, block_for_waiting, is_ignored, stop_self, unblock_all};
pub(crate) use spawn::{LeaseSlot, SpawnError, SpawnStep, Spawner, Stdio, Target};
pub(crate) use system::facts::{
    boot_id, children_of, clock_ticks, environment_has, everything_below, is_suspended, now_ticks,
    possible_strays, session_members, session_of, unit_mark,
};
pub(crate) use system::signals::wait_for_signal;
pub(crate) use system::{LOOK_AGAIN, become_subreaper, has_children, is_anything_below, pipe};
pub(crate) use table::{Row, SharedTable};
