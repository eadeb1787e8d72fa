//! `stack` runs every process of a project from one `stack.yaml`: it finds free ports for all of
//! them, writes them to `.env`, starts the services in order, keeps them up, and stops them without
//! leaving a process behind. The program is [`cli::main`]; the rest of this crate is how it works,
//! and can be used without it.
//!
//! # Theory of operation
//!
//! A run of `stack up` goes down this page once, in one process with one thread, until it forks.
//!
//! 1. **Read.** [`spec`] finds the file and reads it in one pass into a
//!    [`StackSpec`](spec::model::StackSpec), in which every value knows its place. It never stops at
//!    the first mistake. `${VAR}` and `$<PORT:auto>` stay templates.
//! 2. **Draft.** [`plan::Draft`] takes the caller's environment, checks the graph, and makes the whole
//!    plan once with stand-in ports. After this nothing that the user wrote can be wrong any more.
//! 3. **Ports.** [`ports::allocate()`] gets every port of the stack as one batch: all are held by bound
//!    sockets, or none. The sockets are the truth; the ledger of earlier runs only makes them the same
//!    again and explains who has the others.
//! 4. **Plan.** With the numbers the draft becomes a [`plan::model::Plan`], immutable from here on;
//!    [`dotenv`] writes its generated values into the fenced block of `.env`.
//! 5. **Fork.** [`run::launch::fork_roles`] makes a guardian and a supervisor below the process that was
//!    called, which becomes a client. A fork copies sockets, lock and plan, so nothing is handed over and no
//!    port is free for a moment. Guardian and supervisor each stop everything if the other is killed.
//! 6. **Run.** The [`run::supervisor`] is one loop on one thread. Each service is a unit with a pure
//!    state machine: occurrences go in, actions come out. Nothing ticks and nothing polls; the loop
//!    sleeps until a child ends, a message comes, a check answers, a signal arrives or the nearest
//!    deadline is due, and then settles what may start or stop.
//! 7. **Tell.** Output goes from the pipes to files first and to viewers after that
//!    ([`run::logs`]). Changes go out as events and snapshots; the terminal and every other command get them the
//!    same way, through the control socket of [`api`].
//!
//! What happens is decided in pure functions that take the time as an argument: the state machine,
//! the choice of ports, the graph, quoting, and everything that is drawn. Around them lies a thin
//! shell of system calls.
//!
//! # Rooms
//!
//! | room | the question it answers |
//! |---|---|
//! | [`spec`] | what did the user write? |
//! | [`ports`] | which port, and whose is it? |
//! | [`dotenv`] | how does a value get into a `.env` file, and back? |
//! | [`plan`] | what will happen? |
//! | [`run`] | what is happening? |
//! | [`api`] | how is it steered from outside? |
//! | [`cli`] | what does the person at the terminal see? |
//! | [`support`] | what do several rooms need? |
//!
//! A room imports only from those below it: `cli → api → run → plan → spec`, with `ports` and
//! `dotenv` below `plan` and `run`, and `support` below all. A test holds the source to it.
//! `docs/architecture.md` is the map with more detail, `docs/design/` has a note for each hard thing.
//!
//! # As a library
//!
//! Free ports for tests and launchers, held until the guards are dropped:
//!
//! ```
//! use stack::ports::free_ports;
//! use stack::support::port_range::PortRange;
//!
//! let guards = free_ports(2, PortRange::DEFAULT)?;
//! assert_ne!(guards[0].port(), guards[1].port());
//! # Ok::<(), stack::ports::PortError>(())
//! ```

pub mod api;
pub mod cli;
pub mod dotenv;
pub mod plan;
pub mod ports;
pub mod run;
pub mod spec;
pub mod support;
