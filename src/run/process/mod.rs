//! Processes as the kernel sees them: spawn, fork, reap, signal, look up.
//!
//! The one room in which `unsafe` is allowed. Everything above deals in pids and typed results;
//! what must hold between `clone` and `exec`, and in a process that was just forked, is kept here.

mod facts;
mod fork;
mod group;
mod kill;
mod reap;
mod removals;
mod signals;
mod spawn;
mod table;
mod terminal;
mod tree;

pub(crate) use facts::{
    COMMAND_MARK, Marks, ProcessId, ancestors, await_exec, clock_ticks, descendants, group_of,
    has_children, is_in_our_pid_namespace, is_suspended, living_namespaces, now_ticks,
    own_children, pid_namespace, session_of, unit_mark,
};
pub use fork::ForkError;
pub(crate) use fork::{
    Forked, become_subreaper, check_alone, close_inherited, detach, fork, runtime,
};
pub(crate) use group::{FoundGroup, Group, remove as remove_group, run_of};
pub(crate) use kill::{signal_group, signal_process};
pub(crate) use reap::reap_all;
pub(crate) use removals::Removals;
pub use signals::{Signals, can_be_continued, is_ignored, stop_self, unblock_all};
pub(crate) use signals::{block_for_waiting, wait_for_signal};
pub(crate) use spawn::{
    Identity, LeaseLine, Rights, SpawnError, SpawnStep, Spawner, Stdio, Target, hard_limit,
};
pub(crate) use table::{Row, SharedTable, Slot, UnitKey};
pub(crate) use terminal::resize_terminal;
pub(crate) use tree::{ProcessTree, push};
