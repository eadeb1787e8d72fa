//! Commands that meet what is not over yet: a start under way, a kill that takes its moment, a process that
//! SIGKILL does not end.

use super::*;

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
