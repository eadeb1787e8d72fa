//! Hooks that meet commands, time and their own end.

use super::*;
use crate::plan::model::HookPlan;
use crate::run::reason::{HookEnd, Reason};
use crate::spec::model::HookTime;

fn hooked(text: &str, edges: &[(&str, Condition)]) -> UnitPlan {
    with_hooks(plan(text, edges))
}

/// A unit with a hook before its start and one before its stop, which end when the test says so, or
/// when they have taken too long.
pub(super) fn with_hooks(plan: UnitPlan) -> UnitPlan {
    let hook = |time| HookPlan {
        time,
        execution: plan.execution.clone(),
        environment: IndexMap::new(),
        directory: None,
        user: None,
        timeout: Duration::from_secs(3),
    };
    UnitPlan {
        hooks: vec![hook(HookTime::PreStart), hook(HookTime::PreStop)],
        ..plan
    }
}

async fn end_hook(stage: &mut Stage, code: i32) {
    stage.world.borrow_mut().end_command(Exit::Code(code));
    stage.turn().await;
}

#[test]
fn a_unit_starts_and_stops_when_its_hooks_are_done() {
    on_stage(async {
        let edges = [("db", Condition::Started)];
        let mut stage = Stage::new(vec![hooked("db", &[]), hooked("web", &edges)]);
        stage.up().await;
        assert!(stage.said().is_empty());
        assert_eq!(stage.phase("db"), Phase::Starting);
        assert_eq!(stage.phase("web"), Phase::Waiting);
        end_hook(&mut stage, 0).await;
        end_hook(&mut stage, 0).await;
        assert_eq!(stage.said(), ["execute db", "execute web"]);
        let grace = None;
        stage.command(Command::Down { grace }).await;
        assert!(stage.said().is_empty(), "`pre_stop` comes first");
        end_hook(&mut stage, 1).await;
        assert_eq!(stage.said(), ["signal web"], "whatever came of it");
        end_hook(&mut stage, 0).await;
        assert_eq!(stage.said(), ["signal db"]);
        assert_eq!(stage.phase("db"), Phase::Stopped);
    });
}

#[test]
fn a_hook_that_takes_too_long_has_failed_and_time_stands_still_with_everything() {
    on_stage(async {
        let mut stage = Stage::new(vec![hooked("db", &[])]);
        stage.up().await;
        stage.pass(Duration::from_secs(2)).await;
        stage.supervisor.freeze();
        tokio::time::advance(Duration::from_secs(60)).await;
        stage.supervisor.thaw();
        stage.pass(Duration::from_millis(900)).await;
        assert_eq!(stage.phase("db"), Phase::Starting);
        stage.pass(Duration::from_millis(200)).await;
        let row = stage.row("db");
        let Some(Reason::NotPrepared { failure, .. }) = &row.reason else {
            panic!("{row:?}");
        };
        assert_eq!(failure.end, HookEnd::TimedOut { limit_millis: 3000 });
        assert!(stage.world.borrow().commands.is_empty(), "it was killed");
        assert!(stage.said().is_empty(), "nothing was executed");
    });
}

#[test]
fn nobody_waits_for_ever_for_the_health_of_what_cannot_be_prepared() {
    on_stage(async {
        let always = UnitPlan {
            restart: RestartPolicy::with(RestartWhen::Always, None),
            ..checked(hooked("db", &[]))
        };
        let mut stage = Stage::new(vec![always, plan("web", &[("db", Condition::Healthy)])]);
        stage.up().await;
        stage.pass(Duration::from_secs(200)).await;
        assert_eq!(stage.phase("web"), Phase::Waiting);
        stage.pass(Duration::from_secs(200)).await;
        assert_eq!(stage.phase("web"), Phase::Failed);
    });
}

#[test]
fn commands_that_meet_a_hook_are_obeyed_after_it() {
    on_stage(async {
        let mut stage = Stage::new(vec![hooked("db", &[])]);
        stage.up().await;
        // What prepares it is asked to end, and prepares it anew.
        let restart = stage.restart(&["db"]).await;
        assert_eq!(stage.world.borrow().commands.len(), 1);
        end_hook(&mut stage, 0).await;
        assert_eq!(stage.verdicts(Goal::Executed, &restart), [Verdict::Reached]);
        assert_eq!(stage.said(), ["execute db"]);
        // A stop, and before its hook is done a start.
        stage.stop(&["db"]).await;
        let start = stage.start(&["db"]).await;
        assert_eq!(stage.phase("db"), Phase::Stopping);
        end_hook(&mut stage, 0).await;
        assert_eq!(stage.said(), ["signal db"]);
        end_hook(&mut stage, 0).await;
        assert_eq!(stage.verdicts(Goal::Executed, &start), [Verdict::Reached]);
        // A kill waits for nobody.
        stage.stop(&["db"]).await;
        stage.command(Command::Kill {}).await;
        assert_eq!(stage.said(), ["execute db", "kill db"]);
        assert_eq!(stage.phase("db"), Phase::Stopped);
        assert!(stage.world.borrow().commands.is_empty());
    });
}

#[test]
fn what_takes_too_long_after_its_service_has_ended_leaves_nothing_to_be_killed() {
    for is_killed in [false, true] {
        on_stage(async {
            let late = UnitPlan {
                grace: Duration::from_secs(2),
                ..hooked("db", &[])
            };
            let mut stage = Stage::new(vec![late]);
            stage.up().await;
            end_hook(&mut stage, 0).await;
            let stop = stage.stop(&["db"]).await;
            stage.exit("db", 0).await;
            assert_eq!(stage.phase("db"), Phase::Stopping);
            if is_killed {
                stage.command(Command::Kill {}).await;
            } else {
                stage.pass(Duration::from_secs(2)).await;
            }
            assert_eq!(stage.phase("db"), Phase::Stopped);
            assert_eq!(stage.verdicts(Goal::Stopped, &stop), [Verdict::Reached]);
            assert!(stage.world.borrow().commands.is_empty());
        });
    }
}

#[test]
fn what_is_prepared_is_not_executed_once_nobody_wants_it() {
    on_stage(async {
        let web = plan("web", &[("db", Condition::Started)]);
        let mut stage = Stage::new(vec![hooked("db", &[]), web]);
        stage.up().await;
        end_hook(&mut stage, 0).await;
        stage.restart(&["db"]).await;
        end_hook(&mut stage, 0).await;
        assert_eq!(stage.phase("db"), Phase::Starting);
        assert_eq!(stage.phase("web"), Phase::Running);
        // Now `web` ends first.
        stage.world.borrow_mut().stubborn.insert(id("web"));
        let stop = stage.stop(&[]).await;
        stage.said();
        end_hook(&mut stage, 0).await;
        assert!(stage.said().is_empty());
        assert_eq!(stage.phase("db"), Phase::Stopped);
        stage.pass(Duration::from_secs(20)).await;
        let reached = [Verdict::Reached; 2];
        assert_eq!(stage.verdicts(Goal::Stopped, &stop), reached);
    });
}
