//! The generated keys: what they are called, whether they can be, and who wishes for which port.

use std::collections::HashMap;

use super::code;
use super::draft::Draft;
use super::resolver::{Ports, Resolver};
use crate::dotenv::quote;
use crate::ports::request::{PortRequest, Want, Wish};
use crate::spec::Severity;
use crate::spec::model::PortWant;
use crate::spec::problem::{Problem, Span};
use crate::support::name::{PortName, ServiceName};
use crate::support::port_range::parse_port;
use crate::support::text::chain;

impl Draft {
    /// Every port that is wanted, in the order of the file, with the callers' wishes. A wish that is
    /// no port number is left out, with a warning.
    pub fn requests(&self, problems: &mut Vec<Problem>) -> Vec<PortRequest> {
        let mut requests = Vec::new();
        for service in self.spec().services.values() {
            for (name, declaration) in &service.ports {
                let want = match declaration.want {
                    PortWant::Auto => Want::Auto,
                    PortWant::Prefer(port) => Want::Prefer(port),
                    PortWant::Within(range) => Want::Within(range),
                    PortWant::Fixed(port) => Want::Fixed(port),
                };
                let wish = self.wish(&service.name, name, problems);
                let key = super::resolver::key(&service.name, name);
                requests.push(PortRequest {
                    key,
                    protocol: declaration.protocol,
                    want,
                    wish,
                });
            }
        }
        requests
    }

    /// The strongest wish that is a port number: the caller's, else the one in `.env`.
    fn wish(
        &self,
        service: &ServiceName,
        name: &PortName,
        problems: &mut Vec<Problem>,
    ) -> Option<Wish> {
        let key = name.env_key(service);
        let caller = self
            .variables()
            .of_caller(&key)
            .map(|value| (value, format!("`{key}` in the environment")));
        let own = self
            .variables()
            .of_own_dotenv(&key)
            .map(|(value, file)| (value, format!("`{key}` in `{file}`")));
        for (value, origin) in [caller, own].into_iter().flatten() {
            match parse_port(value) {
                Ok(port) => return Some(Wish { port, origin }),
                Err(_) => problems.push(no_port_number(&origin, value)),
            }
        }
        None
    }

    /// The generated keys with their values: every port, then `dotenv.vars`.
    pub(super) fn values(
        &self,
        ports: Ports<'_>,
        problems: &mut Vec<Problem>,
    ) -> Vec<(String, String)> {
        let mut values = Vec::new();
        for service in self.spec().services.values() {
            for name in service.ports.keys() {
                if let Some(port) = ports.get(&service.name, name) {
                    values.push((name.env_key(&service.name), port.to_string()));
                }
            }
        }
        let resolver = Resolver {
            draft: self,
            service: None,
            ports,
        };
        for (key, variable) in self.spec().dotenv.iter().flat_map(|dotenv| &dotenv.vars) {
            // A key of nothing is an empty line.
            let value = variable.value.as_ref();
            let value = value.map(|value| resolver.text(value, problems));
            values.push((key.clone(), value.unwrap_or_default()));
        }
        values
    }

    /// Checks every generated line: two must not have one key, and no value may be one that cannot
    /// be written. `values` are those of [`Self::values`], in their order.
    pub(super) fn check_generated(&self, values: &[(String, String)], problems: &mut Vec<Problem>) {
        let mut seen: HashMap<&str, usize> = HashMap::new();
        let origins = self.origins();
        for (index, ((key, value), (span, what))) in values.iter().zip(&origins).enumerate() {
            if let Some((first, other)) = seen.get(key.as_str()).and_then(|&at| origins.get(at)) {
                problems.push(
                    Problem::error(
                        code::KEY_COLLISION,
                        format!("{what} and {other} would both be exported as `{key}`"),
                        span,
                    )
                    .also(first, "the first one")
                    .hint("rename one of them"),
                );
                continue;
            }
            seen.insert(key, index);
            // Without the file no reader can get a value wrong.
            if self.dotenv_path().is_some()
                && let Err(error) = quote::line(key, value)
            {
                let problem = Problem::error(error.code(), chain(&error), span);
                problems.push(problem.hint(error.hint()));
            }
        }
    }

    /// Where every generated key comes from, in the order of [`Self::values`].
    fn origins(&self) -> Vec<(Span, String)> {
        let ports = self.spec().services.values().flat_map(|service| {
            service.ports.iter().map(|(name, declaration)| {
                let what = format!("port `{name}` of service `{}`", service.name);
                (declaration.span.clone(), what)
            })
        });
        let vars = self
            .spec()
            .dotenv
            .iter()
            .flat_map(|dotenv| &dotenv.vars)
            .map(|(key, variable)| {
                let value = variable.value.as_ref();
                let span = value.map_or(&variable.key_span, |value| &value.span);
                (span.clone(), format!("`dotenv.vars` key `{key}`"))
            });
        ports.chain(vars).collect()
    }
}

fn no_port_number(origin: &str, value: &str) -> Problem {
    let mut problem = Problem::without_place(
        code::WISH,
        format!("{origin} is `{value}`, which is no port number; it is ignored"),
    )
    .hint("set it to a number from 1 to 65535, or remove it");
    problem.severity = Severity::Warning;
    problem
}
