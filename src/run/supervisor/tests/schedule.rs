//! Units that run again and again, by a clock that the tests move.

use super::*;
use crate::run::news::{Event, Notice};
use crate::run::proposal::Recreate;

const PERIOD: Duration = Duration::from_secs(10);

fn every(text: &str, edges: &[(&str, Condition)]) -> UnitPlan {
    UnitPlan {
        schedule: Some(SchedulePlan::Every(PERIOD)),
        ..plan(text, edges)
    }
}

/// Not within the time that a test takes, most of the time.
fn nightly(text: &str) -> UnitPlan {
    UnitPlan {
        schedule: Some(SchedulePlan::Cron("0 3 * * *".parse().unwrap())),
        ..plan(text, &[])
    }
}

fn news(event_rx: &mut broadcast::Receiver<Event>) -> Vec<News> {
    let mut all = Vec::new();
    while let Ok(event) = event_rx.try_recv() {
        if let Event::Notice(Notice { news, .. }) = event {
            all.push(news);
        }
    }
    all
}

#[test]
fn a_period_runs_at_once_and_again_and_never_twice_at_a_time() {
    on_stage(async {
        let mut stage = Stage::new(vec![every("job", &[])]);
        let mut event_rx = stage.supervisor.event_tx.subscribe();
        stage.up().await;
        assert_eq!(stage.said(), ["execute job"]);
        let first = stage.row("job").next_run.unwrap();
        stage.pass(Duration::from_secs(3)).await;
        stage.exit("job", 0).await;
        assert_eq!(stage.phase("job"), Phase::Scheduled);
        assert!(!stage.supervisor.is_over(), "another run is to come");
        stage.pass(Duration::from_secs(6)).await;
        assert!(stage.said().is_empty());
        stage.pass(Duration::from_secs(1)).await;
        assert_eq!(stage.said(), ["execute job"]);
        assert_eq!(stage.row("job").next_run, Some(first + 10_000));
        assert!(news(&mut event_rx).is_empty());
        // This one takes longer than the period: the runs between are left out.
        stage.pass(Duration::from_secs(25)).await;
        assert!(stage.said().is_empty());
        assert_eq!(news(&mut event_rx), [News::RunMissed { due: None }], "once");
        stage.exit("job", 1).await;
        let row = stage.row("job");
        assert_eq!(
            (row.phase, row.exit),
            (Phase::Scheduled, Some(Exit::Code(1)))
        );
        assert!(row.reason.is_some(), "a failed run says why");
        stage.pass(Duration::from_secs(5)).await;
        assert_eq!(stage.said(), ["execute job"], "in the old rhythm");
        assert_eq!(stage.row("job").restarts, Some(0));
        assert_eq!(
            stage.supervisor.outcome().failed,
            [],
            "no run ends the stack"
        );
    });
}

#[test]
fn a_cron_schedule_waits_for_its_time_unless_it_is_named() {
    on_stage(async {
        let all = vec![nightly("job"), plan("web", &[("job", Condition::Started)])];
        let mut stage = Stage::new(all);
        stage.up().await;
        assert_eq!(stage.said(), ["execute web"]);
        assert_eq!(stage.phase("job"), Phase::Scheduled);
        assert!(stage.row("job").next_run.is_some());
        let reply = stage.restart(&[]).await;
        stage.turn().await;
        assert_eq!(
            stage.said(),
            ["signal web", "execute web"],
            "the job not by the way"
        );
        assert_eq!(
            stage.verdicts(Goal::Executed, &reply),
            [Verdict::Reached, Verdict::Reached]
        );
        assert_eq!(
            stage.verdicts(Goal::Ready, &reply),
            [Verdict::Reached, Verdict::Reached]
        );
        for _ in 0..2 {
            stage.start(&["job"]).await;
            assert_eq!(stage.said(), ["execute job"]);
            stage.exit("job", 0).await;
            stage.restart(&["job"]).await;
            assert_eq!(stage.said(), ["execute job"]);
            stage.exit("job", 0).await;
            assert_eq!(stage.phase("job"), Phase::Scheduled);
            assert!(stage.row("job").next_run.is_some());
        }
    });
}

#[test]
fn a_stop_ends_the_schedule_and_a_start_begins_it_anew() {
    on_stage(async {
        let mut stage = Stage::new(vec![every("job", &[])]);
        stage.up().await;
        stage.exit("job", 0).await;
        stage.stop(&["job"]).await;
        assert_eq!(stage.phase("job"), Phase::Stopped);
        assert_eq!(stage.row("job").next_run, None);
        stage.said();
        stage.pass(PERIOD * 3).await;
        assert!(stage.said().is_empty());
        stage.start(&["job"]).await;
        assert_eq!(stage.said(), ["execute job"]);
        stage.stop(&["job"]).await;
        assert_eq!(stage.phase("job"), Phase::Stopped, "in the middle of a run");
        stage.start(&["job"]).await;
        stage.exit("job", 0).await;
        stage.said();
        stage.pass(PERIOD).await;
        assert_eq!(stage.said(), ["execute job"]);
        stage.exit("job", 0).await;
        stage.command(Command::Down { grace: None }).await;
        assert!(stage.supervisor.is_over());
    });
}

#[test]
fn every_run_waits_for_what_it_depends_on() {
    on_stage(async {
        let edges = [("db", Condition::Healthy)];
        let mut stage = Stage::new(vec![checked(plan("db", &[])), every("job", &edges)]);
        stage.world.borrow_mut().checks.insert(id("db"), 0);
        stage.up().await;
        assert_eq!(stage.phase("job"), Phase::Waiting);
        stage.pass(Duration::from_secs(2)).await;
        stage.exit("job", 0).await;
        stage.stop(&["db"]).await;
        stage.said();
        stage.pass(PERIOD).await;
        assert!(stage.said().is_empty(), "not without it");
        let row = stage.row("job");
        assert_eq!(row.phase, Phase::Scheduled);
        assert!(row.reason.is_some());
        stage.start(&["db"]).await;
        stage.pass(PERIOD).await;
        assert_eq!(stage.said(), ["execute db", "execute job"]);
    });
}

#[test]
fn time_stands_still_for_a_period_while_everything_is_frozen() {
    on_stage(async {
        let mut stage = Stage::new(vec![every("job", &[])]);
        stage.up().await;
        stage.exit("job", 0).await;
        stage.said();
        stage.pass(Duration::from_secs(4)).await;
        stage.supervisor.freeze();
        tokio::time::advance(PERIOD * 7).await;
        stage.supervisor.thaw();
        stage.pass(Duration::from_secs(5)).await;
        assert!(stage.said().is_empty());
        stage.pass(Duration::from_secs(1)).await;
        assert_eq!(stage.said(), ["execute job"]);
    });
}

/// Another command.
fn other(plan: UnitPlan) -> UnitPlan {
    let argv = vec!["y".to_owned()];
    let execution = Execution {
        argv,
        ..plan.execution
    };
    UnitPlan { execution, ..plan }
}

#[test]
fn another_schedule_is_taken_over_without_a_run() {
    on_stage(async {
        let mut stage = Stage::new(vec![every("job", &[])]);
        stage.up().await;
        stage.exit("job", 0).await;
        stage.said();
        let sooner = UnitPlan {
            schedule: Some(SchedulePlan::Every(PERIOD / 2)),
            ..plan("job", &[])
        };
        stage.take_over(vec![sooner], Extent::default()).await;
        stage.pass(Duration::from_secs(4)).await;
        assert!(stage.said().is_empty());
        stage.pass(Duration::from_secs(1)).await;
        assert_eq!(stage.said(), ["execute job"]);
        stage
            .take_over(vec![nightly("job")], Extent::default())
            .await;
        assert!(stage.said().is_empty(), "what runs goes on");
        stage.exit("job", 0).await;
        stage.pass(PERIOD).await;
        assert!(stage.said().is_empty());
    });
}

#[test]
fn a_schedule_that_comes_or_goes_is_another_life() {
    on_stage(async {
        let mut stage = Stage::new(vec![nightly("job")]);
        stage.up().await;
        stage
            .take_over(vec![plan("job", &[])], Extent::default())
            .await;
        assert_eq!(stage.said(), ["execute job"]);
        stage.pass(PERIOD).await;
        assert_eq!(stage.row("job").next_run, None);
        stage
            .take_over(vec![nightly("job")], Extent::default())
            .await;
        assert_eq!(stage.said(), ["signal job"], "it waits for its time");
        assert_eq!(stage.phase("job"), Phase::Scheduled);
        stage
            .take_over(vec![plan("job", &[])], Extent::default())
            .await;
        stage.exit("job", 0).await;
        assert_eq!(stage.phase("job"), Phase::Completed);
        assert!(stage.supervisor.is_over());
    });
}

#[test]
fn a_changed_job_runs_anew_only_if_it_runs() {
    on_stage(async {
        let mut stage = Stage::new(vec![nightly("job")]);
        stage.up().await;
        stage
            .take_over(vec![other(nightly("job"))], Extent::default())
            .await;
        assert!(stage.said().is_empty());
        assert_eq!(stage.phase("job"), Phase::Scheduled);
        stage.start(&["job"]).await;
        stage.said();
        stage
            .take_over(vec![nightly("job")], Extent::default())
            .await;
        assert_eq!(stage.said(), ["signal job", "execute job"]);
        stage.exit("job", 0).await;
        let extent = Extent {
            no_start: true,
            ..Extent::default()
        };
        stage.take_over(vec![other(nightly("job"))], extent).await;
        assert_eq!(stage.phase("job"), Phase::Stopped);
    });
}

#[test]
fn a_job_that_is_named_runs_as_what_it_has_become() {
    on_stage(async {
        let mut stage = Stage::new(vec![nightly("job")]);
        stage.up().await;
        let extent = Extent {
            services: vec![service("job")],
            recreate: Recreate::Named,
            ..Extent::default()
        };
        stage.take_over(vec![other(nightly("job"))], extent).await;
        assert_eq!(stage.said(), ["execute job"]);
    });
}

#[test]
fn who_asks_for_a_run_is_told_that_it_did_not_begin() {
    on_stage(async {
        let mut stage = Stage::new(vec![nightly("job")]);
        stage.world.borrow_mut().refused.insert(id("job"), false);
        stage.up().await;
        let reply = stage.start(&["job"]).await;
        assert_eq!(stage.phase("job"), Phase::Scheduled);
        assert_eq!(stage.verdicts(Goal::Executed, &reply), [Verdict::Failed]);
        // `up` is about the schedule, which counts.
        let mut stage = Stage::new(vec![every("job", &[])]);
        stage.world.borrow_mut().refused.insert(id("job"), false);
        stage.up().await;
        let job = stage.row("job");
        assert_eq!(verdict(Goal::Executed, 1, &job), Verdict::Reached);
        assert!(job.reason.is_some());
    });
}
