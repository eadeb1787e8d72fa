//! Commands of several clients at once, compared with a model: `ideal` says what must be so, `clients` send
//! commands and wait, and `drive` runs the supervisor's loop and compares.
//!
//! Each case is a random stack and random steps: commands, clients that vanish, programs that end, are
//! deaf, cannot be executed or start slowly, checks and hooks that pass, fail and take time, runs by a
//! schedule, and time. After every
//! message that the loop takes in, everything that is told of every unit is compared. In the end all
//! chance stops: then everything is as it is wanted, every wait has ended, nothing is due, and `down`
//! ends it for good.
//!
//! `STACK_TEST_STEPS` is the number of steps. `STACK_TEST_SEED` repeats a case, but for the jitter of
//! restarts.

mod cases;
mod checks;
mod clients;
mod commands;
mod drive;
mod events;
mod hooks;
mod ideal;
mod life;

use std::cell::RefCell;
use std::collections::HashSet;
use std::time::Duration;

use cases::{Behaviour, Case, Execution, Step, cases};
use drive::{Drive, Tally};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use super::{Exit, World, on_stage};
use crate::run::control::Command;
use crate::run::runner::Start;
use crate::run::runner::testing::refusal;
use crate::run::snapshot::{Phase, Wanted};
use crate::run::state::{Health, Timer};
use crate::run::waits::Goal;
use crate::support::clock::unix_millis;
use crate::support::name::UnitId;

/// Returns with a sentence unless something is so.
macro_rules! ensure {
    ($is_so:expr, $($words:tt)*) => {
        if !$is_so {
            return Err(format!($($words)*));
        }
    };
}
use ensure;

/// How many steps are made unless the environment says otherwise.
const STEPS: u64 = 10_000;

/// How many steps are made after a stack has ended.
const LATE: u32 = 4;

/// What has to happen to clients in so many steps.
const SEEN: [&str; 24] = [
    "a hook was asked to end",
    "a run was due",
    "Executed Failed",
    "Executed Reached",
    "Executed Superseded(Stop)",
    "PostStart failed",
    "PostStart passed",
    "PreStart failed",
    "PreStart passed",
    "PreStart was too late",
    "PreStop failed",
    "PreStop passed",
    "Ready Failed",
    "Ready Reached",
    "Ready Superseded(Stop)",
    "Stopped Reached",
    "Stopped Superseded(Restart)",
    "Stopped Superseded(Up)",
    "refused Draining",
    "refused Gone",
    "refused UnknownService",
    "vanished after its reply",
    "vanished before its command",
    "vanished before its reply",
];

fn number_from_environment(key: &str) -> Option<u64> {
    std::env::var(key).ok()?.parse().ok()
}

#[test]
fn random_commands_of_several_clients_do_what_the_model_says() {
    let wanted = number_from_environment("STACK_TEST_STEPS").unwrap_or(STEPS);
    let first = number_from_environment("STACK_TEST_SEED").unwrap_or_else(unix_millis);
    let mut steps = 0;
    let tally = RefCell::new(Tally::new());
    for seed in first.. {
        if steps >= wanted {
            break;
        }
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let config = Config {
            failure_persistence: None,
            max_shrink_iters: 3000,
            ..Config::default()
        };
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut runner = TestRunner::new_with_rng(config, rng);
        let case = cases().new_tree(&mut runner).expect("no case is refused");
        steps += case.current().steps.len() as u64;
        let outcome = runner.run_one(case, |case| {
            let seen = on_stage(run(case)).map_err(TestCaseError::fail)?;
            add(&mut tally.borrow_mut(), seen);
            Ok(())
        });
        match outcome {
            Ok(_) => {}
            Err(TestError::Fail(why, case)) => panic!("STACK_TEST_SEED={seed}\n{case}\n{why}"),
            Err(error @ TestError::Abort(_)) => panic!("STACK_TEST_SEED={seed}\n{error}"),
        }
    }
    let tally = tally.into_inner();
    println!("{steps} steps: {tally:#?}");
    if wanted >= STEPS {
        // A test to which these do not happen shows nothing.
        let missing: Vec<_> = SEEN
            .iter()
            .filter(|what| !tally.contains_key(**what))
            .collect();
        assert!(missing.is_empty(), "{missing:?} did not happen");
    }
}

fn add(tally: &mut Tally, more: Tally) {
    for (what, count) in more {
        *tally.entry(what).or_default() += count;
    }
}

async fn run(case: Case) -> Result<Tally, String> {
    let mut tally = Tally::new();
    let mut steps = case.steps.iter();
    while steps.len() > 0 {
        let mut drive = Drive::new(case.plans());
        let codes = case.hook_codes();
        drive.world.borrow_mut().hook_codes.extend(codes);
        drive.begin(&case.first())?;
        // Some come too late for a stack that has ended; the others get a new one.
        let mut late = 0;
        while late < LATE
            && let Some(step) = steps.next()
        {
            take(&mut drive, &case, step).await?;
            late += u32::from(drive.stage.is_none());
        }
        let mut drive = quiet(drive, &case).await?;
        end(&mut drive).await?;
        add(&mut tally, drive.tally);
    }
    Ok(tally)
}

async fn take(drive: &mut Drive, case: &Case, step: &Step) -> Result<(), String> {
    let unit = |place: usize| case.unit(place);
    match step {
        Step::Send(sketch) => {
            let (command, goal) = case.command(sketch);
            drive.send(command, goal);
        }
        Step::Vanish(which) => drive.vanish(*which),
        Step::Turns(count, is_signal_late) => {
            for _ in 0..*count {
                drive.turn(*is_signal_late).await?;
            }
        }
        Step::End(place, code) => {
            let exit = Exit::Code(*code);
            drive.world.borrow_mut().end(&unit(*place), exit);
        }
        Step::Finish(place, is_executed) => {
            let start = if *is_executed {
                Start::Executed
            } else {
                refusal(false)
            };
            drive.world.borrow_mut().finish_start(&unit(*place), start);
        }
        Step::EndHook(place, code) => {
            let exit = Exit::Code(*code);
            drive.world.borrow_mut().end_hook(&unit(*place), exit);
        }
        Step::Behave(place, behaviour) => behave(drive, case, *place, *behaviour),
        Step::Pass(millis) => drive.pass(Duration::from_millis(*millis)).await?,
    }
    Ok(())
}

fn behave(drive: &mut Drive, case: &Case, place: usize, behaviour: Behaviour) {
    let unit = case.unit(place);
    let world = &mut *drive.world.borrow_mut();
    let set = |set: &mut HashSet<_>, is_in: bool| {
        if is_in {
            set.insert(unit.clone());
        } else {
            set.remove(&unit);
        }
    };
    match behaviour {
        Behaviour::Deaf(is_deaf) => set(&mut world.stubborn, is_deaf),
        Behaviour::Unkillable(true) => set(&mut world.unkillable, true),
        Behaviour::Unkillable(false) => world.relent(&unit),
        Behaviour::Lingers(millis) => {
            let time = Duration::from_millis(millis);
            world.lingering.insert(unit, time);
        }
        Behaviour::Executes(execution) => {
            set(&mut world.slow, execution == Execution::Slow);
            match execution {
                Execution::Good | Execution::Slow => world.refused.remove(&unit),
                Execution::Bad => world.refused.insert(unit, false),
                Execution::BadForNow => world.refused.insert(unit, true),
            };
        }
        Behaviour::Checks(code) => match code {
            Some(code) => drop(world.checks.insert(unit, code)),
            None => drop(world.checks.remove(&unit)),
        },
        Behaviour::Hooks(code) => match code {
            Some(code) => drop(world.hook_codes.insert(unit, code)),
            None => drop(world.hook_codes.remove(&unit)),
        },
    }
}

/// Whatever was wrong is right from now on.
fn make_good(world: &mut World, case: &Case) {
    world.stubborn.clear();
    world.lingering.clear();
    world.slow.clear();
    world.refused.clear();
    for unit in (0..case.len()).map(|place| case.unit(place)) {
        world.relent(&unit);
        world.finish_start(&unit, Start::Executed);
        world.end_hook(&unit, Exit::Code(0));
        world.hook_codes.insert(unit.clone(), 0);
        world.checks.insert(unit, 0);
    }
}

/// Chance stops, and those end who have to end by themselves. Then nothing more has to be done.
async fn quiet(mut drive: Drive, case: &Case) -> Result<Drive, String> {
    make_good(&mut drive.world.borrow_mut(), case);
    for _ in 0..case.len() + 2 {
        // The longest pause before a restart is a minute.
        drive.pass(Duration::from_secs(70)).await?;
        for one_shot in case.one_shots() {
            drive.world.borrow_mut().end(&one_shot, Exit::Code(0));
        }
    }
    drive.pass(Duration::from_secs(400)).await?;
    ensure!(
        drive.clients.is_empty(),
        "{} clients wait for ever",
        drive.clients.len()
    );
    let Some(stage) = &drive.stage else {
        return Ok(drive);
    };
    let supervisor = &stage.supervisor;
    for row in supervisor.snapshot().services {
        let is_so = match row.desired.wanted {
            Wanted::Running => match row.phase {
                Phase::Running
                | Phase::Healthy
                | Phase::Completed
                | Phase::Failed
                | Phase::Scheduled => true,
                Phase::Unhealthy
                | Phase::Pending
                | Phase::Waiting
                | Phase::Starting
                | Phase::Stopping
                | Phase::Backoff
                | Phase::Stopped => false,
            },
            Wanted::Nothing | Wanted::Stopped | Wanted::Killed => row.phase.is_at_rest(),
        };
        ensure!(is_so, "it is quiet, and this is not done: {row:?}");
        let does_run = drive.world.borrow().running.contains_key(&row.unit());
        let must_run = matches!(row.phase, Phase::Running | Phase::Healthy);
        ensure!(does_run == must_run, "does it run? {does_run}: {row:?}");
    }
    for (_, id) in &supervisor.deadlines {
        let unit = &supervisor.units[id];
        let health = unit.health.as_ref().and_then(Health::deadline);
        let next_run = unit.timer.as_ref().map(Timer::look);
        let is_usual = unit.deadline() == health.into_iter().chain(next_run).min();
        ensure!(
            is_usual,
            "it is quiet, and something is due for {id:?}: {unit:?}"
        );
    }
    Ok(drive)
}

/// Everything is stopped, and nothing begins any more.
async fn end(drive: &mut Drive) -> Result<(), String> {
    let all = || Vec::new();
    if drive.stage.is_some() {
        // It takes its time, so that the others come in the middle of it.
        let running: Vec<UnitId> = drive.world.borrow().running.keys().cloned().collect();
        let time = Duration::from_millis(500);
        let lingering = running.into_iter().map(|unit| (unit, time));
        drive.world.borrow_mut().lingering.extend(lingering);
        drive.send(Command::Down { grace: None }, Goal::Stopped);
        let up = Command::Up {
            services: all(),
            no_deps: false,
        };
        drive.send(up, Goal::Ready);
        drive.send(Command::Start { services: all() }, Goal::Executed);
        drive.pass(Duration::from_secs(30)).await?;
    }
    ensure!(drive.stage.is_none(), "it does not end: {:?}", drive.ideal);
    let running = drive.world.borrow().running.clone();
    ensure!(running.is_empty(), "left after the end: {running:?}");
    drive.send(Command::Start { services: all() }, Goal::Executed);
    drive.pass(Duration::ZERO).await?;
    ensure!(drive.clients.is_empty(), "a client of nobody waits");
    Ok(())
}
