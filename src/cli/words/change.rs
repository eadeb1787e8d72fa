//! What an `up` changes of a running stack, in words: a line for each service.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::cli::printer::relative;
use crate::plan::Plan;
use crate::run::control::StackSnapshot;
use crate::run::proposal::{ChangedField, Proposal, UnitChange, What};
use crate::support::fs::below;
use crate::support::text::list;

/// So many keys of the generated file are named.
const MOST_KEYS: usize = 8;

/// A line for each service that does not stay as it is. Replicas that share their fate share a line.
pub(crate) fn changes(proposal: &Proposal) -> Vec<String> {
    let mut rest = proposal.changes.as_slice();
    let mut lines = Vec::new();
    while let Some(first) = rest.first() {
        let is_alike = |it: &&UnitChange| it.service == first.service && it.what == first.what;
        let alike = rest.iter().take_while(is_alike).count();
        // Where only some replicas share it, they are named one by one.
        let all = proposal.changes.iter();
        let of_service = all.filter(|it| it.service == first.service).count();
        let who = if alike == of_service && first.replica == 1 {
            format!("`{}`", first.service)
        } else {
            let labels = rest[..alike].iter();
            list(labels.map(|it| format!("`{}-{}`", it.service, it.replica)))
        };
        lines.push(format!("{who}: {}", fragment(first)));
        rest = &rest[alike..];
    }
    lines
}

/// What becomes of the generated file, where it is to be another one or to hold other values.
pub(crate) fn file_changes(before: &StackSnapshot, now: &Plan, working_dir: &Path) -> Vec<String> {
    let shown = |path: &Path| format!("`{}`", relative(path, Some(working_dir)));
    let (old, new) = (before.dotenv.as_deref(), now.written_dotenv());
    // A directory that was renamed has other paths.
    let place = |path: &Path, dir: &Path| below(path, dir);
    let old_place = old.map(|path| place(path, &before.project_dir));
    let new_place = new.as_deref().map(|path| place(path, &now.project_dir));
    match (old, new.as_deref()) {
        (Some(old), Some(new)) if old_place != new_place => {
            vec![format!(
                "the ports are in {} now, instead of {}",
                shown(new),
                shown(old)
            )]
        }
        (Some(old), None) => vec![format!("the ports are not in {} any more", shown(old))],
        (None, Some(new)) => vec![format!("the ports are in {} now", shown(new))],
        (Some(_), Some(new)) if before.values != now.values => {
            let keys = changed_keys(&before.values, &now.values);
            vec![format!("{} changes: {keys}", shown(new))]
        }
        (Some(_), Some(_)) | (None, None) => Vec::new(),
    }
}

/// The keys that have another value, or are new, or gone: a few, and how many more.
fn changed_keys(old: &[(String, String)], new: &[(String, String)]) -> String {
    let mut old_values: HashMap<&str, &str> = HashMap::new();
    old_values.extend(old.iter().map(|(key, value)| (&**key, &**value)));
    let new_keys: HashSet<&str> = new.iter().map(|(key, _)| &**key).collect();
    let is_other =
        |(key, value): &&(String, String)| old_values.get(&**key).is_none_or(|old| old != value);
    let is_gone = |(key, _): &&(String, String)| !new_keys.contains(&**key);
    let other = new.iter().filter(is_other);
    let changed = other.chain(old.iter().filter(is_gone));
    let mut names: Vec<String> = changed.map(|(key, _)| format!("`{key}`")).collect();
    if names.len() > MOST_KEYS + 1 {
        let more = names.split_off(MOST_KEYS).len();
        names.push(format!("{more} more"));
    }
    list(names)
}

/// What becomes of a unit: a lowercase fragment, which stands behind its name.
pub(super) fn fragment(change: &UnitChange) -> String {
    match &change.what {
        What::Starts => "new; starting".to_owned(),
        What::Appears => "new; not started".to_owned(),
        What::Follows { service } => format!("restarting with `{service}`"),
        What::GoesDown { fields } if fields.is_empty() => "stopping".to_owned(),
        What::GoesDown { fields } => format!("{} changed; stopping", named(fields)),
        What::Stays { fields } if fields.is_empty() => {
            "no longer in the file; left as it is".to_owned()
        }
        // The first goes with its service only; of the others there may just be fewer.
        What::Stops if change.replica > 1 => "no longer wanted; stopping".to_owned(),
        What::Kept { service } => {
            format!("no longer in the file; left as it is, because `{service}` needs it")
        }
        What::Stops => "no longer in the file; stopping".to_owned(),
        What::Restarts { fields } if fields.is_empty() => "restarting".to_owned(),
        What::Restarts { fields } => format!("{} changed; restarting", named(fields)),
        What::TakesOver { fields } => format!("{} changed; not restarted", named(fields)),
        What::Stays { fields } => format!("{} changed; left as it is", named(fields)),
    }
}

/// The names of keys, the variables of an environment behind it.
fn named(fields: &[ChangedField]) -> String {
    let variables = fields.iter().filter_map(|field| field.variable.as_ref());
    let variables: Vec<String> = variables.map(|name| format!("`{name}`")).collect();
    let others = fields.iter().filter(|field| field.variable.is_none());
    let mut names: Vec<String> = others.map(|field| field.field.clone()).collect();
    if !variables.is_empty() {
        names.push(format!("environment {}", list(variables)));
    }
    list(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::name::ServiceName;

    fn change(service: &str, replica: u32, what: What) -> UnitChange {
        UnitChange {
            service: ServiceName::new(service).unwrap(),
            replica,
            what,
        }
    }

    fn field(field: &str, variable: Option<&str>) -> ChangedField {
        ChangedField {
            field: field.to_owned(),
            variable: variable.map(str::to_owned),
        }
    }

    #[test]
    fn of_many_keys_that_change_a_few_are_named() {
        let values = |keys: std::ops::Range<u32>, value: &str| -> Vec<(String, String)> {
            keys.map(|key| (format!("K{key}"), value.to_owned()))
                .collect()
        };
        let all = values(0..9, "1");
        let nine = "`K0`, `K1`, `K2`, `K3`, `K4`, `K5`, `K6`, `K7`";
        assert_eq!(changed_keys(&all, &all), "");
        assert_eq!(changed_keys(&all[..7], &all[2..]), "`K7`, `K8`, `K0`, `K1`");
        assert_eq!(changed_keys(&[], &all), format!("{nine}, `K8`"));
        let many = values(0..5000, "2");
        assert_eq!(changed_keys(&all, &many), format!("{nine}, 4992 more"));
        assert_eq!(changed_keys(&many, &[]), format!("{nine}, 4992 more"));
    }

    #[test]
    fn each_service_has_a_line_with_what_has_changed() {
        let level = || vec![field("environment", Some("LOG_LEVEL"))];
        let proposal = Proposal {
            changes: vec![
                change("api", 1, What::Restarts { fields: level() }),
                change("api", 2, What::Restarts { fields: level() }),
                change(
                    "db",
                    1,
                    What::Restarts {
                        fields: vec![field("command", None), field("environment", Some("A"))],
                    },
                ),
                change(
                    "web",
                    1,
                    What::TakesOver {
                        fields: vec![field("healthcheck", None), field("labels", None)],
                    },
                ),
                change("queue", 1, What::Restarts { fields: vec![] }),
                change("job", 1, What::Stays { fields: level() }),
                change("worker", 2, What::Starts),
                change("worker", 3, What::Starts),
                change("cache", 3, What::Stops),
                change("old", 1, What::Stops),
                change(
                    "mail",
                    1,
                    What::Kept {
                        service: ServiceName::new("job").unwrap(),
                    },
                ),
            ],
            ..Proposal::default()
        };
        assert_eq!(
            changes(&proposal),
            [
                "`api`: environment `LOG_LEVEL` changed; restarting",
                "`db`: command, environment `A` changed; restarting",
                "`web`: healthcheck, labels changed; not restarted",
                "`queue`: restarting",
                "`job`: environment `LOG_LEVEL` changed; left as it is",
                "`worker-2`, `worker-3`: new; starting",
                "`cache-3`: no longer wanted; stopping",
                "`old`: no longer in the file; stopping",
                "`mail`: no longer in the file; left as it is, because `job` needs it",
            ]
        );
    }
}
