//! The order of strength by examples, and what must hold for every batch.

use std::collections::HashSet;
use std::convert::Infallible;

use proptest::prelude::*;

use crate::ports::testing::{key, pool, range, request, wish};

use super::*;

/// A machine on which `taken` is taken, and what the planner asked it.
#[derive(Debug, Clone, Default)]
struct World {
    taken: HashSet<u16>,
    denied: HashSet<u16>,
    asked: Vec<(u16, Effort)>,
}

impl World {
    fn with_taken(ports: impl IntoIterator<Item = u16>) -> Self {
        Self {
            taken: ports.into_iter().collect(),
            ..Self::default()
        }
    }

    fn plan(
        &mut self,
        requests: &[PortRequest],
        pool: &Pool,
        terrain: &Terrain,
        strict: bool,
    ) -> Result<Plan, NoPlan<Infallible>> {
        plan(requests, pool, terrain, strict, |port, effort| {
            self.asked.push((port, effort));
            Ok(if self.taken.contains(&port) {
                Answer::Taken
            } else if self.denied.contains(&port) {
                Answer::Denied
            } else {
                Answer::Held
            })
        })
    }
}

fn open_terrain() -> Terrain {
    Terrain {
        own_sticky: HashMap::new(),
        live: PortSet::new(),
        foreign_sticky: PortSet::new(),
        avoid: PortSet::new(),
        never: PortSet::new(),
    }
}

fn foreign(ports: &[u16]) -> Terrain {
    let set: PortSet = ports.iter().copied().collect();
    Terrain {
        foreign_sticky: set.clone(),
        avoid: set,
        ..open_terrain()
    }
}

fn sticky(ports: &[(&str, u16)]) -> Terrain {
    Terrain {
        own_sticky: ports
            .iter()
            .map(|&(name, port)| (key(name), port))
            .collect(),
        ..open_terrain()
    }
}

fn ports(requests: &[PortRequest], terrain: &Terrain, taken: &[u16]) -> Vec<u16> {
    World::with_taken(taken.iter().copied())
        .plan(requests, &pool(&["8000-8009"]), terrain, false)
        .unwrap()
        .ports
}

#[test]
fn the_strongest_claim_wins_whatever_the_order_of_the_file() {
    let requests = [
        request("auto", Want::Auto),
        request("sticky", Want::Auto),
        request("number", Want::Prefer(8001)),
        wish("wish", Want::Prefer(8007), 8002),
        request("fixed", Want::Fixed(8000)),
    ];
    let terrain = sticky(&[("sticky", 8003), ("number", 8008), ("auto", 8001)]);
    assert_eq!(
        ports(&requests, &terrain, &[]),
        [8004, 8003, 8001, 8002, 8000]
    );
}

#[test]
fn a_preferred_number_that_became_free_beats_the_sticky_port() {
    let requests = [request("web", Want::Prefer(8005))];
    let terrain = sticky(&[("web", 8000)]);
    assert_eq!(ports(&requests, &terrain, &[]), [8005]);
    assert_eq!(ports(&requests, &terrain, &[8005]), [8000]);
}

#[test]
fn other_stacks_sticky_ports_come_last() {
    let requests = ["a", "b", "c"].map(|name| request(name, Want::Auto));
    let terrain = foreign(&[8000, 8001]);
    assert_eq!(ports(&requests, &terrain, &[]), [8002, 8003, 8004]);
    let taken: Vec<u16> = (8003..=8009).collect();
    assert_eq!(ports(&requests, &terrain, &taken), [8002, 8000, 8001]);
}

#[test]
fn a_preferred_number_of_another_stack_is_left_to_it_unless_strict() {
    let requests = [request("web", Want::Prefer(8003))];
    let terrain = foreign(&[8003]);
    let pool = pool(&["8000-8009"]);
    let plan = World::default()
        .plan(&requests, &pool, &terrain, false)
        .unwrap();
    assert_eq!(plan.ports, [8000]);
    assert_eq!(plan.misses[0].reason, Reason::ForeignSticky);
    let plan = World::default()
        .plan(&requests, &pool, &terrain, true)
        .unwrap();
    assert_eq!(plan.ports, [8003]);
}

#[test]
fn a_wish_that_is_taken_is_replaced_or_an_error() {
    let requests = [wish("api", Want::Auto, 8888)];
    let pool = pool(&["8000-8009"]);
    let plan = World::with_taken([8888])
        .plan(&requests, &pool, &open_terrain(), false)
        .unwrap();
    assert_eq!(plan.ports, [8000]);
    let miss = Miss {
        request: 0,
        port: 8888,
        claim: Claim::Wish,
        reason: Reason::Taken,
    };
    assert_eq!(plan.misses, [miss]);
    assert_eq!(
        World::with_taken([8888]).plan(&requests, &pool, &open_terrain(), true),
        Err(NoPlan::Missed(vec![miss]))
    );
}

#[test]
fn every_fixed_port_that_is_taken_is_reported_at_once() {
    let requests = [
        request("a", Want::Fixed(80)),
        request("b", Want::Fixed(8001)),
        request("c", Want::Fixed(8002)),
    ];
    let mut world = World::with_taken([8001]);
    world.denied.insert(80);
    let Err(NoPlan::Missed(misses)) =
        world.plan(&requests, &pool(&["8000-8009"]), &open_terrain(), false)
    else {
        panic!("two are not to be had")
    };
    let reasons: Vec<_> = misses.iter().map(|miss| (miss.port, miss.reason)).collect();
    assert_eq!(reasons, [(80, Reason::Denied), (8001, Reason::Taken)]);
}

#[test]
fn one_number_cannot_be_fixed_twice() {
    let requests = [
        request("a", Want::Fixed(8001)),
        request("b", Want::Fixed(8001)),
    ];
    assert_eq!(
        World::default().plan(&requests, &pool(&["8000-8009"]), &open_terrain(), false),
        Err(NoPlan::FixedTwice {
            first: 0,
            second: 1,
            port: 8001
        })
    );
}

#[test]
fn later_ranges_are_the_fallback() {
    let requests = ["a", "b"].map(|name| request(name, Want::Auto));
    let plan = World::with_taken([8000])
        .plan(
            &requests,
            &pool(&["8000-8001", "9000-9009"]),
            &open_terrain(),
            false,
        )
        .unwrap();
    assert_eq!(plan.ports, [8001, 9000]);
    assert_eq!(plan.fallbacks, [1]);
}

#[test]
fn a_sticky_port_outside_of_what_the_file_says_now_is_forgotten() {
    let terrain = sticky(&[("a", 9500), ("b", 8005)]);
    let requests = [
        request("a", Want::Auto),
        request("b", Want::Within(range("9100-9199"))),
    ];
    assert_eq!(ports(&requests, &terrain, &[]), [8000, 9100]);
}

#[test]
fn an_open_request_makes_room_for_a_narrow_one() {
    let requests = [
        request("open", Want::Auto),
        request("narrow", Want::Within(range("8000-8000"))),
    ];
    assert_eq!(ports(&requests, &open_terrain(), &[]), [8001, 8000]);
    // Where both find a port in the order of the file, that order counts.
    let requests = [
        request("open", Want::Auto),
        request("narrow", Want::Within(range("8000-8001"))),
    ];
    assert_eq!(ports(&requests, &open_terrain(), &[]), [8000, 8001]);
}

#[test]
fn exhaustion_says_how_many_were_wanted_and_found() {
    let requests = ["a", "b", "c"].map(|name| request(name, Want::Auto));
    assert_eq!(
        World::with_taken([8001]).plan(&requests, &pool(&["8000-8002"]), &open_terrain(), false),
        Err(NoPlan::Exhausted {
            ranges: vec![range("8000-8002")],
            wanted: 3,
            found: 2
        })
    );
}

#[test]
fn only_numbers_that_somebody_asked_for_are_tried_hard() {
    let requests = [
        request("auto", Want::Auto),
        request("sticky", Want::Auto),
        request("fixed", Want::Fixed(8100)),
    ];
    let mut world = World::default();
    world
        .plan(
            &requests,
            &pool(&["8000-8009"]),
            &sticky(&[("sticky", 8005)]),
            false,
        )
        .unwrap();
    assert_eq!(
        world.asked,
        [
            (8100, Effort::Insist),
            (8005, Effort::Insist),
            (8000, Effort::Skim)
        ]
    );
}

fn any_want() -> impl Strategy<Value = Want> {
    prop_oneof![
        4 => Just(Want::Auto),
        2 => (8000_u16..8030).prop_map(Want::Prefer),
        2 => (8000_u16..8025, 0_u16..10).prop_map(|(start, length)| {
            Want::Within(PortRange::new(start, start + length).unwrap())
        }),
        1 => (8000_u16..8040).prop_map(Want::Fixed),
    ]
}

fn any_requests() -> impl Strategy<Value = Vec<PortRequest>> {
    let one = (any_want(), proptest::option::weighted(0.2, 8000_u16..8040));
    proptest::collection::vec(one, 1..12).prop_map(|lines| {
        let line = |(index, (want, port)): (usize, (Want, Option<u16>))| {
            let service = format!("s{index}");
            match port {
                Some(port) => wish(&service, want, port),
                None => request(&service, want),
            }
        };
        lines.into_iter().enumerate().map(line).collect()
    })
}

fn any_set() -> impl Strategy<Value = HashSet<u16>> {
    proptest::collection::hash_set(8000_u16..8040, 0..25)
}

fn any_terrain() -> impl Strategy<Value = Terrain> {
    let own = proptest::collection::hash_map(0..12_usize, 8000_u16..8040, 0..6);
    (own, any_set(), any_set(), any_set()).prop_map(|(own, live, foreign, never)| Terrain {
        own_sticky: own
            .into_iter()
            .map(|(index, port)| (key(&format!("s{index}")), port))
            .collect(),
        live: live.into_iter().collect(),
        foreign_sticky: foreign.iter().copied().collect(),
        avoid: foreign.into_iter().collect(),
        never: never.into_iter().take(8).collect(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Distinct, none taken, each where its request may be, every replacement said, all of them,
    /// and the same again for the same input.
    #[test]
    fn a_plan_keeps_every_promise(
        requests in any_requests(),
        terrain in any_terrain(),
        taken in any_set(),
        strict in any::<bool>(),
    ) {
        let pool = pool(&["8000-8019", "8030-8039"]);
        let mut world = World::with_taken(taken.clone());
        let planned = world.plan(&requests, &pool, &terrain, strict);
        prop_assert_eq!(
            &World::with_taken(taken.clone()).plan(&requests, &pool, &terrain, strict),
            &planned
        );
        let probed: HashSet<u16> = world.asked.iter().map(|&(port, _)| port).collect();
        prop_assert_eq!(probed.len(), world.asked.len(), "a port was probed twice");
        let Ok(plan) = planned else { return Ok(()) };

        prop_assert_eq!(plan.ports.len(), requests.len());
        let distinct: HashSet<u16> = plan.ports.iter().copied().collect();
        prop_assert_eq!(distinct.len(), requests.len());
        let missed = |index: usize, claim: Claim| {
            plan.misses.iter().any(|miss| miss.request == index && miss.claim == claim)
        };
        for (index, (request, &port)) in requests.iter().zip(&plan.ports).enumerate() {
            prop_assert!(!taken.contains(&port) && !terrain.live.contains(port));
            prop_assert!(probed.contains(&port), "it is not held");
            let wished = request.wish.as_ref().map(|wish| wish.port);
            if let Want::Fixed(fixed) = request.want {
                prop_assert_eq!(port, fixed);
                continue;
            }
            if wished == Some(port) {
                continue;
            }
            prop_assert!(wished.is_none() || missed(index, Claim::Wish));
            match request.want {
                Want::Prefer(number) if number == port => continue,
                Want::Prefer(number) => prop_assert!(
                    wished == Some(number) || missed(index, Claim::Preferred)
                ),
                Want::Within(range) => prop_assert!(range.contains(port)),
                Want::Auto | Want::Fixed(_) => {}
            }
            prop_assert!(!terrain.never.contains(port));
            if !matches!(request.want, Want::Within(_)) {
                prop_assert!(pool.ranges.iter().any(|range| range.contains(port)));
            }
        }
    }

    /// A stack whose ports are all free gets exactly the ones it had, if it asks for none by number.
    #[test]
    fn sticky_ports_are_honoured(
        count in 1_usize..10,
        foreign in any_set(),
        taken in any_set(),
    ) {
        let requests: Vec<_> =
            (0..count).map(|index| request(&format!("s{index}"), Want::Auto)).collect();
        let pool = pool(&["8000-8039"]);
        let mut terrain = open_terrain();
        terrain.avoid = foreign.into_iter().collect();
        let Ok(first) = World::with_taken(taken).plan(&requests, &pool, &terrain, false) else {
            return Ok(());
        };
        terrain.own_sticky =
            requests.iter().map(|request| request.key.clone()).zip(first.ports.clone()).collect();
        // Meanwhile others came and went; of ours, none was taken.
        let again = World::default().plan(&requests, &pool, &terrain, false).unwrap();
        prop_assert_eq!(again.ports, first.ports);
    }

    /// With requests of the pool alone, the batch fails only when there are truly too few ports.
    #[test]
    fn it_fails_only_for_lack_of_ports(
        ranges in proptest::collection::vec((8000_u16..8015, 0_u16..6), 1..10),
        taken in proptest::collection::hash_set(8000_u16..8022, 0..12),
    ) {
        let requests: Vec<_> = ranges
            .iter()
            .enumerate()
            .map(|(index, &(start, length))| {
                let within = PortRange::new(start, start + length).unwrap();
                request(&format!("s{index}"), Want::Within(within))
            })
            .collect();
        let planned = World::with_taken(taken.clone())
            .plan(&requests, &pool(&["9000"]), &open_terrain(), false);
        prop_assert_eq!(planned.is_ok(), matching_exists(&ranges, &taken));
    }
}

/// Whether every range can have a free port of its own: augmenting paths, the textbook way.
fn matching_exists(ranges: &[(u16, u16)], taken: &HashSet<u16>) -> bool {
    fn assign(
        index: usize,
        ranges: &[(u16, u16)],
        taken: &HashSet<u16>,
        seen: &mut HashSet<u16>,
        by: &mut HashMap<u16, usize>,
    ) -> bool {
        let (start, length) = ranges[index];
        for port in start..=start + length {
            if taken.contains(&port) || !seen.insert(port) {
                continue;
            }
            let free = match by.get(&port) {
                None => true,
                Some(&other) => assign(other, ranges, taken, seen, by),
            };
            if free {
                by.insert(port, index);
                return true;
            }
        }
        false
    }
    let mut by = HashMap::new();
    (0..ranges.len()).all(|index| assign(index, ranges, taken, &mut HashSet::new(), &mut by))
}
