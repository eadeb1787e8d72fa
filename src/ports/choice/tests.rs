//! The order of strength, by examples.

mod properties;

use std::collections::HashSet;
use std::convert::Infallible;

use crate::ports::testing::{key, pool, range, request, wish};

use super::*;

/// A machine on which `taken` is taken, and what the planner asked it.
#[derive(Debug, Clone, Default)]
struct World {
    taken: HashSet<u16>,
    denied: HashSet<u16>,
    asked: Vec<(u16, Effort)>,
    /// The transports that were asked for.
    parts: HashSet<Protocol>,
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
        land: &Land,
        strict: bool,
    ) -> Result<Plan, NoPlan<Infallible>> {
        let probe = |port, part, effort| {
            self.parts.insert(part);
            self.asked.push((port, effort));
            Ok(if self.taken.contains(&port) {
                Answer::Taken
            } else if self.denied.contains(&port) {
                Answer::Denied
            } else {
                Answer::Held
            })
        };
        let is_kept = |port| land.kept.contains(port);
        plan(requests, pool, &land.terrain, strict, is_kept, probe)
    }
}

/// What is known, and what other stacks had last.
#[derive(Debug, Clone)]
struct Land {
    terrain: Terrain,
    kept: PortSet,
}

fn open_terrain() -> Land {
    let terrain = Terrain {
        own_sticky: HashMap::new(),
        live: HashSet::new(),
        bad: PortSet::default(),
        never: PortSet::default(),
    };
    Land {
        terrain,
        kept: PortSet::default(),
    }
}

fn foreign(ports: &[u16]) -> Land {
    Land {
        kept: ports.iter().copied().collect(),
        ..open_terrain()
    }
}

fn sticky(ports: &[(&str, u16)]) -> Land {
    let mut land = open_terrain();
    let ports = ports.iter().map(|&(name, port)| (key(name), port));
    land.terrain.own_sticky = ports.collect();
    land
}

fn ports(requests: &[PortRequest], terrain: &Land, taken: &[u16]) -> Vec<u16> {
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
fn a_number_with_two_claims_is_missed_once() {
    let terrain = sticky(&[("web", 8005)]);
    for request in [
        request("web", Want::Prefer(8005)),
        wish("web", Want::Prefer(8005), 8005),
        wish("web", Want::Auto, 8005),
    ] {
        let plan = World::with_taken([8005])
            .plan(&[request], &pool(&["8000-8009"]), &terrain, false)
            .unwrap();
        assert_eq!((plan.ports, plan.misses.len()), (vec![8000], 1));
    }
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
        asked: Asked::Wish,
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
        panic!("two are not available")
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
        Err(NoPlan::Missed(vec![Miss {
            request: 1,
            port: 8001,
            asked: Asked::Fixed,
            reason: Reason::Sibling(0),
        }]))
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
    assert_eq!(plan.fallbacks, [9000]);
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

fn udp(port_request: PortRequest, protocol: Protocol) -> PortRequest {
    PortRequest {
        protocol,
        ..port_request
    }
}

#[test]
fn a_number_may_be_fixed_for_tcp_and_for_udp_but_not_twice_for_one() {
    let fixed = |name, protocol| udp(request(name, Want::Fixed(8001)), protocol);
    let planned = |requests: &[PortRequest]| {
        World::default().plan(requests, &pool(&["8000-8009"]), &open_terrain(), false)
    };
    let apart = [fixed("a", Protocol::Tcp), fixed("b", Protocol::Udp)];
    assert_eq!(planned(&apart).unwrap().ports, [8001, 8001]);
    for second in [Protocol::Tcp, Protocol::Udp] {
        let together = [fixed("a", Protocol::Both), fixed("b", second)];
        assert!(matches!(planned(&together), Err(NoPlan::Missed(_))));
    }
}

#[test]
fn nobody_who_leaves_the_number_open_shares_one() {
    let requests = [
        udp(request("a", Want::Auto), Protocol::Udp),
        request("b", Want::Auto),
        udp(request("c", Want::Auto), Protocol::Both),
    ];
    let mut world = World::default();
    let plan = world
        .plan(&requests, &pool(&["8000-8009"]), &open_terrain(), false)
        .unwrap();
    assert_eq!(plan.ports, [8000, 8001, 8002]);
    assert_eq!(world.parts, HashSet::from([Protocol::Tcp, Protocol::Udp]));
}

#[test]
fn a_port_of_another_stack_is_taken_for_its_own_protocol_only() {
    let mut terrain = open_terrain();
    terrain.terrain.live = [(Protocol::Udp, 8000)].into_iter().collect();
    let both = udp(request("c", Want::Auto), Protocol::Both);
    assert_eq!(
        ports(&[request("a", Want::Auto), both], &terrain, &[]),
        [8000, 8001]
    );
}

#[test]
fn what_was_passed_for_one_protocol_is_still_tried_for_another() {
    // Running stacks hold the TCP ports of the first numbers, and the second one asks for UDP.
    let mut terrain = open_terrain();
    let live = [8000, 8001].map(|port| (Protocol::Tcp, port));
    terrain.terrain.live = live.into_iter().collect();
    let requests = [
        request("web", Want::Auto),
        udp(request("dns", Want::Auto), Protocol::Udp),
        request("api", Want::Auto),
    ];
    let plan = World::default().plan(&requests, &pool(&["8000-8003"]), &terrain, false);
    assert_eq!(plan.unwrap().ports, [8002, 8000, 8003]);
}
