//! The supervisor over a runner under which nothing really runs: what commands lead to, and that
//! everything converges and every wait ends.

mod answers;
mod changes;
mod hooks;
mod model;
mod overlaps;
mod schedule;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use proptest::prelude::*;
use tokio::sync::{broadcast, mpsc};
use tokio::task::LocalSet;

use super::parts::Wires;
use super::*;
use crate::plan::model::{
    Belongings, DependencyPlan, Environment, Execution, HealthPlan, LoggingPlan, ProbePlan,
    ProcessPlan, RestartPolicy, RestartWhen, SchedulePlan, UnitPlan,
};
use crate::run::control::{Command, CommandReply, Controller, UnitTarget};
use crate::run::logs::LogFeed;
use crate::run::runner::Start;
use crate::run::runner::testing::{Fake, World};
use crate::run::snapshot::{Phase, ServiceSnapshot, Wanted};
use crate::run::unit_ports::UnitPorts;
use crate::run::waits::{Goal, Verdict, verdict};
use crate::spec::model::{Answerer, Condition};
use crate::support::name::ProjectName;

fn service(text: &str) -> ServiceName {
    ServiceName::new(text).unwrap()
}

fn id(text: &str) -> UnitId {
    UnitId::first(service(text))
}

fn plan(text: &str, edges: &[(&str, Condition)]) -> UnitPlan {
    let execution = Execution {
        argv: vec!["x".to_owned()],
        is_shell_line: false,
    };
    UnitPlan {
        process: ProcessPlan::default(),
        belongings: Belongings::default(),
        annotations: IndexMap::new(),
        is_attached: true,
        service: service(text),
        replica: 1,
        replicas: 1,
        execution,
        directory: "/".into(),
        environment: Environment {
            base: Arc::default(),
            common: Arc::default(),
            generated: Arc::default(),
            changes: IndexMap::new(),
        },
        stop_signal: 15,
        grace: Duration::from_secs(10),
        restart: RestartPolicy::with(RestartWhen::Never, None),
        schedule: None,
        success_exit_codes: Vec::new(),
        hooks: Vec::new(),
        health: None,
        depends_on: edges
            .iter()
            .map(|&(name, condition)| DependencyPlan {
                unit: id(name),
                condition,
                is_required: true,
                restart: false,
            })
            .collect(),
        ports: Vec::new(),
        handoff: None,
        logging: LoggingPlan::default(),
        watch: Vec::new(),
        labels: IndexMap::new(),
    }
}

fn checked(plan: UnitPlan) -> UnitPlan {
    let health = HealthPlan {
        restarts: false,
        probe: ProbePlan::Command(plan.execution.clone()),
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(5),
        retries: 3,
        start_period: Duration::ZERO,
        start_interval: Duration::from_secs(5),
        listener: Answerer::New,
    };
    UnitPlan {
        process: ProcessPlan::default(),
        health: Some(health),
        ..plan
    }
}

/// A supervisor with the world that it acts on, and the way to speak to it.
struct Stage {
    supervisor: Supervisor,
    world: Rc<RefCell<World>>,
    controller: Controller,
}

impl Stage {
    fn new(units: Vec<UnitPlan>) -> Self {
        let fake = Fake::default();
        let world = Rc::clone(&fake.0);
        let (request_tx, request_rx) = mpsc::unbounded_channel();
        let event_tx = broadcast::channel(256).0;
        let controller = Controller {
            request_tx,
            event_tx: event_tx.clone(),
            early: Arc::default(),
            feed: LogFeed::silent(),
            log_dir: "/logs".into(),
        };
        let wires = Wires {
            happened_rx: mpsc::unbounded_channel().1,
            finding_rx: mpsc::unbounded_channel().1,
            request_rx,
            event_tx,
        };
        let about = StackSnapshot {
            project: ProjectName::new("shop").unwrap(),
            instance: "shop-0".to_owned(),
            run: String::new(),
            project_dir: "/".into(),
            file: "/stack.yaml".into(),
            dotenv: None,
            arguments: crate::plan::Arguments::default(),
            fingerprint: String::new(),
            contents: crate::plan::Contents::default(),
            guardian_pid: 1,
            supervisor_pid: 2,
            started_at: 0,
            is_detached: true,
            is_draining: false,
            is_suspended: false,
            usage: None,
            values: Vec::new(),
            services: Vec::new(),
        };
        let units = units.into_iter().map(|plan| {
            let ports = UnitPorts::new(&plan, |_| None, &HashSet::new());
            Unit::new(plan, ports, Arc::default())
        });
        let options = Options {
            is_detached: true,
            ..Options::default()
        };
        let supervisor = Supervisor::with(units.collect(), Box::new(fake), wires, options, about);
        Self {
            supervisor,
            world,
            controller,
        }
    }

    /// Takes in what has happened until nothing more has.
    async fn turn(&mut self) {
        loop {
            self.supervisor.settle();
            self.world.borrow_mut().deeds.clear();
            self.supervisor.children_ended();
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
            let mut is_quiet = self.world.borrow().news.is_empty();
            while let Ok(ended) = self.supervisor.ended_rx.try_recv() {
                is_quiet = false;
                self.supervisor.ended(ended);
            }
            while let Ok(answer) = self.supervisor.answer_rx.try_recv() {
                is_quiet = false;
                self.supervisor.answered(answer);
            }
            while let Ok(ended) = self.supervisor.hook_rx.try_recv() {
                is_quiet = false;
                self.supervisor.hook_ended(ended);
            }
            self.supervisor.settle();
            if is_quiet {
                return;
            }
        }
    }

    async fn command(&mut self, command: Command) -> CommandReply {
        let reply = self.supervisor.command(&command).unwrap();
        self.turn().await;
        reply
    }

    async fn restart(&mut self, names: &[&str]) -> CommandReply {
        self.command(Command::Restart {
            services: names.iter().map(|name| service(name)).collect(),
            grace: None,
        })
        .await
    }

    async fn start(&mut self, names: &[&str]) -> CommandReply {
        self.command(Command::Start {
            services: names.iter().map(|name| service(name)).collect(),
        })
        .await
    }

    async fn stop(&mut self, names: &[&str]) -> CommandReply {
        self.command(Command::Stop {
            services: names.iter().map(|name| service(name)).collect(),
            grace: None,
        })
        .await
    }

    async fn up(&mut self) {
        self.command(Command::Up {
            services: Vec::new(),
            no_deps: false,
        })
        .await;
    }

    async fn exit(&mut self, name: &str, code: i32) {
        self.world.borrow_mut().end(&id(name), Exit::Code(code));
        self.turn().await;
    }

    /// Lets time pass, and what falls due meanwhile happen.
    async fn pass(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while let Some(due) = self.supervisor.deadline().filter(|due| *due <= end) {
            tokio::time::advance(due.saturating_duration_since(Instant::now())).await;
            self.supervisor.due();
            self.turn().await;
        }
        tokio::time::advance(end.saturating_duration_since(Instant::now())).await;
    }

    fn row(&self, name: &str) -> ServiceSnapshot {
        self.supervisor.service_snapshot(&id(name))
    }

    fn phase(&self, name: &str) -> Phase {
        self.row(name).phase
    }

    fn verdicts(&self, goal: Goal, reply: &CommandReply) -> Vec<Verdict> {
        let is_meant = |target: &&UnitTarget| goal == Goal::Stopped || !target.stops;
        let targets = reply.units.iter().filter(is_meant);
        targets
            .map(|target| {
                let row = self.supervisor.service_snapshot(&target.unit());
                verdict(goal, target.generation, &row)
            })
            .collect()
    }

    fn said(&self) -> Vec<String> {
        std::mem::take(&mut self.world.borrow_mut().said)
    }
}

/// Runs a test under a clock that stands still.
fn on_stage<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, test)
}

#[test]
fn two_restarts_that_overlap_both_come_to_an_end() {
    on_stage(async {
        let mut stage = Stage::new(vec![plan("slow", &[]), plan("quick", &[])]);
        stage.up().await;
        stage.world.borrow_mut().stubborn.insert(id("slow"));
        let first = stage.restart(&["slow", "quick"]).await;
        assert_eq!(stage.phase("slow"), Phase::Stopping);
        let second = stage.restart(&["quick"]).await;
        stage.pass(Duration::from_secs(20)).await;
        assert_eq!(stage.phase("slow"), Phase::Running);
        assert_eq!(stage.phase("quick"), Phase::Running);
        for reply in [&first, &second] {
            let verdicts = stage.verdicts(Goal::Executed, reply);
            assert!(
                verdicts.iter().all(|it| *it == Verdict::Reached),
                "{verdicts:?}"
            );
        }
    });
}

#[test]
fn a_restart_does_not_wait_for_what_nobody_has_started() {
    on_stage(async {
        let mut stage = Stage::new(vec![
            checked(plan("a", &[])),
            plan("b", &[("a", Condition::Healthy)]),
        ]);
        stage
            .command(Command::Up {
                services: vec![service("b")],
                no_deps: true,
            })
            .await;
        assert_eq!(
            (stage.phase("a"), stage.phase("b")),
            (Phase::Pending, Phase::Running)
        );
        let reply = stage.restart(&["b"]).await;
        assert_eq!(stage.verdicts(Goal::Executed, &reply), [Verdict::Reached]);
        assert_eq!(stage.row("b").attempt, 2);
    });
}

#[test]
fn a_stop_that_a_start_overtakes_says_so() {
    on_stage(async {
        let mut stage = Stage::new(vec![plan("a", &[])]);
        stage.up().await;
        stage.world.borrow_mut().stubborn.insert(id("a"));
        let stop = stage.stop(&["a"]).await;
        assert_eq!(stage.verdicts(Goal::Stopped, &stop), [Verdict::Pending]);
        let start = stage.start(&["a"]).await;
        assert_eq!(
            stage.verdicts(Goal::Stopped, &stop),
            [Verdict::Superseded(Cause::Start)]
        );
        stage.pass(Duration::from_secs(20)).await;
        assert_eq!(stage.verdicts(Goal::Executed, &start), [Verdict::Reached]);
        assert_eq!(stage.phase("a"), Phase::Running);
    });
}

#[test]
fn a_start_that_a_stop_overtakes_is_superseded_and_a_later_stop_does_as_well() {
    on_stage(async {
        let mut stage = Stage::new(vec![
            checked(plan("db", &[])),
            plan("a", &[("db", Condition::Healthy)]),
        ]);
        let start = stage.start(&["a"]).await;
        assert_eq!(stage.phase("a"), Phase::Waiting);
        let first = stage.stop(&["a"]).await;
        assert!(
            stage
                .verdicts(Goal::Executed, &start)
                .contains(&Verdict::Superseded(Cause::Stop))
        );
        stage.up().await;
        let second = stage.stop(&["a"]).await;
        for reply in [first, second] {
            assert_eq!(stage.verdicts(Goal::Stopped, &reply), [Verdict::Reached]);
        }
    });
}

#[test]
fn a_restart_goes_down_from_the_top_and_up_from_the_bottom() {
    on_stage(async {
        let mut stage = Stage::new(vec![
            plan("db", &[]),
            plan("api", &[("db", Condition::Started)]),
            plan("web", &[("api", Condition::Started)]),
        ]);
        stage.up().await;
        assert_eq!(stage.said(), ["execute db", "execute api", "execute web"]);
        stage.restart(&[]).await;
        let expected = [
            "signal web",
            "signal api",
            "signal db",
            "execute db",
            "execute api",
            "execute web",
        ];
        assert_eq!(stage.said(), expected);
    });
}

#[test]
fn a_one_shot_that_ended_has_met_its_generation() {
    on_stage(async {
        let mut stage = Stage::new(vec![
            plan("migrate", &[]),
            plan("api", &[("migrate", Condition::CompletedSuccessfully)]),
        ]);
        stage.up().await;
        assert_eq!(stage.phase("api"), Phase::Waiting);
        stage.exit("migrate", 0).await;
        assert_eq!(stage.said(), ["execute migrate", "execute api"]);
        stage.up().await;
        stage.restart(&["api"]).await;
        assert_eq!(
            stage.said(),
            ["signal api", "execute api"],
            "once is enough"
        );
        // Whoever restarts it wants it again, and what waits for it asks the new run.
        stage.restart(&[]).await;
        assert_eq!(stage.said(), ["signal api", "execute migrate"]);
        assert_eq!(stage.phase("api"), Phase::Waiting);
        stage.exit("migrate", 1).await;
        assert_eq!(stage.phase("api"), Phase::Failed);
    });
}

#[test]
fn a_start_that_takes_time_shows_how_far_it_is_and_can_be_cancelled() {
    on_stage(async {
        let mut stage = Stage::new(vec![plan("db", &[])]);
        stage.world.borrow_mut().slow.insert(id("db"));
        stage.up().await;
        assert_eq!(stage.phase("db"), Phase::Starting);
        stage.world.borrow_mut().news.push(Happened::Progressed {
            unit: id("db"),
            step: "pulling".to_owned(),
            percent: Some(34),
        });
        stage.turn().await;
        let reason = Reason::Preparing {
            step: "pulling".to_owned(),
            percent: Some(34),
        };
        assert_eq!(stage.row("db").reason, Some(reason));
        stage.stop(&["db"]).await;
        assert_eq!(stage.said(), ["execute db", "cancel db"]);
        assert_eq!(stage.phase("db"), Phase::Stopped);

        stage.start(&["db"]).await;
        let db = id("db");
        stage.world.borrow_mut().finish_start(&db, Start::Executed);
        stage.turn().await;
        assert_eq!(stage.phase("db"), Phase::Running);
    });
}

#[test]
fn what_sigkill_does_not_end_ends_the_wait_of_everybody() {
    on_stage(async {
        let mut stage = Stage::new(vec![plan("a", &[])]);
        stage.up().await;
        stage.world.borrow_mut().stubborn.insert(id("a"));
        stage.world.borrow_mut().unkillable.insert(id("a"));
        let restart = stage.restart(&["a"]).await;
        stage.pass(Duration::from_secs(20)).await;
        assert_eq!(stage.verdicts(Goal::Executed, &restart), [Verdict::Failed]);
        assert!(stage.supervisor.busy.is_empty());
    });
}

/// Something that may happen at any time.
#[derive(Debug, Clone)]
enum Event {
    Up(bool),
    Start(usize),
    Stop(usize),
    Restart(usize),
    Exit(usize, i32),
    Check(bool),
    Stubborn(usize, bool),
    Pass(u64),
}

const NAMES: [&str; 7] = ["migrate", "db", "api", "web", "worker", "slow", "job"];

fn events() -> impl Strategy<Value = Event> {
    let unit = || 0..NAMES.len();
    prop_oneof![
        any::<bool>().prop_map(Event::Up),
        unit().prop_map(Event::Start),
        unit().prop_map(Event::Stop),
        unit().prop_map(Event::Restart),
        (unit(), 0..2).prop_map(|(unit, code)| Event::Exit(unit, code)),
        any::<bool>().prop_map(Event::Check),
        (unit(), any::<bool>()).prop_map(|(unit, is)| Event::Stubborn(unit, is)),
        (0..20_u64).prop_map(Event::Pass),
    ]
}

/// A stack in which some units have hooks.
fn stack(hooks: &[bool]) -> Vec<UnitPlan> {
    let always = |plan: UnitPlan| UnitPlan {
        restart: RestartPolicy::with(RestartWhen::Always, None),
        ..plan
    };
    let mut web = plan("web", &[("api", Condition::Healthy)]);
    web.depends_on[0].restart = true;
    let mut worker = plan("worker", &[("db", Condition::Healthy)]);
    worker.depends_on[0].is_required = false;
    let job = UnitPlan {
        schedule: Some(SchedulePlan::Every(Duration::from_secs(30))),
        ..plan("job", &[("db", Condition::Healthy)])
    };
    let units = vec![
        plan("migrate", &[("db", Condition::Started)]),
        checked(plan("db", &[])),
        checked(always(plan(
            "api",
            &[("migrate", Condition::CompletedSuccessfully)],
        ))),
        web,
        always(worker),
        plan("slow", &[]),
        job,
    ];
    let units = units.into_iter().zip(hooks);
    units
        .map(|(unit, &has_hooks)| {
            if has_hooks {
                hooks::with_hooks(unit)
            } else {
                unit
            }
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_happens_it_converges_and_every_wait_ends(
        sequence in proptest::collection::vec(events(), 1..40),
        // Hooks end like checks, with success or a failure, or are killed after their time.
        hooks in proptest::collection::vec(any::<bool>(), NAMES.len()),
    ) {
        on_stage(async {
            let mut stage = Stage::new(stack(&hooks));
            stage.up().await;
            let mut waits: Vec<(Goal, CommandReply)> = Vec::new();
            for event in sequence {
                match event {
                    Event::Up(no_deps) => {
                        let command = Command::Up { services: vec![service("web")], no_deps };
                        waits.push((Goal::Executed, stage.command(command).await));
                    }
                    Event::Start(unit) => {
                        let reply = stage.start(&[NAMES[unit]]).await;
                        waits.push((Goal::Executed, reply));
                    }
                    Event::Stop(unit) => {
                        let reply = stage.stop(&[NAMES[unit]]).await;
                        waits.push((Goal::Stopped, reply));
                    }
                    Event::Restart(unit) => {
                        let reply = stage.restart(&[NAMES[unit]]).await;
                        waits.push((Goal::Executed, reply));
                    }
                    Event::Exit(unit, code) => stage.exit(NAMES[unit], code).await,
                    Event::Check(passes) => {
                        let exit = Exit::Code(i32::from(!passes));
                        stage.world.borrow_mut().end_command(exit);
                        stage.turn().await;
                    }
                    Event::Stubborn(unit, is_stubborn) => {
                        let stubborn = &mut stage.world.borrow_mut().stubborn;
                        if is_stubborn {
                            stubborn.insert(id(NAMES[unit]));
                        } else {
                            stubborn.remove(&id(NAMES[unit]));
                        }
                    }
                    Event::Pass(seconds) => stage.pass(Duration::from_secs(seconds)).await,
                }
            }
            // Nobody does anything any more: hooks do what they are for, one-shots end, and time passes.
            for (name, _) in NAMES.iter().zip(&hooks).filter(|(_, has_hooks)| **has_hooks) {
                stage.world.borrow_mut().hook_codes.insert(id(name), 0);
            }
            for _ in 0..3 {
                stage.exit("migrate", 0).await;
                stage.pass(Duration::from_secs(400)).await;
            }
            let mut answers = HashMap::new();
            for (id, unit) in &stage.supervisor.units {
                let row = stage.supervisor.service_snapshot(id);
                prop_assert!(!unit.seen().is_old(), "{row:?}");
                let is_down = unit.phase().is_at_rest();
                match row.desired.wanted {
                    Wanted::Running => prop_assert!(unit.phase() != Phase::Stopping, "{row:?}"),
                    Wanted::Nothing | Wanted::Stopped | Wanted::Killed => prop_assert!(is_down, "{row:?}"),
                }
                prop_assert!(row.phase != Phase::Waiting, "a wait without end: {row:?}");
                answers.insert(id.clone(), row);
            }
            for (goal, reply) in waits {
                for target in &reply.units {
                    let verdict = verdict(goal, target.generation, &answers[&target.unit()]);
                    prop_assert!(verdict != Verdict::Pending, "{goal:?} {target:?}: {:?}", answers[&target.unit()]);
                }
            }
            // And it ends when it is told to.
            stage.command(Command::Down { grace: None }).await;
            stage.pass(Duration::from_secs(20)).await;
            prop_assert!(stage.supervisor.is_over());
            prop_assert!(stage.world.borrow().running.is_empty());
            Ok(())
        })?;
    }
}
