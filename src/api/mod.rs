//! HOW IT IS STEERED: the control socket of a running supervisor, both ends of it.
//!
//! HTTP/1.1 and JSON over a unix socket, versioned under `/v1`. [`server`] runs inside the supervisor
//! and talks to it only through a [`Controller`](crate::run::control::Controller); [`client`] is what
//! the commands, the full-screen view and the dashboard use. What goes over the wire is in [`messages`],
//! where the socket lies in [`socket_path`]; how it is made is `run`'s. `docs/design/control-api.md` is
//! the contract.

pub mod client;
pub mod messages;
pub mod server;
pub mod socket_path;

#[cfg(test)]
pub(crate) mod tests;
