//! The server and the client together, over a real socket, before a supervisor that plays a script.

mod commands;
pub(crate) mod fake;
mod fixtures;
mod hostile;
mod sockets;
mod streams;
mod versions;
