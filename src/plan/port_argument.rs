//! `--port SERVICE[.NAME]=N`: the strongest wish there is.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::code;
use super::replicas::Replicas;
use crate::ports::request::PortKey;
use crate::spec::model::{ServiceSpec, StackSpec};
use crate::spec::problem::Problem;
use crate::support::name::PortName;
use crate::support::text::{list, nearest};

/// One `--port`, as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortArgument {
    /// What names the port: a service, or a service, a dot and a port of it.
    pub port: String,
    /// The number that it should have.
    pub number: u16,
}

/// The ports that the arguments name, each the first replica's, with the numbers.
pub(super) fn asked(
    arguments: &[PortArgument],
    spec: &StackSpec,
    replicas: &[Replicas],
    problems: &mut Vec<Problem>,
) -> IndexMap<PortKey, u16> {
    let mut asked = IndexMap::new();
    for argument in arguments {
        let found = named(&argument.port, spec, replicas).and_then(|key| {
            if asked.contains_key(&key) {
                return Err((
                    format!("{key} is asked for twice"),
                    "keep one of the two".to_owned(),
                ));
            }
            Ok(key)
        });
        match found {
            Ok(key) => {
                asked.insert(key, argument.number);
            }
            Err((message, hint)) => problems.push(
                Problem::without_place(
                    code::PORT_ARGUMENT,
                    format!("`--port {}={}`: {message}", argument.port, argument.number),
                )
                .hint(hint),
            ),
        }
    }
    asked
}

/// The port that a text names, or a message and a hint.
fn named(text: &str, spec: &StackSpec, replicas: &[Replicas]) -> Result<PortKey, (String, String)> {
    let unknown = |name: &str| {
        let message = format!("there is no service `{name}`");
        (message, spec.missing_service(name))
    };
    // A service's name may hold dots, a port's may not.
    let (service, name) = match (spec.services.get(text), text.rsplit_once('.')) {
        (Some(service), _) => (service, None),
        (None, Some((service, name))) => match spec.services.get(service) {
            Some(service) => (service, Some(name)),
            None => return Err(unknown(service)),
        },
        (None, None) => return Err(unknown(text)),
    };
    let name = match name {
        Some(name) => of_name(service, name)?,
        None => the_port(service)?,
    };
    let index = spec.services.get_index_of(&service.name);
    if index
        .and_then(|index| replicas.get(index))
        .is_some_and(|replicas| replicas.count == 0)
    {
        return Err((
            format!("service `{}` has no replica", service.name),
            "leave it out, or give the service a replica".to_owned(),
        ));
    }
    Ok(PortKey::new(&service.name, 1, name))
}

/// The port that is meant when none is named: the one called `PORT`, else the only one.
fn the_port(service: &ServiceSpec) -> Result<&PortName, (String, String)> {
    let mut names = service.ports.keys();
    match (names.next(), names.next()) {
        (None, _) => Err((
            format!("service `{}` has no port", service.name),
            "declare one by `$<PORT:auto>`".to_owned(),
        )),
        (Some(only), None) => Ok(only),
        (Some(first), Some(_)) => service
            .ports
            .keys()
            .find(|name| name.as_str() == "PORT")
            .ok_or_else(|| {
                (
                    format!("service `{}` has several ports", service.name),
                    format!(
                        "name one, as in `{}.{first}`; its ports are: {}",
                        service.name,
                        list(service.ports.keys())
                    ),
                )
            }),
    }
}

fn of_name<'a>(service: &'a ServiceSpec, name: &str) -> Result<&'a PortName, (String, String)> {
    if let Some((found, _)) = service.ports.get_key_value(name) {
        return Ok(found);
    }
    let names = || service.ports.keys().map(PortName::as_str);
    let is_same = |other: &&str| other.eq_ignore_ascii_case(name);
    let near = names().find(is_same).or_else(|| nearest(name, names()));
    Err((
        format!("service `{}` has no port `{name}`", service.name),
        match near {
            Some(near) => format!("did you mean `{}.{near}`?", service.name),
            None if service.ports.is_empty() => "declare one by `$<PORT:auto>`".to_owned(),
            None => format!("its ports are: {}", list(names())),
        },
    ))
}
