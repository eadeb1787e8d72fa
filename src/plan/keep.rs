//! Which ports stay when a plan is made again: what runs keeps its number wherever it can.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::assignment::Assignment;
use super::draft::Draft;
use crate::ports::request::{Pool, PortKey, PortRequest, Want};
use crate::spec::problem::Problem;
use crate::support::port_range::PortRange;

/// The ports of a plan that is made again.
#[derive(Debug, PartialEq, Eq)]
pub struct Kept {
    /// Those that stay: their holds are there and are not asked for again. Also fixed ones that another
    /// one gives up: they are had once it has.
    pub kept: Assignment,
    /// Those that must be allocated, as a batch of their own. The number of a port that moves is in
    /// nobody's way: its hold is given back only once the new one is there.
    pub wanted: Vec<PortRequest>,
    /// Those that stay although they are asked for otherwise, as they are pinned.
    pub unlike: Vec<PortKey>,
}

/// How the ports of a plan were asked for: what there is to know of a draft when the next one comes.
#[derive(Debug, Clone, Default)]
pub struct Requested {
    requests: HashMap<PortKey, PortRequest>,
    pool: Pool,
}

/// A number that is held for a port.
#[derive(Debug, Clone)]
pub struct Held {
    /// The number.
    pub port: u16,
    /// How the plan asked that it is of.
    pub asked: Arc<Requested>,
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

    /// Sorts what this draft asks for by what is `held` for each port, the best first.
    ///
    /// A port stays if it is asked for in the same way, and also if its number fits what is asked
    /// for now: a changed range moves only what lies outside of it. Of the wishes only that of the command
    /// line moves one. What `is_pinned` stays however it is asked for.
    pub fn requests_beside(
        &self,
        held: &HashMap<PortKey, Vec<Held>>,
        is_pinned: impl Fn(&PortKey) -> bool,
        problems: &mut Vec<Problem>,
    ) -> Kept {
        let pool = self.pool();
        let mut outcome = Kept {
            kept: Assignment::new(),
            wanted: Vec::new(),
            unlike: Vec::new(),
        };
        for request in self.requests(problems) {
            let asked = self.asked_ports().get(&request.key);
            let stays = |held: &&Held| {
                let is_asked_alike = |earlier: &PortRequest| {
                    earlier.want == request.want && *pool == held.asked.pool
                };
                let earlier = held.asked.requests.get(&request.key);
                earlier.is_some_and(|earlier| {
                    earlier.protocol == request.protocol
                        && asked.is_none_or(|asked| *asked == held.port)
                        && (is_asked_alike(earlier) || fits(held.port, request.want, pool))
                })
            };
            let candidates = held.get(&request.key).map_or(&[][..], Vec::as_slice);
            let pinned = candidates.first().filter(|_| is_pinned(&request.key));
            let good = candidates.iter().find(stays);
            match pinned.or(good) {
                Some(held) => {
                    if good.is_none() {
                        outcome.unlike.push(request.key.clone());
                    }
                    outcome.kept.insert(request.key, held.port);
                }
                None => outcome.wanted.push(request),
            }
        }
        let all = held
            .iter()
            .flat_map(|(key, held)| held.iter().map(move |it| (key, it.port)));
        let is_given_up = |(key, port): &(&PortKey, u16)| outcome.kept.get(*key) != Some(port);
        let given_up: HashSet<u16> = all.filter(is_given_up).map(|(_, port)| port).collect();
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
    let is_in_pool = || {
        let is_in = |range: &PortRange| range.contains(port);
        pool.ranges.iter().any(is_in) && !pool.exclude.iter().any(is_in)
    };
    match want {
        Want::Fixed(fixed) => port == fixed,
        Want::Within(range) => range.contains(port),
        Want::Auto => is_in_pool(),
        Want::Prefer(preferred) => port == preferred || is_in_pool(),
    }
}
