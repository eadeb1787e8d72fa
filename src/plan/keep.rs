//! Which ports stay when a plan is made again: what runs keeps its number wherever it can.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::assignment::Assignment;
use super::draft::Draft;
use crate::ports::request::{Pool, PortKey, PortRequest, Want};
use crate::spec::problem::Problem;
use crate::support::port_range::PortRange;
use crate::support::protocol::Protocol;

/// The ports of a plan that is made again.
#[derive(Debug, PartialEq, Eq)]
pub struct Kept {
    /// Those that stay: their holds are there and are not asked for again.
    pub kept: Assignment,
    /// Those that must be allocated, as a batch of their own. The number of a port that moves is in
    /// nobody's way: its hold is given back only once the new one is there.
    pub wanted: Vec<PortRequest>,
    /// Those that stay although they are asked for otherwise, as they are pinned.
    pub unlike: Vec<PortKey>,
    /// The numbers that are held and do not stay: whoever gets one has it once its service has let go
    /// of it.
    pub given_up: HashSet<(Protocol, u16)>,
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
            given_up: HashSet::new(),
        };
        let requests = self.requests(problems);
        let is_pinned = |key: &PortKey| held.contains_key(key) && is_pinned(key);
        // Who could have any other number makes room for one that must have this.
        let fixed = requests.iter().filter(|request| !is_pinned(&request.key));
        let fixed: Vec<(u16, &PortRequest)> = fixed
            .filter_map(|request| match request.want {
                Want::Fixed(port) => Some((port, request)),
                Want::Prefer(_) | Want::Within(_) | Want::Auto => None,
            })
            .collect();
        let must_go = |port: u16, request: &PortRequest| {
            let is_of = |(number, other): &(u16, &PortRequest)| {
                *number == port
                    && other.key != request.key
                    && other.protocol.overlaps(request.protocol)
            };
            !matches!(request.want, Want::Fixed(_)) && fixed.iter().any(is_of)
        };
        for request in &requests {
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
                        && !must_go(held.port, request)
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
                    outcome.kept.insert(request.key.clone(), held.port);
                }
                None => outcome.wanted.push(request.clone()),
            }
        }
        let all = held
            .iter()
            .flat_map(|(key, held)| held.iter().map(move |it| (key, it)));
        let given_up = all.filter(|(key, held)| outcome.kept.get(*key) != Some(&held.port));
        outcome.given_up = given_up
            .flat_map(|(key, held)| {
                let earlier = held.asked.requests.get(key);
                let parts = earlier.map_or(&[][..], |earlier| earlier.protocol.parts());
                parts.iter().map(|&part| (part, held.port))
            })
            .collect();
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
