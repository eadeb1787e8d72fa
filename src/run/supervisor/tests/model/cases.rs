//! Random stacks and random steps.

use std::fmt;
use std::time::Duration;

use proptest::prelude::*;

use super::super::{checked, plan, service};
use crate::plan::model::{DependencyPlan, RestartPolicy, RestartWhen, UnitPlan};
use crate::run::control::Command;
use crate::run::waits::Goal;
use crate::spec::model::Condition;
use crate::support::name::{ServiceName, UnitId};

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// A stack and what happens to it.
#[derive(Debug, Clone)]
pub(super) struct Case {
    services: Vec<Sketch>,
    first: (u8, bool),
    pub(super) steps: Vec<Step>,
}

/// A service.
#[derive(Debug, Clone)]
struct Sketch {
    replicas: u32,
    edges: Vec<Edge>,
    when: RestartWhen,
    max_attempts: Option<u32>,
    is_checked: bool,
    /// Whether its checks may fail for longer than anybody waits.
    is_patient: bool,
    grace: u64,
}

/// A dependency on one of the services before it.
#[derive(Debug, Clone, Copy)]
struct Edge {
    back: usize,
    condition: Condition,
    is_required: bool,
    restart: bool,
}

/// Something that happens.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// A client comes.
    Send(CommandSketch),
    /// A client goes, wherever it is.
    Vanish(usize),
    /// The loop goes round so often; whether it hears of its children last.
    Turns(u8, bool),
    /// A program ends by itself.
    End(usize, i32),
    /// A start that takes time is over.
    Finish(usize, bool),
    /// A program behaves so from now on.
    Behave(usize, Behaviour),
    /// So many milliseconds pass.
    Pass(u64),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Behaviour {
    Deaf(bool),
    Unkillable(bool),
    Lingers(u64),
    Executes(Execution),
    /// Checks end with this code, or never.
    Checks(Option<i32>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Execution {
    Good,
    Slow,
    Bad,
    BadForNow,
}

#[derive(Debug, Clone, Copy)]
enum Verb {
    Up,
    UpAlone,
    Start,
    Stop,
    Restart,
    ClearLogs,
    Down,
    Kill,
    /// A service that is not there.
    Stranger,
}

#[derive(Debug, Clone)]
pub(super) struct CommandSketch {
    verb: Verb,
    /// A bit for each service; none is all of them.
    names: u8,
    /// In seconds.
    grace: Option<u64>,
    is_for_ready: bool,
}

impl fmt::Display for Case {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for sketch in &self.services {
            writeln!(to, "{sketch:?}")?;
        }
        writeln!(to, "{:?}", self.first())?;
        for step in &self.steps {
            match step {
                Step::Send(sketch) => writeln!(to, "Send {:?}", self.command(sketch))?,
                step => writeln!(to, "{step:?}")?,
            }
        }
        Ok(())
    }
}

impl Case {
    fn replicas(&self) -> impl Iterator<Item = (usize, u32)> + '_ {
        let services = self.services.iter().enumerate();
        services.flat_map(|(place, sketch)| (1..=sketch.replicas).map(move |it| (place, it)))
    }

    /// How many units there are.
    pub(super) fn len(&self) -> usize {
        self.replicas().count()
    }

    pub(super) fn unit(&self, place: usize) -> UnitId {
        let units: Vec<(usize, u32)> = self.replicas().collect();
        let (service_place, replica) = units[place % units.len()];
        UnitId {
            service: service(NAMES[service_place]),
            replica,
        }
    }

    pub(super) fn plans(&self) -> Vec<UnitPlan> {
        let replicas = self.replicas();
        replicas
            .map(|(place, replica)| self.plan(place, replica))
            .collect()
    }

    fn plan(&self, place: usize, replica: u32) -> UnitPlan {
        let sketch = &self.services[place];
        let mut plan = UnitPlan {
            replica,
            replicas: sketch.replicas,
            restart: RestartPolicy::with(sketch.when, sketch.max_attempts),
            grace: Duration::from_secs(sketch.grace),
            ..plan(NAMES[place], &[])
        };
        for edge in &sketch.edges {
            let Some(other) = place.checked_sub(edge.back + 1) else {
                continue;
            };
            let on = &self.services[other];
            let is_known = plan
                .depends_on
                .iter()
                .any(|it| it.unit.service == service(NAMES[other]));
            if is_known {
                continue;
            }
            // What no dependency of its kind can meet nobody asks of it.
            let condition = match edge.condition {
                Condition::Healthy if !on.is_checked => Condition::Started,
                Condition::CompletedSuccessfully if on.when == RestartWhen::Always => {
                    Condition::Started
                }
                condition => condition,
            };
            plan.depends_on
                .extend((1..=on.replicas).map(|replica| DependencyPlan {
                    unit: UnitId {
                        service: service(NAMES[other]),
                        replica,
                    },
                    condition,
                    is_required: edge.is_required,
                    restart: edge.restart,
                }));
        }
        if !sketch.is_checked {
            return plan;
        }
        let mut plan = checked(plan);
        if let Some(health) = &mut plan.health {
            health.interval = Duration::from_secs(20);
            health.retries = 2;
            if sketch.is_patient {
                health.start_period = Duration::from_secs(1000);
            }
        }
        plan
    }

    /// Those that have to end by themselves.
    pub(super) fn one_shots(&self) -> Vec<UnitId> {
        let plans = self.plans();
        let edges = plans.iter().flat_map(|plan| &plan.depends_on);
        let awaited = edges.filter(|edge| edge.condition == Condition::CompletedSuccessfully);
        awaited.map(|edge| edge.unit.clone()).collect()
    }

    /// What the start of the stack wants.
    pub(super) fn first(&self) -> Command {
        let (names, no_deps) = self.first;
        Command::Up {
            services: self.names(names),
            no_deps,
        }
    }

    fn names(&self, bits: u8) -> Vec<ServiceName> {
        let all = NAMES.iter().take(self.services.len()).enumerate();
        let named = all.filter(|(place, _)| bits >> place & 1 == 1);
        named.map(|(_, name)| service(name)).collect()
    }

    pub(super) fn command(&self, sketch: &CommandSketch) -> (Command, Goal) {
        let services = self.names(sketch.names);
        let grace = sketch.grace.map(Duration::from_secs);
        let up = if sketch.is_for_ready {
            Goal::Ready
        } else {
            Goal::Executed
        };
        match sketch.verb {
            Verb::Up => (
                Command::Up {
                    services,
                    no_deps: false,
                },
                up,
            ),
            Verb::UpAlone => (
                Command::Up {
                    services,
                    no_deps: true,
                },
                up,
            ),
            Verb::Start => (Command::Start { services }, up),
            Verb::Restart => (Command::Restart { services, grace }, up),
            Verb::Stop => (Command::Stop { services, grace }, Goal::Stopped),
            Verb::ClearLogs => (Command::ClearLogs { units: Vec::new() }, Goal::Stopped),
            Verb::Down => (Command::Down { grace }, Goal::Stopped),
            Verb::Kill => (Command::Kill {}, Goal::Stopped),
            Verb::Stranger => {
                let services = vec![service("stranger")];
                (Command::Start { services }, up)
            }
        }
    }
}

fn sketches() -> impl Strategy<Value = Sketch> {
    let condition = prop_oneof![
        Just(Condition::Started),
        Just(Condition::Healthy),
        Just(Condition::CompletedSuccessfully),
    ];
    let required = prop_oneof![4 => Just(true), 1 => Just(false)];
    let edge = (0..5_usize, condition, required, any::<bool>());
    let edge = edge.prop_map(|(back, condition, is_required, restart)| Edge {
        back,
        condition,
        is_required,
        restart,
    });
    let when = prop_oneof![
        Just(RestartWhen::Never),
        Just(RestartWhen::OnFailure),
        Just(RestartWhen::Always),
    ];
    (
        prop_oneof![4 => Just(1_u32), 1 => Just(2_u32)],
        proptest::collection::vec(edge, 0..3),
        (when, proptest::option::of(0..4_u32)),
        any::<(bool, bool)>(),
        prop_oneof![Just(0_u64), Just(1), Just(10)],
    )
        .prop_map(
            |(replicas, edges, (when, max_attempts), (is_checked, is_patient), grace)| Sketch {
                replicas,
                edges,
                when,
                max_attempts,
                is_checked,
                is_patient,
                grace,
            },
        )
}

fn commands() -> impl Strategy<Value = CommandSketch> {
    let verb = prop_oneof![
        20 => Just(Verb::Up),
        10 => Just(Verb::UpAlone),
        20 => Just(Verb::Start),
        40 => Just(Verb::Stop),
        40 => Just(Verb::Restart),
        2 => Just(Verb::ClearLogs),
        3 => Just(Verb::Down),
        1 => Just(Verb::Kill),
        3 => Just(Verb::Stranger),
    ];
    let names = prop_oneof![
        1 => Just(0_u8),
        6 => (0..6_u8).prop_map(|place| 1 << place),
        3 => any::<u8>(),
    ];
    let grace = proptest::option::of(prop_oneof![Just(0_u64), Just(1), Just(5)]);
    (verb, names, grace, any::<bool>()).prop_map(|(verb, names, grace, is_for_ready)| {
        CommandSketch {
            verb,
            names,
            grace,
            is_for_ready,
        }
    })
}

fn behaviours() -> impl Strategy<Value = Behaviour> {
    let execution = prop_oneof![
        3 => Just(Execution::Good),
        2 => Just(Execution::Slow),
        1 => Just(Execution::Bad),
        1 => Just(Execution::BadForNow),
    ];
    let code = prop_oneof![3 => Just(Some(0)), 2 => Just(Some(1)), 1 => Just(None)];
    prop_oneof![
        4 => any::<bool>().prop_map(Behaviour::Deaf),
        2 => any::<bool>().prop_map(Behaviour::Unkillable),
        3 => (0..2500_u64).prop_map(Behaviour::Lingers),
        4 => execution.prop_map(Behaviour::Executes),
        4 => code.prop_map(Behaviour::Checks),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let place = || 0..12_usize;
    let time = prop_oneof![
        4 => 0..20_u64,
        4 => 20..1500_u64,
        3 => 1500..15_000_u64,
        2 => 15_000..400_000_u64,
    ];
    prop_oneof![
        8 => commands().prop_map(Step::Send),
        2 => any::<usize>().prop_map(Step::Vanish),
        8 => (1..5_u8, any::<bool>()).prop_map(|(count, is_late)| Step::Turns(count, is_late)),
        3 => (place(), 0..2).prop_map(|(place, code)| Step::End(place, code)),
        2 => (place(), any::<bool>()).prop_map(|(place, is)| Step::Finish(place, is)),
        4 => (place(), behaviours()).prop_map(|(place, it)| Step::Behave(place, it)),
        4 => time.prop_map(Step::Pass),
    ]
}

pub(super) fn cases() -> impl Strategy<Value = Case> {
    let services = proptest::collection::vec(sketches(), 1..=NAMES.len());
    let first = (prop_oneof![Just(0_u8), any::<u8>()], any::<bool>());
    let steps = proptest::collection::vec(steps(), 1..120);
    (services, first, steps).prop_map(|(services, first, steps)| Case {
        services,
        first,
        steps,
    })
}
