//! The generated keys: what they are called, whether they can be, and who wishes for which port.

use std::collections::HashMap;

use super::assignment::Ports;
use super::code;
use super::draft::Draft;
use super::replicas::Replicas;
use super::resolver::{Inside, Resolver, SECRET_LENGTH};
use crate::dotenv::quote;
use crate::ports::request::{PortKey, PortRequest, Wish};
use crate::spec::Severity;
use crate::spec::model::{
    PortDeclaration, PortWant, ServiceSpec, Thing, ThingDeclaration, VariableSpec,
};
use crate::spec::problem::{Problem, Span};
use crate::support::name::{PortName, ServiceName};
use crate::support::port_range::parse_port;
use crate::support::text::chain;

/// Whose port a generated line holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// `WEB_PORT`, which is the first replica's.
    First,
    /// `WEB_2_PORT`.
    Replica(u32),
    /// `WEB_PORTS`.
    All,
}

/// What a generated line tells of.
#[derive(Clone, Copy)]
enum Told<'a> {
    Port(&'a PortDeclaration),
    Thing(&'a ThingDeclaration),
}

/// A generated line of a port or thing.
struct Line<'a> {
    key: String,
    whose: Whose,
    service: &'a ServiceSpec,
    replicas: Replicas,
    name: &'a PortName,
    told: Told<'a>,
}

impl Line<'_> {
    /// Its value; `None` for a port that a running stack does not have.
    fn value(&self, draft: &Draft, ports: Ports<'_>) -> Option<String> {
        let service = self.service;
        let one = |replica| match self.told {
            Told::Port(_) => {
                let port = ports.get(&service.name, replica, self.name)?;
                Some(port.to_string())
            }
            Told::Thing(declaration) => {
                let inside = Inside { service, replica };
                let value = draft.thing_value(inside, self.name, declaration.thing);
                value.or_else(|| (!ports.are_allocated).then(|| "0".repeat(SECRET_LENGTH)))
            }
        };
        match self.whose {
            Whose::First => one(1),
            Whose::Replica(number) => one(number),
            Whose::All => {
                let known: Vec<String> = self.replicas.numbers().filter_map(one).collect();
                // That there is none is a value, too.
                (self.replicas.count == 0 || !known.is_empty()).then(|| known.join(","))
            }
        }
    }

    /// What it is, for messages.
    fn what(&self) -> String {
        let (name, service) = (self.name, &self.service.name);
        let kind = match self.told {
            Told::Port(_) => "port",
            Told::Thing(declaration) => match declaration.thing {
                Thing::Dir => "directory",
                Thing::Socket => "socket",
                Thing::Secret => "secret",
            },
        };
        match self.whose {
            Whose::First => format!("{kind} `{name}` of service `{service}`"),
            Whose::Replica(number) => {
                format!("{kind} `{name}` of replica {number} of service `{service}`")
            }
            Whose::All => format!("the list of all of {kind} `{name}` of service `{service}`"),
        }
    }

    /// Where it was declared.
    fn span(&self) -> &Span {
        match self.told {
            Told::Port(declaration) => &declaration.span,
            Told::Thing(declaration) => &declaration.span,
        }
    }
}

impl Draft {
    /// Every port that is wanted, in the order of the file and of the replicas, with the callers'
    /// wishes. A wish that is not a port number is left out, with a warning.
    pub fn requests(&self, problems: &mut Vec<Problem>) -> Vec<PortRequest> {
        let mut requests = Vec::new();
        for (service, replicas) in self.services() {
            for replica in replicas.numbers() {
                for (name, declaration) in &service.ports {
                    let key = PortKey::new(&service.name, replica, name);
                    requests.push(PortRequest {
                        wish: self.wish(&key, replicas, problems),
                        protocol: declaration.protocol,
                        // One number can be preferred by one replica: the first. Several replicas of a
                        // fixed one were refused when the draft was made.
                        want: match declaration.want {
                            PortWant::Prefer(_) if replica > 1 => PortWant::Auto,
                            want => want,
                        },
                        key,
                    });
                }
            }
        }
        requests
    }

    fn services(&self) -> impl Iterator<Item = (&ServiceSpec, Replicas)> {
        let replicas = self.replicas.iter().copied();
        self.spec().services.values().zip(replicas)
    }

    /// The strongest wish that is a port number: that of `--port`, else the caller's environment,
    /// else the one in `.env`.
    fn wish(&self, key: &PortKey, replicas: Replicas, problems: &mut Vec<Problem>) -> Option<Wish> {
        if let Some(&port) = self.asked_ports().get(key) {
            return Some(Wish {
                port,
                origin: "`--port`".to_owned(),
            });
        }
        // The key with the number says more than the one without, but is another service's unless
        // this one is replicated.
        let numbered = replicas
            .is_said
            .then(|| key.name.env_key_of(&key.service, key.replica));
        let plain = (key.replica == 1).then(|| key.name.env_key(&key.service));
        let keys: Vec<String> = numbered.into_iter().chain(plain).collect();
        let caller = keys.iter().filter_map(|key| {
            let value = self.variables.of_caller(key)?;
            Some((value, format!("`{key}` in the environment")))
        });
        let own = keys.iter().filter_map(|key| {
            let (value, file) = self.variables.of_own_dotenv(key)?;
            Some((value, format!("`{key}` in `{file}`")))
        });
        for (value, origin) in caller.chain(own) {
            match parse_port(value) {
                Ok(port) => return Some(Wish { port, origin }),
                Err(_) => problems.push(no_port_number(&origin, value)),
            }
        }
        None
    }

    /// What a thing of a replica comes to; `None` for a secret that has not been made.
    pub(super) fn thing_value(
        &self,
        inside: Inside<'_>,
        name: &PortName,
        thing: Thing,
    ) -> Option<String> {
        let (service, replica) = (&inside.service.name, inside.replica);
        let place = |is_socket| self.home().place(is_socket, (service, replica), name);
        Some(match thing {
            Thing::Dir => place(false).to_string_lossy().into_owned(),
            Thing::Socket => place(true).to_string_lossy().into_owned(),
            // Who shares a token is one service, however many there are of it.
            Thing::Secret => self.home().secret(service, name)?.to_owned(),
        })
    }

    /// The lines of the ports and things, in their order: for each the first replica's, and where the
    /// service is replicated every replica's and all.
    fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let has_secrets = self.spec().dotenv.as_ref().is_some_and(|it| it.secrets);
        self.services().flat_map(move |(service, replicas)| {
            let ports = service.ports.iter();
            let ports = ports.map(|(name, declaration)| (name, Told::Port(declaration)));
            let things = service.things.iter();
            let things = things.filter(move |(_, it)| has_secrets || it.thing != Thing::Secret);
            let things = things.map(|(name, declaration)| (name, Told::Thing(declaration)));
            ports.chain(things).flat_map(move |(name, told)| {
                let line = move |whose| Line {
                    key: match whose {
                        Whose::First => name.env_key(&service.name),
                        Whose::Replica(number) => name.env_key_of(&service.name, number),
                        Whose::All => name.env_key_of_all(&service.name),
                    },
                    whose,
                    service,
                    replicas,
                    name,
                    told,
                };
                let first = (replicas.count > 0).then_some(Whose::First);
                let numbered = replicas.numbers().map(Whose::Replica);
                // A secret is the service's, however many there are of it.
                let is_one = matches!(told, Told::Thing(it) if it.thing == Thing::Secret);
                let others = numbered
                    .chain([Whose::All])
                    .filter(move |_| replicas.is_said && !is_one);
                first.into_iter().chain(others).map(line)
            })
        })
    }

    /// The generated keys with their values: every port, then `dotenv.vars`.
    pub(super) fn values(&self, outside: &Resolver<'_>) -> Vec<(String, String)> {
        let lines = self.lines();
        let mut values: Vec<(String, String)> = lines
            .filter_map(|line| {
                line.value(self, outside.ports)
                    .map(|value| (line.key, value))
            })
            .collect();
        for (key, variable) in self.vars() {
            // A key of nothing is an empty line.
            let value = variable.value.as_ref();
            let value = value.map(|value| outside.text(value));
            values.push((key.clone(), value.unwrap_or_default()));
        }
        values
    }

    /// Of which service each generated key tells.
    pub(super) fn owners(&self) -> HashMap<String, ServiceName> {
        let lines = self.lines();
        lines
            .map(|line| (line.key, line.service.name.clone()))
            .collect()
    }

    fn vars(&self) -> impl Iterator<Item = (&String, &VariableSpec)> {
        self.spec().dotenv.iter().flat_map(|dotenv| &dotenv.vars)
    }

    /// Checks every generated line: two must not have one key, and no value may be one that cannot
    /// be written. `values` are those of [`Self::values`], in their order.
    pub(super) fn check_generated(&self, values: &[(String, String)], problems: &mut Vec<Problem>) {
        let lines = self.lines();
        let lines: Vec<Line<'_>> = lines.collect();
        let ports = lines.iter().map(|line| (line.span(), line.what()));
        let vars = self.vars().map(|(key, variable)| {
            let value = variable.value.as_ref();
            let span = value.map_or(&variable.key_span, |value| &value.span);
            (span, format!("`dotenv.vars` key `{key}`"))
        });
        let mut seen: HashMap<&str, (&Span, String)> = HashMap::new();
        for ((key, value), (span, what)) in values.iter().zip(ports.chain(vars)) {
            if let Some((first, other)) = seen.get(key.as_str()) {
                let message = format!("{what} and {other} would both be exported as `{key}`");
                problems.push(
                    Problem::error(code::KEY_COLLISION, message, span)
                        .also(first, "the first one")
                        .hint("rename one of them"),
                );
                continue;
            }
            seen.insert(key, (span, what));
            // Without the file no reader can get a value wrong.
            if self.dotenv_path().is_some()
                && let Err(error) = quote::line(key, value)
            {
                let problem = Problem::error(error.code(), chain(&error), span);
                problems.push(problem.hint(error.hint()));
            }
        }
    }
}

fn no_port_number(origin: &str, value: &str) -> Problem {
    let mut problem = Problem::without_place(
        code::WISH,
        format!("{origin} is `{value}`, which is not a port number; it is ignored"),
    )
    .hint("set it to a number from 1 to 65535, or remove it");
    problem.severity = Severity::Warning;
    problem
}
