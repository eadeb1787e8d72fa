//! What must hold for every batch on every machine.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use crate::ports::testing::{key, pool, request, wish};

use super::*;

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

fn any_terrain() -> impl Strategy<Value = Land> {
    let own = proptest::collection::hash_map(0..12_usize, 8000_u16..8040, 0..6);
    let sets = (any_set(), any_set(), any_set(), any_set());
    (own, sets).prop_map(|(own, (live, kept, bad, never))| {
        let own = own.into_iter();
        let terrain = Terrain {
            own_sticky: own
                .map(|(index, port)| (key(&format!("s{index}")), port))
                .collect(),
            live: live.into_iter().map(|port| (Protocol::Tcp, port)).collect(),
            bad: bad.into_iter().collect(),
            never: never.into_iter().take(8).collect(),
        };
        Land {
            terrain,
            kept: kept.into_iter().collect(),
        }
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
        let missed = |index: usize, asked: Asked| {
            plan.misses.iter().any(|miss| miss.request == index && miss.asked == asked)
        };
        for (index, (request, &port)) in requests.iter().zip(&plan.ports).enumerate() {
            prop_assert!(!taken.contains(&port) && !terrain.terrain.live.contains(&(Protocol::Tcp, port)));
            prop_assert!(probed.contains(&port), "it is not held");
            let wished = request.wish.as_ref().map(|wish| wish.port);
            if let Want::Fixed(fixed) = request.want {
                prop_assert_eq!(port, fixed);
                continue;
            }
            if wished == Some(port) {
                continue;
            }
            prop_assert!(wished.is_none() || missed(index, Asked::Wish));
            match request.want {
                Want::Prefer(number) if number == port => continue,
                Want::Prefer(number) => prop_assert!(
                    wished == Some(number) || missed(index, Asked::Preferred)
                ),
                Want::Within(range) => prop_assert!(range.contains(port)),
                Want::Auto | Want::Fixed(_) => {}
            }
            prop_assert!(!terrain.terrain.never.contains(port));
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
        terrain.kept = foreign.into_iter().collect();
        let Ok(first) = World::with_taken(taken).plan(&requests, &pool, &terrain, false) else {
            return Ok(());
        };
        terrain.terrain.own_sticky =
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
