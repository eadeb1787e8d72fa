//! Whose files are watched, as a plan says it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;

use super::burst::Burst;
use super::rebuild::Rebuild;
use super::rules::{Rule, Rules};
use crate::plan::Plan;
use crate::plan::model::UnitPlan;
use crate::run::control::UnitTarget;
use crate::support::name::ServiceName;

/// A service whose files are watched, or were.
pub(super) struct Subject {
    /// Of its first replica.
    pub(super) plan: UnitPlan,
    pub(super) burst: Burst,
    /// What has changed, by the item of its `watch`.
    pub(super) changes: BTreeMap<usize, BTreeSet<PathBuf>>,
    /// Whether that is something which the stack has read and gives to the service.
    pub(super) is_given: bool,
    /// What is still to be done about them: the reactions of a rebuild, the last one first.
    pub(super) commands: Vec<usize>,
    pub(super) rebuild: Option<Rebuild>,
    /// What was restarted and is not executed again yet.
    pub(super) targets: Vec<UnitTarget>,
    /// The sign that its files are watched; another client has it if there is none.
    claim: Option<UnixListener>,
}

impl Subject {
    fn of(plan: UnitPlan) -> Self {
        Self {
            plan,
            burst: Burst::default(),
            changes: BTreeMap::new(),
            is_given: false,
            commands: Vec::new(),
            rebuild: None,
            targets: Vec::new(),
            claim: None,
        }
    }

    /// Takes over what another plan says. Returns whether it watches something else by that.
    fn become_as(&mut self, plan: UnitPlan) -> bool {
        let is_other = self.plan.watch != plan.watch;
        if is_other {
            // They are counted by the items of before.
            self.changes.clear();
            self.commands.clear();
        }
        self.plan = plan;
        is_other
    }

    /// Claims the files of its service. Returns whether another client has.
    fn is_claimed(&mut self, instance: &str) -> bool {
        if self.plan.watch.is_empty() {
            self.claim = None;
        }
        if self.plan.watch.is_empty() || self.claim.is_some() {
            return false;
        }
        // A name that no file has, and which goes with the process.
        let name = format!("stack/watch/{instance}/{}", self.plan.service);
        let claimed = SocketAddr::from_abstract_name(name)
            .and_then(|address| UnixListener::bind_addr(&address));
        let is_taken = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
        let is_claimed = claimed.as_ref().is_err_and(is_taken);
        self.claim = claimed.ok();
        is_claimed
    }
}

/// What a plan says is watched.
pub(super) struct Watched {
    pub(super) rules: Rules,
    /// What is not as somebody may think.
    pub(super) problems: Vec<String>,
    /// Whether that is something else than before.
    pub(super) is_other: bool,
}

impl Watched {
    /// For these services, for all of them where none is named. The subjects that are there already
    /// keep their places.
    pub(super) fn of(plan: &Plan, services: &[ServiceName], subjects: &mut Vec<Subject>) -> Self {
        let mut plans: Vec<UnitPlan> = Vec::new();
        for unit in &plan.units {
            let is_meant = services.is_empty() || services.contains(&unit.service);
            let is_first = plans.last().is_none_or(|it| it.service != unit.service);
            if is_meant && is_first && !unit.watch.is_empty() {
                plans.push(unit.clone());
            }
        }
        let mut is_other = false;
        for subject in &mut *subjects {
            let place = plans
                .iter()
                .position(|it| it.service == subject.plan.service);
            let plan = place.map(|place| plans.remove(place));
            is_other |= subject.become_as(plan.unwrap_or_else(|| UnitPlan {
                watch: Vec::new(),
                ..subject.plan.clone()
            }));
        }
        is_other |= !plans.is_empty();
        subjects.extend(plans.into_iter().map(Subject::of));
        let (mut rules, mut problems) = (Vec::new(), Vec::new());
        for (at, subject) in subjects.iter_mut().enumerate() {
            for (item, watch) in subject.plan.watch.iter().enumerate() {
                let path = plan.project_dir.join(&watch.path);
                if plan.dotenv.iter().any(|dotenv| dotenv.path == path) {
                    let service = &subject.plan.service;
                    let path = watch.path.strip_prefix(".").unwrap_or(&watch.path);
                    let path = path.display();
                    problems.push(format!(
                        "{service}: `{path}` is never watched: `stack` writes it itself"
                    ));
                    continue;
                }
                let (rule, wrong) = Rule::new((at, item), watch, &plan.project_dir);
                rules.push(rule);
                problems.extend(
                    wrong
                        .iter()
                        .map(|it| format!("{}: {it}", subject.plan.service)),
                );
            }
            if subject.is_claimed(&plan.instance) {
                let service = &subject.plan.service;
                problems.push(format!(
                    "another `stack` also watches the files of {service}, so each change restarts it \
                     twice\nhint: end `stack watch`, or `up` without `--watch`, in one of the terminals"
                ));
            }
        }
        let dotenv = plan.dotenv.iter().map(|dotenv| dotenv.path.clone());
        Self {
            rules: Rules::new(rules, dotenv.collect()),
            problems,
            is_other,
        }
    }
}
