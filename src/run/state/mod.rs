//! The pure heart of a unit: phase, restarts and health as values.
//!
//! Nothing here reads a clock, draws a random number or makes a system call: an event and the time
//! go in, a new state and the actions to take come out. `run::unit` is the shell around it.

mod desired;
mod health;
mod life;
mod machine;
mod reconcile;
mod restart;
mod timer;

pub(crate) use desired::{Desired, Generation, Observed, Seen};
pub(crate) use health::{CheckStep, Health, HealthTiming, Verdict};
pub(crate) use life::{
    Action, Failure, Moment, Occurrence, Pressure, Rest, Settings, Standing, State,
};
pub(crate) use machine::Machine;
pub(crate) use reconcile::{
    Dependency, HEALTHY_LIMIT, Judgement, Step, WRONG_PORT_LIMIT, judge, reconcile,
};
pub(crate) use timer::{Timer, Turn};
