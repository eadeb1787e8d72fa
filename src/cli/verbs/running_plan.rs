//! The plan of the files for the stack that runs: for whoever does something with one of its services
//! beside the supervisor.

use indexmap::IndexMap;

use crate::cli::exit::Stop;
use crate::cli::invocation::Invocation;
use crate::plan::model::Plan;
use crate::plan::{Assignment, Draft, secret_names};
use crate::ports::request::PortKey;
use crate::run::control::StackSnapshot;
use crate::run::instance::Instance;
use crate::run::secrets;
use crate::support::name::ServiceName;

/// The plan of a file for the stack that runs, with its ports and its replicas.
pub(super) fn plan_of(
    invocation: &Invocation,
    instance: &Instance,
    draft: Draft,
    stack: &StackSnapshot,
) -> Result<Plan, Stop> {
    let mut problems = Vec::new();
    let draft = at_home(invocation, instance, as_running(draft, stack));
    let plan = draft.finish(&assignment(stack), &mut problems);
    if problems.iter().any(crate::spec::Problem::is_error) {
        return Err(invocation.problems(&problems));
    }
    Ok(plan)
}

/// A draft that knows what the instance keeps.
pub(super) fn at_home(invocation: &Invocation, instance: &Instance, draft: Draft) -> Draft {
    let secrets = secrets::read(&instance.dir, secret_names(draft.spec()));
    draft.at_home(super::up::home(invocation, instance, secrets))
}

/// The draft with the replicas of the stack that runs, whatever the file and its `up` said.
///
/// The snapshot tells how many there are of each service. Whether a number was said at all, or a
/// service was scaled to nothing, is told by the keys that were generated.
pub(super) fn as_running(draft: Draft, stack: &StackSnapshot) -> Draft {
    let has_value = |key: String| stack.values.iter().any(|(known, _)| *known == key);
    let mut running: IndexMap<ServiceName, u32> = IndexMap::new();
    for row in stack.services.iter().filter(|row| row.replicas > 1) {
        running.insert(row.service.clone(), row.replicas);
    }
    for service in draft.spec().services.values() {
        let mut names = service.ports.keys();
        let rows = || stack.services.iter();
        let count = rows().filter(|row| row.service == service.name).count();
        let is_said = names.any(|name| {
            if count == 0 {
                has_value(name.env_key_of_all(&service.name))
                    && !has_value(name.env_key(&service.name))
            } else {
                has_value(name.env_key_of(&service.name, 1))
            }
        });
        if is_said && count <= 1 {
            let count = u32::from(count == 1);
            running.insert(service.name.clone(), count);
        }
    }
    let is_known = |name: &ServiceName| stack.services.iter().any(|row| row.service == *name);
    draft.as_running(&running, is_known)
}

/// The ports of a running stack as an assignment.
pub(super) fn assignment(stack: &StackSnapshot) -> Assignment {
    stack
        .services
        .iter()
        .flat_map(|service| {
            service.ports.iter().map(|port| {
                let key = PortKey::new(&service.service, service.replica, &port.name);
                (key, port.port)
            })
        })
        .collect()
}
