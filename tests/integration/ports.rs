//! Which ports a stack gets, and that it keeps them. `docs/design/ports.md` has a table of the
//! situations and of the tests that hold them.

mod adversary;
mod allocation;
mod complaints;
mod copies;
mod datagrams;
mod exits;
mod handoff;
mod intervals;
mod intruders;
mod keeping;
mod ledger;
mod machines;
mod memory;
mod networks;
mod reloads;
mod replicas;
mod scenarios;
mod seeing;
