//! Random pairs of files: a stack of the first takes over the second. What runs then is what a fresh `up`
//! of the second runs, and only what had to has moved.
//!
//! Over a runner under which nothing really runs the same is tried much more often, in
//! `src/run/supervisor/tests/changes.rs`. The seed of a failure is printed, and `STACK_TEST_SEED` repeats
//! it; `STACK_TEST_PAIRS` is how many pairs there are.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};

use crate::harness::{Process, TestStack, World};

/// How many pairs there are unless the environment says otherwise.
const PAIRS: u64 = 8;

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// What the files settle for a service, as far as a child can see it.
const VARIABLES: [&str; 6] = [
    "SHARED",
    "LEVEL",
    "PEER",
    "PORT",
    "STACK_SERVICE",
    "STACK_REPLICA",
];

/// A service of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sketch {
    /// Its value of a variable, if it has that.
    level: Option<usize>,
    has_port: bool,
    /// How its command is written, which makes no other difference.
    spelling: usize,
    /// The service whose ports it is told, if that is there and has any.
    peer: Option<usize>,
    replicas: usize,
    label: usize,
    /// Whether it depends on the service before it.
    depends: bool,
}

/// A file: its services, each there or not, and what all of them are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct File {
    services: [Option<Sketch>; NAMES.len()],
    shared: usize,
}

/// A service, whose ports of how many replicas it is told, and what all are told.
type Settled = (Sketch, Option<(usize, usize)>, usize);

fn pick(random: &mut TestRng, count: usize) -> usize {
    let count = u64::try_from(count).expect("a few");
    usize::try_from(random.next_u64() % count).expect("a few")
}

fn sketch(random: &mut TestRng) -> Sketch {
    Sketch {
        level: pick(random, 3).checked_sub(1),
        has_port: pick(random, 2) == 0,
        spelling: pick(random, 2),
        peer: Some(pick(random, NAMES.len())).filter(|_| pick(random, 2) == 0),
        replicas: 1 + usize::from(pick(random, 4) == 0),
        label: pick(random, 2),
        depends: pick(random, 2) == 0,
    }
}

fn first(random: &mut TestRng) -> File {
    let mut file = File {
        services: NAMES.map(|_| (pick(random, 4) > 0).then(|| sketch(random))),
        shared: 0,
    };
    // No file is without services.
    file.services[0].get_or_insert_with(|| sketch(random));
    file
}

/// A file some of whose services are others than before.
fn second(random: &mut TestRng, first: &File) -> File {
    let mut file = *first;
    for service in &mut file.services {
        let new = sketch(random);
        match (pick(random, 12), service) {
            (0, service) => *service = None,
            (1, service) => *service = Some(new),
            (2, Some(service)) => service.level = new.level,
            (3, Some(service)) => service.has_port = new.has_port,
            (4, Some(service)) => service.spelling = new.spelling,
            (5, Some(service)) => service.peer = new.peer,
            (6, Some(service)) => service.replicas = new.replicas,
            (7, Some(service)) => service.label = new.label,
            (8, Some(service)) => service.depends = new.depends,
            (_, _) => {}
        }
    }
    file.services[0].get_or_insert_with(|| sketch(random));
    file.shared = usize::from(pick(random, 8) == 0);
    file
}

impl File {
    /// How many replicas the service has whose ports a service is told.
    fn peer(&self, sketch: &Sketch) -> Option<(usize, usize)> {
        let place = sketch.peer?;
        let peer = self.services[place].filter(|peer| peer.has_port)?;
        Some((place, peer.replicas))
    }

    fn yaml(&self) -> String {
        let shared = self.shared;
        let mut text = format!(
            "environment: {{ SHARED: s{shared} }}\ndotenv: {{ vars: {{ FILE: f{shared} }} }}\nservices:\n"
        );
        let mut before: Option<(&str, Sketch)> = None;
        for (name, sketch) in NAMES.iter().zip(self.services) {
            let Some(sketch) = sketch else { continue };
            let blanks = " ".repeat(1 + sketch.spelling);
            let what = match (sketch.has_port, sketch.spelling) {
                (true, _) => "bind $<PORT:auto>",
                (false, 0) => "sleep",
                (false, _) => "record TERM heard --takes 100",
            };
            let mut line = format!("  {name}:\n    command: MISBEHAVE alone --{blanks}{what}\n");
            let mut variables = Vec::new();
            variables.extend(sketch.level.map(|level| format!("LEVEL: l{level}")));
            if let Some((place, _)) = self.peer(&sketch) {
                variables.push(format!("PEER: $<{}.PORTS>", NAMES[place]));
            }
            let (variables, label) = (variables.join(", "), sketch.label);
            write!(
                line,
                "    environment: {{ {variables} }}\n    replicas: {}\n    labels: {{ team: t{label} }}\n",
                sketch.replicas
            )
            .expect("a string takes everything");
            if let Some((on, other)) = before.filter(|_| sketch.depends) {
                let condition = if other.has_port { "healthy" } else { "started" };
                writeln!(
                    line,
                    "    depends_on: {{ {on}: {{ condition: service_{condition} }} }}"
                )
                .expect("a string takes everything");
            }
            text.push_str(&line);
            before = Some((name, sketch));
        }
        text
    }

    /// What a service restarts for if it changes. Labels and dependencies are taken over as it runs.
    fn settled(&self, place: usize) -> Option<Settled> {
        let sketch = self.services[place]?;
        let seen = Sketch {
            label: 0,
            depends: false,
            peer: None,
            ..sketch
        };
        Some((seen, self.peer(&sketch), self.shared))
    }
}

/// A replica as it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Replica {
    phase: String,
    command: String,
    variables: BTreeMap<&'static str, String>,
    pid: i32,
    port: Option<i64>,
}

impl Replica {
    /// Without what another run has other ones of: each port by its name.
    fn without_numbers(&self, dotenv: &BTreeMap<String, String>) -> Self {
        let named = |text: &String| {
            let mut text = text.clone();
            for (key, value) in dotenv {
                if value.parse::<u16>().is_ok() {
                    text = text.replace(value, key);
                }
            }
            text
        };
        let variables = self.variables.iter();
        Self {
            phase: self.phase.clone(),
            command: named(&self.command),
            variables: variables.map(|(key, it)| (*key, named(it))).collect(),
            pid: 0,
            port: None,
        }
    }
}

/// Everything that runs, by service and replica.
#[track_caller]
fn running(stack: &TestStack) -> BTreeMap<(String, i64), Replica> {
    let rows = stack.ps().into_iter();
    rows.map(|row| {
        let pid = row.pid().unwrap_or_else(|| panic!("{row:?} does not run"));
        let process = Process::of(pid).expect("it runs");
        let variable = |key| Some((key, process.variable(key)?));
        let replica = Replica {
            phase: row.phase().to_owned(),
            command: process.command(),
            variables: VARIABLES.into_iter().filter_map(variable).collect(),
            pid,
            port: row.port_entry()["port"].as_i64(),
        };
        ((row.name().to_owned(), row.replica()), replica)
    })
    .collect()
}

fn try_pair(random: &mut TestRng) {
    let first = first(random);
    let second = second(random, &first);
    let stack = TestStack::new(&first.yaml());
    stack.run(&["up", "-d"]).ok();
    let before = running(&stack);
    stack.write_yaml(&second.yaml());
    let output = stack.run(&["up", "-d", "--wait"]).ok();
    let after = running(&stack);
    let files = format!("{}\nthen\n{}\n{output}", first.yaml(), second.yaml());
    for ((name, replica), old) in &before {
        let place = NAMES.iter().position(|it| it == name).expect("it is one");
        let Some(new) = after.get(&(name.clone(), *replica)) else {
            continue;
        };
        if old.port.is_some() && new.port.is_some() {
            assert_eq!(old.port, new.port, "the port of `{name}` moved:\n{files}");
        }
        if first.settled(place) == second.settled(place) {
            assert_eq!(old.pid, new.pid, "`{name}` restarted:\n{files}");
        } else if old.variables != new.variables || old.command != new.command {
            assert_ne!(old.pid, new.pid, "`{name}` did not restart:\n{files}");
        }
    }
    // What is said once more changes nothing.
    stack.run(&["up", "-d"]).ok().says(&["nothing to start"]);
    assert_eq!(running(&stack), after, "{files}");

    let fresh = TestStack::in_world(&World::new(), "fresh", &second.yaml());
    fresh.up_detached();
    let plain = |stack: &TestStack| {
        let dotenv = stack.dotenv();
        let all = running(stack).into_iter();
        let all = all.map(|(id, replica)| (id, replica.without_numbers(&dotenv)));
        let keys: Vec<String> = dotenv.keys().cloned().collect();
        let shared = dotenv["FILE"].clone();
        (all.collect::<BTreeMap<_, _>>(), keys, shared)
    };
    assert_eq!(plain(&stack), plain(&fresh), "{files}");
    for stack in [stack, fresh] {
        stack.down();
        assert!(!stack.path("twice").exists(), "two copies:\n{files}");
    }
}

#[test]
fn what_takes_over_a_file_is_what_a_fresh_start_of_it_runs() {
    let number = |key: &str| std::env::var(key).ok()?.parse::<u64>().ok();
    let first = number("STACK_TEST_SEED").unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.subsec_nanos().into())
    });
    for seed in first..first + number("STACK_TEST_PAIRS").unwrap_or(PAIRS) {
        println!("STACK_TEST_SEED={seed}");
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        try_pair(&mut TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    }
}
