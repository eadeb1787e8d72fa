//! A stack that runs takes over a changed file.

use super::super::propose::Planned;
use super::super::propose::planning::changes;
use super::*;
use crate::run::proposal::{Extent, Proposal, Recreate};

/// A unit that runs another command than one without a change.
fn changed(text: &str, edges: &[(&str, Condition)]) -> UnitPlan {
    let mut plan = plan(text, edges);
    plan.execution.argv.push("changed".to_owned());
    plan
}

fn labelled(text: &str, edges: &[(&str, Condition)]) -> UnitPlan {
    let mut plan = plan(text, edges);
    plan.labels.insert("team".to_owned(), "web".to_owned());
    plan
}

impl Stage {
    /// Takes over a plan with these units, as far as `extent` says.
    pub(super) async fn take_over(&mut self, units: Vec<UnitPlan>, extent: Extent) -> CommandReply {
        let plan = self.supervisor.plan_of(units);
        let is_left = |service: &ServiceName| {
            extent.recreate == Recreate::Nobody
                || !extent.services.is_empty() && !extent.services.contains(service)
        };
        let outcome = changes(&self.supervisor.known_units(), &plan, &extent, is_left);
        let proposal = Proposal {
            changes: outcome.changes,
            ..Proposal::default()
        };
        let moves = self.supervisor.commit(Planned {
            proposal,
            plan,
            requested: Arc::default(),
            sources: None,
            lingering: HashSet::new(),
            holds: IndexMap::new(),
            released: HashSet::new(),
            extent,
            ongoing: outcome.ongoing,
            edition: 0,
        });
        let reply = self.supervisor.reply(&moves);
        self.turn().await;
        reply
    }

    fn pid(&self, name: &str) -> Option<i32> {
        self.world.borrow().running.get(&id(name)).copied()
    }
}

#[test]
fn only_what_has_changed_restarts_and_in_the_order_of_its_dependencies() {
    on_stage(async {
        let chain = [("api", Condition::Started)];
        let mut stage = Stage::new(vec![
            plan("web", &chain),
            plan("api", &[("db", Condition::Started)]),
            plan("db", &[]),
            plan("other", &[]),
        ]);
        stage.up().await;
        stage.said();
        let other = stage.pid("other");
        let reply = stage
            .take_over(
                vec![
                    changed("web", &chain),
                    labelled("api", &[("db", Condition::Started)]),
                    changed("db", &[]),
                    plan("other", &[]),
                ],
                Extent::default(),
            )
            .await;
        assert_eq!(reply.affected, [service("web"), service("db")]);
        // A dependent of which nothing is another keeps running.
        let said = ["signal web", "signal db", "execute web", "execute db"];
        let mut told = stage.said();
        told.sort_by_key(|said| said.starts_with("execute"));
        assert_eq!(told, said);
        assert_eq!(stage.pid("other"), other);
        assert_eq!(
            stage.verdicts(Goal::Executed, &reply),
            [Verdict::Reached; 2]
        );
        let api = &stage.supervisor.units[&id("api")].plan;
        assert_eq!(api.labels.len(), 1, "taken over live");
    });
}

#[test]
fn what_comes_back_after_it_was_gone_ends_the_wait_for_its_end() {
    on_stage(async {
        let both = || vec![plan("web", &[]), plan("old", &[])];
        let mut stage = Stage::new(both());
        stage.up().await;
        let gone = stage
            .take_over(vec![plan("web", &[])], Extent::default())
            .await;
        assert!(!stage.supervisor.units.contains_key(&id("old")));
        let back = stage.take_over(both(), Extent::default()).await;
        assert_eq!(stage.phase("old"), Phase::Running);
        assert_eq!(stage.verdicts(Goal::Executed, &back), [Verdict::Reached]);
        // Whoever had it stopped may see it only now.
        let superseded = Verdict::Superseded(Cause::Up);
        assert_eq!(stage.verdicts(Goal::Stopped, &gone), [superseded]);
    });
}

#[test]
fn who_wants_the_same_once_more_while_it_is_on_its_way_changes_nothing() {
    on_stage(async {
        let healthy = [("db", Condition::Healthy)];
        let mut stage = Stage::new(vec![
            plan("api", &healthy),
            checked(plan("db", &[])),
            plan("slow", &[]),
        ]);
        stage.world.borrow_mut().checks.insert(id("db"), 0);
        stage.up().await;
        stage.pass(Duration::from_secs(2)).await;
        stage.world.borrow_mut().checks.clear();
        stage.world.borrow_mut().stubborn.insert(id("slow"));
        // `api` waits for what `db` becomes, `slow` takes its time to end.
        let new = || {
            vec![
                changed("api", &healthy),
                checked(changed("db", &[])),
                changed("slow", &[]),
            ]
        };
        let first = stage.take_over(new(), Extent::default()).await;
        assert_eq!(first.affected.len(), 3);
        let again = stage.take_over(new(), Extent::default()).await;
        assert_eq!(again.affected, []);
        // Whoever comes second waits for what is still to come.
        assert_eq!(again.units.len(), 2, "{again:?}");
        stage.world.borrow_mut().checks.insert(id("db"), 0);
        stage.pass(Duration::from_secs(60)).await;
        for name in ["api", "db", "slow"] {
            let row = stage.row(name);
            assert_eq!((row.attempt, row.desired.generation), (2, 2), "{name}");
            let argv = &stage.supervisor.units[&id(name)].plan.execution.argv;
            assert_eq!(argv.last().unwrap(), "changed", "{name}");
        }
        for reply in [first, again] {
            let verdicts = stage.verdicts(Goal::Executed, &reply);
            assert!(verdicts.iter().all(|it| *it == Verdict::Reached));
        }
    });
}

#[test]
fn who_wants_another_thing_while_it_is_on_its_way_gets_that() {
    on_stage(async {
        let mut stage = Stage::new(vec![plan("slow", &[])]);
        stage.up().await;
        stage.world.borrow_mut().stubborn.insert(id("slow"));
        stage
            .take_over(vec![changed("slow", &[])], Extent::default())
            .await;
        assert_eq!(stage.phase("slow"), Phase::Stopping);
        // What can be taken over live is, by what comes.
        let mut labelled = labelled("slow", &[]);
        labelled.execution = changed("slow", &[]).execution;
        let reply = stage.take_over(vec![labelled], Extent::default()).await;
        assert_eq!(reply.affected, []);
        stage.pass(Duration::from_secs(60)).await;
        let unit = &stage.supervisor.units[&id("slow")];
        assert_eq!(unit.plan.labels.len(), 1);
        assert_eq!(unit.plan.execution.argv, ["x", "changed"]);
        assert_eq!(stage.row("slow").attempt, 2);
        // And what was meant first after all is no change, but begins anew as it has to.
        stage
            .take_over(vec![plan("slow", &[])], Extent::default())
            .await;
        stage
            .take_over(vec![changed("slow", &[])], Extent::default())
            .await;
        stage.pass(Duration::from_secs(60)).await;
        let unit = &stage.supervisor.units[&id("slow")];
        assert_eq!(unit.plan.execution.argv, ["x", "changed"]);
        assert_eq!(stage.row("slow").attempt, 3);
    });
}

#[test]
fn a_changed_dependent_waits_for_what_its_changed_dependency_becomes() {
    on_stage(async {
        let healthy = [("db", Condition::Healthy)];
        let mut stage = Stage::new(vec![plan("api", &healthy), checked(plan("db", &[]))]);
        stage.world.borrow_mut().checks.insert(id("db"), 0);
        stage.up().await;
        stage.pass(Duration::from_secs(2)).await;
        let api = stage.pid("api");
        assert!(api.is_some());
        stage.world.borrow_mut().checks.clear();
        stage.said();
        let units = vec![changed("api", &healthy), checked(changed("db", &[]))];
        let reply = stage.take_over(units, Extent::default()).await;
        assert_eq!(stage.said(), ["signal db", "execute db"]);
        assert_eq!(stage.pid("api"), api, "it runs until `db` is there");
        assert_eq!(stage.verdicts(Goal::Executed, &reply)[0], Verdict::Pending);
        stage.world.borrow_mut().checks.insert(id("db"), 0);
        stage.pass(Duration::from_secs(20)).await;
        assert_ne!(stage.pid("api"), api);
        assert_eq!(
            stage.verdicts(Goal::Executed, &reply),
            [Verdict::Reached; 2]
        );
    });
}

#[test]
fn what_a_failed_change_does_not_reach_is_left_as_it_is() {
    on_stage(async {
        let started = [("db", Condition::Started)];
        let mut stage = Stage::new(vec![plan("api", &started), plan("db", &[])]);
        stage.up().await;
        let api = stage.pid("api");
        stage.world.borrow_mut().refused.insert(id("db"), false);
        let new = || vec![changed("api", &started), changed("db", &[])];
        let reply = stage.take_over(new(), Extent::default()).await;
        assert_eq!(stage.phase("db"), Phase::Failed);
        assert_eq!(
            (stage.phase("api"), stage.pid("api")),
            (Phase::Running, api)
        );
        let reason = stage.row("api").reason;
        assert!(
            matches!(reason, Some(Reason::NotApplied { .. })),
            "{reason:?}"
        );
        assert_eq!(stage.verdicts(Goal::Executed, &reply), [Verdict::Failed; 2]);
        // It is what it was, and the next time it becomes what the file says.
        assert_eq!(
            stage.supervisor.units[&id("api")].plan.execution.argv,
            ["x"]
        );
        stage.world.borrow_mut().refused.clear();
        let reply = stage.take_over(new(), Extent::default()).await;
        assert_eq!(
            stage.verdicts(Goal::Executed, &reply),
            [Verdict::Reached; 2]
        );
        assert_ne!(stage.pid("api"), api);
        assert_eq!(stage.row("api").reason, None);
    });
}

#[test]
fn what_is_left_as_it_is_keeps_what_it_needs() {
    on_stage(async {
        let started = |name| [(name, Condition::Started)];
        let mut stage = Stage::new(vec![
            plan("api", &started("db")),
            plan("db", &started("disk")),
            plan("disk", &[]),
            plan("old", &[]),
        ]);
        stage.up().await;
        let pids = ["api", "db", "disk"].map(|name| stage.pid(name));
        let extent = Extent {
            recreate: Recreate::Nobody,
            ..Extent::default()
        };
        stage.take_over(vec![changed("api", &[])], extent).await;
        assert_eq!(["api", "db", "disk"].map(|name| stage.pid(name)), pids);
        assert_eq!(stage.pid("old"), None);
        assert_eq!(stage.supervisor.about.fingerprint, "");
        // Once it becomes another, nobody needs them any more.
        stage
            .take_over(vec![changed("api", &[])], Extent::default())
            .await;
        assert_eq!(stage.supervisor.units.len(), 1);
    });
}

#[test]
fn what_a_spared_service_needs_stays_though_it_is_gone_from_the_files() {
    for is_stubborn in [false, true] {
        on_stage(async {
            let started = |name| [(name, Condition::Started)];
            let mut stage = Stage::new(vec![plan("api", &started("db")), plan("db", &[])]);
            stage.up().await;
            let pids = ["api", "db"].map(|name| stage.pid(name));
            if is_stubborn {
                stage.world.borrow_mut().stubborn.insert(id("db"));
            }
            stage.world.borrow_mut().refused.insert(id("new"), false);
            let units = vec![changed("api", &started("new")), plan("new", &[])];
            stage.take_over(units, Extent::default()).await;
            stage.pass(Duration::from_secs(60)).await;
            let reason = stage.row("api").reason;
            assert!(
                matches!(reason, Some(Reason::NotApplied { .. })),
                "{reason:?}"
            );
            assert_eq!(["api", "db"].map(|name| stage.pid(name)), pids);
            assert_eq!(stage.phase("db"), Phase::Running);
        });
    }
}

#[test]
fn what_has_completed_does_not_run_once_more_for_a_spared_service() {
    on_stage(async {
        let mut stage = Stage::new(vec![
            plan("web", &[("migrate", Condition::CompletedSuccessfully)]),
            plan("migrate", &[]),
            checked(plan("x", &[])),
        ]);
        stage.world.borrow_mut().checks.insert(id("x"), 1);
        stage.up().await;
        stage.exit("migrate", 0).await;
        stage.pass(Duration::from_secs(600)).await;
        assert_eq!(stage.phase("x"), Phase::Unhealthy);
        let web = stage.pid("web");
        assert!(web.is_some());
        stage.said();
        let units = vec![
            changed("web", &[("x", Condition::Healthy)]),
            checked(plan("x", &[])),
        ];
        stage.take_over(units, Extent::default()).await;
        stage.pass(Duration::from_secs(60)).await;
        let reason = stage.row("web").reason;
        assert!(
            matches!(reason, Some(Reason::NotApplied { .. })),
            "{reason:?}"
        );
        assert_eq!(stage.pid("web"), web);
        let said = stage.said();
        assert!(!said.iter().any(|it| it.contains("migrate")), "{said:?}");
    });
}

#[test]
fn what_is_gone_from_the_files_stops_and_is_forgotten() {
    on_stage(async {
        let mut stage = Stage::new(vec![
            plan("a", &[]),
            plan("old", &[("a", Condition::Started)]),
        ]);
        stage.up().await;
        stage.world.borrow_mut().stubborn.insert(id("old"));
        stage
            .take_over(vec![plan("a", &[])], Extent::default())
            .await;
        assert_eq!(stage.phase("old"), Phase::Stopping);
        // Back in the file before it has ended: it comes up again.
        let both = || vec![plan("a", &[]), plan("old", &[])];
        stage.take_over(both(), Extent::default()).await;
        stage.pass(Duration::from_secs(20)).await;
        assert_eq!(stage.phase("old"), Phase::Running);
        stage
            .take_over(vec![plan("a", &[])], Extent::default())
            .await;
        stage.pass(Duration::from_secs(20)).await;
        assert_eq!(stage.supervisor.units.len(), 1);
        assert_eq!(stage.pid("old"), None);
        // And a new one is like any other.
        stage.world.borrow_mut().stubborn.clear();
        stage.take_over(both(), Extent::default()).await;
        assert_eq!(stage.phase("old"), Phase::Running);
    });
}

#[test]
fn services_that_were_not_named_are_left_alone() {
    on_stage(async {
        let mut stage = Stage::new(vec![plan("a", &[]), plan("b", &[]), plan("c", &[])]);
        stage.up().await;
        let (b, c) = (stage.pid("b"), stage.pid("c"));
        let named = Extent {
            services: vec![service("a")],
            ..Extent::default()
        };
        stage
            .take_over(vec![changed("a", &[]), changed("b", &[])], named)
            .await;
        assert_eq!(stage.row("a").attempt, 2);
        assert_eq!((stage.pid("b"), stage.pid("c")), (b, c));
        assert_eq!(stage.supervisor.about.fingerprint, "");
        // Nobody is started anew where that is said, and everybody likewise.
        for (recreate, attempts) in [(Recreate::Nobody, (2, 1)), (Recreate::All, (3, 2))] {
            let extent = Extent {
                recreate,
                ..Extent::default()
            };
            let units = vec![changed("a", &[]), changed("b", &[]), plan("c", &[])];
            stage.take_over(units, extent).await;
            assert_eq!((stage.row("a").attempt, stage.row("b").attempt), attempts);
        }
    });
}

#[test]
fn who_is_named_restarts_in_any_case_with_who_follows_and_becomes_what_has_changed() {
    on_stage(async {
        let follows = || {
            let mut web = plan("web", &[("api", Condition::Started)]);
            web.depends_on[0].restart = true;
            web
        };
        let units = || vec![follows(), plan("api", &[]), plan("other", &[])];
        let mut stage = Stage::new(units());
        stage.up().await;
        let named = || Extent {
            services: vec![service("api")],
            no_deps: true,
            recreate: Recreate::Named,
            ..Extent::default()
        };
        let attempts = |stage: &Stage| ["web", "api", "other"].map(|it| stage.row(it).attempt);
        // The others stay what they are, though the file says something else of them.
        let mut changed_other = units();
        changed_other[2] = changed("other", &[]);
        let reply = stage.take_over(changed_other, named()).await;
        assert_eq!(attempts(&stage), [2, 2, 1]);
        assert_eq!(reply.affected, [service("web"), service("api")]);
        assert_eq!(
            stage.verdicts(Goal::Executed, &reply),
            [Verdict::Reached; 2]
        );
        let mut changed_api = units();
        changed_api[1] = changed("api", &[]);
        stage.take_over(changed_api, named()).await;
        assert_eq!(attempts(&stage), [3, 3, 1]);
        let argv = &stage.supervisor.units[&id("api")].plan.execution.argv;
        assert_eq!(argv.last().unwrap(), "changed");
    });
}

/// Two files with the same few services: each as it is in one of six ways, or not there.
fn files() -> impl Strategy<Value = [Vec<Option<u8>>; 3]> {
    let file = || proptest::collection::vec(proptest::option::weighted(0.8, 0..6_u8), 5);
    [file(), file(), file()]
}

/// The units of a file; each depends on the one before, where that is there.
fn units(file: &[Option<u8>]) -> Vec<UnitPlan> {
    let names = ["a", "b", "c", "d", "e"];
    let mut units = Vec::new();
    let mut before: Option<&str> = None;
    for (name, how) in names.into_iter().zip(file) {
        let Some(how) = how else { continue };
        let edges: Vec<(&str, Condition)> = before
            .filter(|_| how % 2 == 0)
            .map(|before| (before, Condition::Started))
            .into_iter()
            .collect();
        let mut unit = plan(name, &edges);
        unit.execution.argv.push((how / 2 % 2).to_string());
        // Its first run never ends.
        let period = SchedulePlan::Every(Duration::from_secs(20));
        unit.schedule = (how / 2 == 2).then_some(period);
        // Some have hooks, which pass.
        let has_hooks = matches!(name, "b" | "d");
        units.push(if has_hooks {
            hooks::with_hooks(unit)
        } else {
            unit
        });
        before = Some(name);
    }
    units
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever files come one behind the other, also before what the last one wanted is done: in the end
    /// that runs which a fresh start of the last one would run, each once, and who was the same all the
    /// time has its process still.
    #[test]
    fn in_the_end_that_runs_what_the_last_file_says(
        files in files(),
        stubborn in proptest::collection::vec(any::<bool>(), 5),
        pause in 0..15_u64,
    ) {
        on_stage(async {
            let [first, second, third] = files.map(|file| units(&file));
            let mut stage = Stage::new(first.clone());
            let passing = ["b", "d"].map(|name| (id(name), 0));
            stage.world.borrow_mut().hook_codes.extend(passing);
            stage.up().await;
            let pids = stage.world.borrow().running.clone();
            for (name, is_stubborn) in ["a", "b", "c", "d", "e"].into_iter().zip(stubborn) {
                if is_stubborn {
                    stage.world.borrow_mut().stubborn.insert(id(name));
                }
            }
            stage.take_over(second.clone(), Extent::default()).await;
            stage.pass(Duration::from_secs(pause)).await;
            let reply = stage.take_over(third.clone(), Extent::default()).await;
            stage.pass(Duration::from_secs(300)).await;
            let names: Vec<UnitId> = third.iter().map(UnitPlan::id).collect();
            let known: Vec<UnitId> = stage.supervisor.units.keys().cloned().collect();
            prop_assert_eq!(&known, &names);
            for unit in &third {
                let id = unit.id();
                let now = &stage.supervisor.units[&id];
                prop_assert_eq!(now.phase(), Phase::Running, "{:?}", id);
                prop_assert_eq!(&now.plan.execution, &unit.execution);
                prop_assert_eq!(&now.plan.depends_on, &unit.depends_on);
                prop_assert_eq!(&now.plan.schedule, &unit.schedule);
                prop_assert_eq!(now.timer.is_some(), unit.schedule.is_some());
                prop_assert!(now.next().is_none());
                let was_same = [&first, &second].into_iter().all(|file| {
                    let there = file.iter().find(|other| other.id() == id);
                    let is_same = |other: &UnitPlan| {
                        (&other.execution, &other.schedule) == (&unit.execution, &unit.schedule)
                    };
                    there.is_some_and(is_same)
                });
                if was_same {
                    let pid = stage.world.borrow().running.get(&id).copied();
                    prop_assert_eq!(pid, pids.get(&id).copied(), "{:?}", id);
                }
            }
            prop_assert_eq!(stage.world.borrow().running.len(), third.len());
            for verdict in stage.verdicts(Goal::Executed, &reply) {
                prop_assert_eq!(verdict, Verdict::Reached);
            }
            Ok(())
        })?;
    }
}
