//! What the kernel of macOS tells about processes and sockets.
//!
//! There is no `/proc` there and no netlink; the answers come from `libproc` and `sysctl`, which
//! `ports` needs as much as `run/process` does, and these two may not import each other. So this
//! is the one place beside `run/process` with `unsafe`, all of it in [`calls`]: that file copies
//! bytes out of the kernel, and everything else here reads those bytes in safe Rust.
//!
//! Compiled in CI, never run there: `docs/design/macos.md` says what is taken on trust.

mod arguments;
#[cfg(target_os = "macos")]
mod calls;
#[cfg(target_os = "macos")]
mod process;
mod socket_layout;

#[cfg(target_os = "macos")]
pub(crate) use calls::{all_pids, boot_id, sysctl_number};
#[cfg(target_os = "macos")]
pub(crate) use process::{arguments, directory, environment, process, socket, sockets};
#[cfg(target_os = "macos")]
pub(crate) use socket_layout::Transport;
