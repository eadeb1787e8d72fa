//! Stacks, and what happens to them.

mod chance;

use std::fmt;
use std::time::Duration;

use super::super::{checked, plan, service};
use crate::plan::model::{
    DependencyPlan, Execution as Program, HookPlan, RestartPolicy, RestartWhen, SchedulePlan,
    UnitPlan,
};
use crate::run::control::Command;
use crate::run::waits::Goal;
use crate::spec::model::{Condition, HookTime};
use crate::support::name::{ServiceName, UnitId};

pub(super) use chance::cases;

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
    /// Each with how long it may take.
    hooks: Vec<(HookTime, u64)>,
    /// What they end with at first, or nothing before they are told to.
    hook_code: Option<i32>,
    schedule: Option<Schedule>,
}

#[derive(Debug, Clone, Copy)]
enum Schedule {
    /// Every so many seconds.
    Every(u64),
    /// At a time that never comes.
    Never,
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
    /// So does a hook.
    EndHook(usize, i32),
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
    /// Hooks end with this code, or when they are told to.
    Hooks(Option<i32>),
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
            schedule: sketch.schedule.map(Schedule::plan),
            ..plan(NAMES[place], &[])
        };
        plan.hooks = sketch.hooks.iter().zip(0..).map(hook).collect();
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
                Condition::Healthy | Condition::CompletedSuccessfully if on.schedule.is_some() => {
                    Condition::Started
                }
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

    /// What hooks end with at first.
    pub(super) fn hook_codes(&self) -> impl Iterator<Item = (UnitId, i32)> + '_ {
        self.replicas()
            .zip(0..)
            .filter_map(|((service, _), place)| {
                let code = self.services[service].hook_code?;
                Some((self.unit(place), code))
            })
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

impl Schedule {
    fn plan(self) -> SchedulePlan {
        match self {
            Self::Every(seconds) => SchedulePlan::Every(Duration::from_secs(seconds)),
            Self::Never => SchedulePlan::Cron("0 0 29 2 *".parse().unwrap()),
        }
    }
}

/// A hook is known by its command.
fn hook((&(time, timeout), place): (&(HookTime, u64), usize)) -> HookPlan {
    HookPlan {
        time,
        execution: Program {
            argv: vec![format!("hook {place}")],
            is_shell_line: false,
        },
        environment: indexmap::IndexMap::new(),
        directory: None,
        user: None,
        timeout: Duration::from_secs(timeout),
    }
}
