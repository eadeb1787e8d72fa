//! Which ports stay when a plan is made again: what runs keeps its number wherever it can.

use std::collections::{HashMap, HashSet};

use super::assignment::Assignment;
use super::draft::Draft;
use crate::ports::request::{Pool, PortKey, PortRequest, Want};
use crate::spec::problem::Problem;

/// The ports of a plan that is made again.
#[derive(Debug, PartialEq, Eq)]
pub struct Kept {
    /// Those that stay: their holds are there and are not asked for again. Also fixed ones that another
    /// one gives up: they are had once it has.
    pub kept: Assignment,
    /// Those that must be allocated, as a batch of their own. The number of a port that moves is in
    /// nobody's way: its hold is given back only once the new one is there.
    pub wanted: Vec<PortRequest>,
}

/// How the ports of a plan were asked for: what there is to know of a draft when the next one comes.
#[derive(Debug, Clone, Default)]
pub struct Requested {
    requests: HashMap<PortKey, PortRequest>,
    pool: Pool,
}

impl Draft {
    /// How this draft asks for its ports.
    pub fn requested(&self) -> Requested {
        let requests = self.requests(&mut Vec::new()).into_iter();
        Requested {
            requests: requests
                .map(|request| (request.key.clone(), request))
                .collect(),
            pool: self.pool().clone(),
        }
    }

    /// Sorts what this draft asks for by what is `held` since the plan that asked as in `before`.
    ///
    /// A port stays if it is asked for in the same way, and also if its number fits what is asked
    /// for now: a changed range moves only what lies outside of it. A wish moves a port to another
    /// number only where it is a new one. What `is_pinned` stays however it is asked for.
    pub fn requests_beside(
        &self,
        before: &Requested,
        held: &Assignment,
        is_pinned: impl Fn(&PortKey) -> bool,
        problems: &mut Vec<Problem>,
    ) -> Kept {
        let earlier = &before.requests;
        let (pool, pool_before) = (self.pool(), &before.pool);
        let mut outcome = Kept {
            kept: Assignment::new(),
            wanted: Vec::new(),
        };
        for request in self.requests(problems) {
            let port = held.get(&request.key).copied();
            let pair = port.zip(earlier.get(&request.key));
            let stays = is_pinned(&request.key) && port.is_some()
                || pair.is_some_and(|(port, earlier)| {
                    let is_asked_alike = earlier.want == request.want && pool == pool_before;
                    let is_wish_met = earlier.wish == request.wish
                        || request.wish.as_ref().is_none_or(|wish| wish.port == port);
                    earlier.protocol == request.protocol
                        && is_wish_met
                        && (is_asked_alike || fits(port, request.want, pool))
                });
            match port.filter(|_| stays) {
                Some(port) => {
                    outcome.kept.insert(request.key, port);
                }
                None => outcome.wanted.push(request),
            }
        }
        let is_given_up = |(key, _): &(&PortKey, &u16)| !outcome.kept.contains_key(*key);
        let given_up = held.iter().filter(is_given_up);
        let given_up: HashSet<u16> = given_up.map(|(_, port)| *port).collect();
        outcome.wanted.retain(|request| match request.want {
            Want::Fixed(port) if given_up.contains(&port) => {
                outcome.kept.insert(request.key.clone(), port);
                false
            }
            Want::Fixed(_) | Want::Prefer(_) | Want::Within(_) | Want::Auto => true,
        });
        outcome
    }
}

/// Whether a number is one that could have been given.
fn fits(port: u16, want: Want, pool: &Pool) -> bool {
    match want {
        Want::Fixed(fixed) => port == fixed,
        Want::Within(range) => range.contains(port),
        Want::Auto | Want::Prefer(_) => pool.ranges.iter().any(|range| range.contains(port)),
    }
}
