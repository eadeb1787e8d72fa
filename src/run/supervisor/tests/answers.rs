//! Answers that come too late.

use super::*;
use crate::run::reason::CheckFailure;

impl Stage {
    /// Lets time pass until a check of `a` is under way; its number.
    async fn check(&mut self, time: Duration) -> u64 {
        self.turn().await;
        self.pass(time).await;
        let health = self.supervisor.units[&id("a")].health.as_ref();
        health.expect("it is looked after").last_id()
    }

    fn answer(&mut self, number: u64, outcome: Result<(), CheckFailure>) {
        self.supervisor.answered(Answer {
            unit: id("a"),
            id: number,
            outcome,
        });
    }
}

#[test]
fn a_check_that_passes_when_its_service_has_ended_says_nothing() {
    on_stage(async {
        let always = RestartPolicy::with(RestartWhen::Always, None);
        let mut stage = Stage::new(vec![UnitPlan {
            restart: always,
            ..checked(plan("a", &[]))
        }]);
        stage.up().await;
        // From the first failure on a pass counts.
        let first = stage.check(Duration::ZERO).await;
        stage.answer(first, Err(CheckFailure::TimedOut));
        let second = stage.check(Duration::from_millis(100)).await;
        assert!(second > first);
        // Its end has not been taken in yet.
        stage.world.borrow_mut().end(&id("a"), Exit::Code(0));
        stage.answer(second, Ok(()));
        assert_eq!(stage.phase("a"), Phase::Starting);
        let third = stage.check(Duration::from_secs(2)).await;
        let row = stage.row("a");
        assert_eq!((row.phase, row.attempt), (Phase::Starting, 2));
        assert!(third > second, "an answer is one of its attempt");
        stage.answer(second, Ok(()));
        assert_eq!(stage.phase("a"), Phase::Starting);
        stage.answer(third, Ok(()));
        assert_eq!(stage.phase("a"), Phase::Healthy);
    });
}
