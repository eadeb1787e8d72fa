//! Random stacks and random steps.

use proptest::prelude::*;

use super::{Behaviour, Case, CommandSketch, Edge, Execution, NAMES, Schedule, Sketch, Step, Verb};
use crate::plan::model::RestartWhen;
use crate::spec::model::{Condition, HookTime};

fn sketches() -> impl Strategy<Value = Sketch> {
    let condition = prop_oneof![
        Just(Condition::Started),
        Just(Condition::Healthy),
        Just(Condition::CompletedSuccessfully),
    ];
    let required = prop_oneof![4 => Just(true), 1 => Just(false)];
    let edge = (0..5_usize, condition, required, any::<bool>());
    let edge = edge.prop_map(|(back, condition, is_required, restart)| Edge {
        back,
        condition,
        is_required,
        restart,
    });
    let when = prop_oneof![
        Just(RestartWhen::Never),
        Just(RestartWhen::OnFailure),
        Just(RestartWhen::Always),
    ];
    let time = prop_oneof![
        Just(HookTime::PreStart),
        Just(HookTime::PostStart),
        Just(HookTime::PreStop),
    ];
    let timeout = prop_oneof![2 => Just(1_u64), 1 => Just(4), 1 => Just(60)];
    let schedule = prop_oneof![
        prop_oneof![Just(3_u64), Just(20), Just(90)].prop_map(Schedule::Every),
        Just(Schedule::Never),
    ];
    (
        prop_oneof![4 => Just(1_u32), 1 => Just(2_u32)],
        proptest::collection::vec(edge, 0..3),
        (when, proptest::option::of(0..4_u32)),
        any::<(bool, bool)>(),
        prop_oneof![1 => Just(0_u64), 1 => Just(1), 2 => Just(10)],
        (
            prop_oneof![
                1 => Just(Vec::new()),
                1 => proptest::collection::vec((time, timeout), 1..4),
            ],
            hook_codes(),
        ),
        prop_oneof![4 => Just(None), 1 => schedule.prop_map(Some)],
    )
        .prop_map(
            |(replicas, edges, restart, (is_checked, is_patient), grace, hooks, schedule)| {
                // A policy that restarts after every end would never let a run end.
                let (when, max_attempts) = match restart {
                    (RestartWhen::Always, _) if schedule.is_some() => (RestartWhen::Never, None),
                    restart => restart,
                };
                let (hooks, hook_code) = hooks;
                Sketch {
                    replicas,
                    edges,
                    when,
                    max_attempts,
                    is_checked,
                    is_patient,
                    grace,
                    hooks,
                    hook_code,
                    schedule,
                }
            },
        )
}

fn commands() -> impl Strategy<Value = CommandSketch> {
    let verb = prop_oneof![
        20 => Just(Verb::Up),
        10 => Just(Verb::UpAlone),
        20 => Just(Verb::Start),
        40 => Just(Verb::Stop),
        40 => Just(Verb::Restart),
        2 => Just(Verb::ClearLogs),
        3 => Just(Verb::Down),
        1 => Just(Verb::Kill),
        3 => Just(Verb::Stranger),
    ];
    let names = prop_oneof![
        1 => Just(0_u8),
        6 => (0..6_u8).prop_map(|place| 1 << place),
        3 => any::<u8>(),
    ];
    let grace = proptest::option::of(prop_oneof![Just(0_u64), Just(1), Just(5)]);
    (verb, names, grace, any::<bool>()).prop_map(|(verb, names, grace, is_for_ready)| {
        CommandSketch {
            verb,
            names,
            grace,
            is_for_ready,
        }
    })
}

fn hook_codes() -> impl Strategy<Value = Option<i32>> {
    prop_oneof![5 => Just(Some(0)), 3 => Just(Some(1)), 4 => Just(None)]
}

fn behaviours() -> impl Strategy<Value = Behaviour> {
    let execution = prop_oneof![
        3 => Just(Execution::Good),
        2 => Just(Execution::Slow),
        1 => Just(Execution::Bad),
        1 => Just(Execution::BadForNow),
    ];
    let code = prop_oneof![3 => Just(Some(0)), 2 => Just(Some(1)), 1 => Just(None)];
    prop_oneof![
        4 => any::<bool>().prop_map(Behaviour::Deaf),
        2 => any::<bool>().prop_map(Behaviour::Unkillable),
        3 => (0..2500_u64).prop_map(Behaviour::Lingers),
        4 => execution.prop_map(Behaviour::Executes),
        4 => code.prop_map(Behaviour::Checks),
        6 => hook_codes().prop_map(Behaviour::Hooks),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let place = || 0..12_usize;
    let time = prop_oneof![
        4 => 0..20_u64,
        4 => 20..1500_u64,
        3 => 1500..15_000_u64,
        2 => 15_000..400_000_u64,
    ];
    prop_oneof![
        8 => commands().prop_map(Step::Send),
        2 => any::<usize>().prop_map(Step::Vanish),
        8 => (1..5_u8, any::<bool>()).prop_map(|(count, is_late)| Step::Turns(count, is_late)),
        3 => (place(), 0..2).prop_map(|(place, code)| Step::End(place, code)),
        3 => (place(), 0..2).prop_map(|(place, code)| Step::EndHook(place, code)),
        2 => (place(), any::<bool>()).prop_map(|(place, is)| Step::Finish(place, is)),
        4 => (place(), behaviours()).prop_map(|(place, it)| Step::Behave(place, it)),
        4 => time.prop_map(Step::Pass),
    ]
}

pub(in super::super) fn cases() -> impl Strategy<Value = Case> {
    let services = proptest::collection::vec(sketches(), 1..=NAMES.len());
    let first = (prop_oneof![Just(0_u8), any::<u8>()], any::<bool>());
    let steps = proptest::collection::vec(steps(), 1..120);
    (services, first, steps).prop_map(|(services, first, steps)| Case {
        services,
        first,
        steps,
    })
}
