//! Commands that meet what is not over yet: a start under way, a kill that takes its moment, a process that
//! SIGKILL does not end.

use super::*;

/// A stack that runs, and of which one unit neither hears a stop signal nor ends by SIGKILL.
async fn with_unkillable(units: Vec<UnitPlan>, name: &str) -> Stage {
    let mut stage = Stage::new(units);
    stage.up().await;
    let mut world = stage.world.borrow_mut();
    world.stubborn.insert(id(name));
    world.unkillable.insert(id(name));
    drop(world);
    stage
}

#[test]
fn a_start_under_way_is_given_up_once_for_a_restart() {
    on_stage(async {
        let mut stage = Stage::new(vec![plan("db", &[])]);
        stage.world.borrow_mut().slow.insert(id("db"));
        stage.up().await;
        stage.world.borrow_mut().slow.clear();
        let restart = stage.restart(&["db"]).await;
        assert_eq!(stage.said(), ["execute db", "cancel db", "execute db"]);
        assert_eq!(stage.verdicts(Goal::Executed, &restart), [Verdict::Reached]);
    });
}

#[test]
fn a_short_grace_period_does_not_give_up_what_is_being_killed() {
    on_stage(async {
        let mut stage = Stage::new(vec![plan("a", &[])]);
        stage.up().await;
        let lingering = Duration::from_millis(500);
        stage
            .world
            .borrow_mut()
            .lingering
            .insert(id("a"), lingering);
        let at_once = Command::Restart {
            services: Vec::new(),
            grace: Some(Duration::ZERO),
        };
        stage.command(at_once.clone()).await;
        stage.pass(Duration::from_millis(100)).await;
        let again = stage.command(at_once).await;
        stage.pass(Duration::from_millis(300)).await;
        assert_eq!(stage.phase("a"), Phase::Stopping);
        assert_eq!(stage.verdicts(Goal::Executed, &again), [Verdict::Pending]);
        stage.pass(Duration::from_millis(100)).await;
        stage.world.borrow_mut().bury();
        stage.turn().await;
        assert_eq!(stage.phase("a"), Phase::Running);
        assert_eq!(stage.verdicts(Goal::Executed, &again), [Verdict::Reached]);
    });
}

#[test]
fn a_wait_for_readiness_ends_where_sigkill_ends_nothing() {
    on_stage(async {
        let mut stage = with_unkillable(vec![plan("a", &[])], "a").await;
        stage.stop(&["a"]).await;
        let start = stage.start(&["a"]).await;
        stage.pass(Duration::from_secs(20)).await;
        assert_eq!(stage.verdicts(Goal::Ready, &start), [Verdict::Failed]);
    });
}

#[test]
fn what_sigkill_does_not_end_meets_no_condition_of_a_new_start() {
    on_stage(async {
        let units = vec![plan("db", &[]), plan("api", &[("db", Condition::Started)])];
        let mut stage = with_unkillable(units, "db").await;
        let restart = stage.restart(&[]).await;
        stage.pass(Duration::from_secs(20)).await;
        assert_eq!(stage.phase("api"), Phase::Failed);
        let failed = [Verdict::Failed, Verdict::Failed];
        assert_eq!(stage.verdicts(Goal::Executed, &restart), failed);
    });
}

#[test]
fn what_sigkill_does_not_end_does_not_begin_anew_after_a_stop_or_down() {
    for is_down in [false, true] {
        on_stage(async {
            let units = vec![plan("a", &[]), plan("other", &[])];
            let mut stage = with_unkillable(units, "a").await;
            stage.restart(&["a"]).await;
            stage.pass(Duration::from_secs(20)).await;
            assert_eq!(stage.phase("a"), Phase::Failed);
            stage.world.borrow_mut().stubborn.insert(id("other"));
            let stop = stage
                .command(if is_down {
                    Command::Down { grace: None }
                } else {
                    Command::Stop {
                        services: Vec::new(),
                        grace: None,
                    }
                })
                .await;
            stage.world.borrow_mut().relent(&id("a"));
            stage.pass(Duration::from_secs(20)).await;
            let running = &stage.world.borrow().running;
            assert!(running.is_empty(), "{running:?}");
            let reached = [Verdict::Reached, Verdict::Reached];
            assert_eq!(stage.verdicts(Goal::Stopped, &stop), reached);
        });
    }
}

#[test]
fn a_restart_leaves_down_who_follows_and_is_being_stopped() {
    on_stage(async {
        let mut web = plan("web", &[("db", Condition::Started)]);
        web.depends_on[0].restart = true;
        let mut stage = Stage::new(vec![plan("db", &[]), web]);
        stage.up().await;
        stage.world.borrow_mut().stubborn.insert(id("web"));
        let stop = stage.stop(&["web"]).await;
        assert_eq!(stage.phase("web"), Phase::Stopping);
        let restart = stage.restart(&["db"]).await;
        assert_eq!(restart.affected, [service("db")]);
        stage.pass(Duration::from_secs(20)).await;
        assert_eq!(stage.phase("web"), Phase::Stopped);
        assert_eq!(stage.verdicts(Goal::Stopped, &stop), [Verdict::Reached]);
        assert_eq!(stage.verdicts(Goal::Executed, &restart), [Verdict::Reached]);
    });
}
