//! The choice of ports, as a pure function: requests, what is known, and a probe.
//!
//! A batch is served in the order of strength: fixed numbers, wishes, preferred numbers, sticky
//! ports, then the lowest free ones in the order of the file. Each pass goes over all requests
//! before the next begins, so that no weak claim takes what a stronger one wants.
//!
//! Sockets come in by the probe only: it holds a port or says why not.
//! [`allocate`](super::allocate) drops the holds of ports that were not chosen in the end.

use std::collections::{HashMap, HashSet};

use crate::support::port_range::PortRange;
use crate::support::protocol::Protocol;

use super::numbers::PortSet;
use super::problem::Asked;
use super::request::{Pool, PortKey, PortRequest, Want};

/// How hard a port is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Somebody asked for this very number: also through leftovers in TIME_WAIT.
    Insist,
    /// One of many; the next one is as good.
    Skim,
}

/// What the probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is held now.
    Held,
    /// A socket is on it.
    Taken,
    /// The system does not allow it.
    Denied,
}

/// What is known without asking a socket.
#[derive(Debug, Clone)]
pub(crate) struct Terrain {
    /// The last ports of this stack.
    pub(crate) own_sticky: HashMap<PortKey, u16>,
    /// Held by other stacks that run, each with TCP or UDP. They count as taken even where a socket
    /// would say free: a server may be just between its hold and its listener.
    pub(crate) live: HashSet<(Protocol, u16)>,
    /// Those that turned bad for this stack; handed out last, like what another stack had last.
    pub(crate) bad: PortSet,
    /// Never handed out unless somebody asks for the number.
    pub(crate) never: PortSet,
}

/// Why a number that was asked for is not had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// A socket or a running stack has it.
    Taken,
    /// The system does not allow it.
    Denied,
    /// The request at this index has it.
    Sibling(usize),
    /// It is free, but another stack's sticky port.
    ForeignSticky,
}

/// A number that was asked for and not had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Miss {
    pub(crate) request: usize,
    pub(crate) port: u16,
    pub(crate) asked: Asked,
    pub(crate) reason: Reason,
}

/// The chosen ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// One for each request, in their order.
    pub(crate) ports: Vec<u16>,
    /// What was asked for and replaced.
    pub(crate) misses: Vec<Miss>,
    /// The ports that come from a later range of the pool.
    pub(crate) fallbacks: Vec<u16>,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoPlan<E> {
    /// Numbers that cannot be replaced are not available.
    Missed(Vec<Miss>),
    /// The ranges are too small: so many ports were asked for, and so many found.
    Exhausted {
        ranges: Vec<PortRange>,
        wanted: usize,
        found: usize,
    },
    /// The probe cannot go on.
    Stopped(E),
}

/// Chooses a port for every request, or none at all.
///
/// `strict` makes a wish or a preferred number that is taken an error. `is_kept` says whether
/// another stack had a number last. `probe` is asked at most once for each transport, TCP or UDP,
/// of each port.
pub(crate) fn plan<E>(
    requests: &[PortRequest],
    pool: &Pool,
    terrain: &Terrain,
    strict: bool,
    is_kept: impl FnMut(u16) -> bool,
    probe: impl FnMut(u16, Protocol, Effort) -> Result<Answer, E>,
) -> Result<Plan, NoPlan<E>> {
    let mut planner = Planner {
        requests,
        pool,
        terrain,
        is_kept,
        probe,
        answers: HashMap::new(),
        ports: vec![None; requests.len()],
        taken_by: HashMap::new(),
    };
    let misses = planner.asked_for(strict)?;

    // In the order of the file, as everybody expects. If that fails because an open request took
    // what a narrow range needed, once more with the range that ends first served first, which
    // finds a way whenever there is one. What is held already is not probed again.
    let open: Vec<usize> = (0..requests.len())
        .filter(|&index| planner.ports[index].is_none())
        .collect();
    let before = (planner.ports.clone(), planner.taken_by.clone());
    if let Err(no_plan) = planner.lowest(&open) {
        let NoPlan::Exhausted { .. } = no_plan else {
            return Err(no_plan);
        };
        (planner.ports, planner.taken_by) = before;
        let mut narrow_first = open;
        narrow_first.sort_by_key(|&index| match requests[index].want {
            Want::Within(range) => (0, range.end()),
            Want::Auto | Want::Prefer(_) | Want::Fixed(_) => (1, 0),
        });
        planner.lowest(&narrow_first).map_err(|_| no_plan)?;
    }
    Ok(planner.finish(misses))
}

/// Up to where a range was searched, for what is to be avoided and for what is not, and for which
/// protocol. What was passed stays taken for as long as only more is given away.
type Passed = HashMap<(PortRange, bool, Protocol), u16>;

struct Planner<'a, K, F> {
    requests: &'a [PortRequest],
    pool: &'a Pool,
    terrain: &'a Terrain,
    is_kept: K,
    probe: F,
    answers: HashMap<(u16, Protocol), Answer>,
    ports: Vec<Option<u16>>,
    taken_by: HashMap<u16, Vec<usize>>,
}

impl<K, F, E> Planner<'_, K, F>
where
    K: FnMut(u16) -> bool,
    F: FnMut(u16, Protocol, Effort) -> Result<Answer, E>,
{
    /// The numbers that somebody asks for, the strongest first; gives back those that are to be
    /// replaced. A number that is asked for twice is missed once.
    fn asked_for(&mut self, strict: bool) -> Result<Vec<Miss>, NoPlan<E>> {
        let mut misses: Vec<Miss> = Vec::new();
        for asked in [Asked::Fixed, Asked::Wish, Asked::Preferred, Asked::Sticky] {
            for (index, request) in self.requests.iter().enumerate() {
                let Some(port) = self.number(request, asked) else {
                    continue;
                };
                let said = |miss: &Miss| miss.request == index && miss.port == port;
                if self.ports[index].is_some() || misses.iter().any(said) {
                    continue;
                }
                // Whoever is strict wants the number, whoever had it last.
                let is_foreign = asked == Asked::Preferred
                    && !strict
                    && self.terrain.own_sticky.get(&request.key) != Some(&port)
                    && (self.is_kept)(port);
                let reason = if is_foreign {
                    Some(Reason::ForeignSticky)
                } else {
                    self.claim(index, port, Effort::Insist)?
                };
                misses.extend(reason.map(|reason| Miss {
                    request: index,
                    port,
                    asked,
                    reason,
                }));
            }
            let is_final = asked == Asked::Fixed || (strict && asked == Asked::Preferred);
            if is_final && !misses.is_empty() {
                return Err(NoPlan::Missed(misses));
            }
        }
        Ok(misses)
    }

    /// The number that is asked for in one way, if any is.
    fn number(&self, request: &PortRequest, asked: Asked) -> Option<u16> {
        match (asked, request.want) {
            (Asked::Fixed, Want::Fixed(port)) | (Asked::Preferred, Want::Prefer(port)) => {
                Some(port)
            }
            (Asked::Wish, _) => request.wish.as_ref().map(|wish| wish.port),
            (Asked::Sticky, _) => {
                // What the file says now is stronger than what was had under an earlier one.
                let sticky = self.terrain.own_sticky.get(&request.key).copied();
                let ranges = self.ranges(request);
                let is_allowed = |port| ranges.iter().any(|range| range.contains(port));
                sticky.filter(|&port| !self.terrain.never.contains(port) && is_allowed(port))
            }
            (Asked::Fixed | Asked::Preferred, _) => None,
        }
    }

    /// The lowest free port for each of the requests, in that order; those that are to be avoided
    /// only when nothing else is left in any range.
    fn lowest(&mut self, order: &[usize]) -> Result<(), NoPlan<E>> {
        let mut passed = Passed::new();
        for &index in order {
            if !self.lowest_of(index, false, &mut passed)?
                && !self.lowest_of(index, true, &mut passed)?
            {
                return Err(self.exhausted(index));
            }
        }
        Ok(())
    }

    fn lowest_of(
        &mut self,
        index: usize,
        avoided: bool,
        passed: &mut Passed,
    ) -> Result<bool, NoPlan<E>> {
        for range in self.ranges(&self.requests[index]) {
            let key = (range, avoided, self.requests[index].protocol);
            let start = passed.get(&key).copied();
            for port in start.unwrap_or(range.start())..=range.end() {
                // TCP and UDP could share a number; people would rather have two.
                if self.terrain.never.contains(port) || self.taken_by.contains_key(&port) {
                    continue;
                }
                let is_avoided = self.terrain.bad.contains(port) || (self.is_kept)(port);
                if is_avoided != avoided {
                    continue;
                }
                if self.claim(index, port, Effort::Skim)?.is_none() {
                    passed.insert(key, port);
                    return Ok(true);
                }
            }
            passed.insert(key, range.end());
        }
        Ok(false)
    }

    /// Gives `port` to the request at `index`, or says why not.
    fn claim(
        &mut self,
        index: usize,
        port: u16,
        effort: Effort,
    ) -> Result<Option<Reason>, NoPlan<E>> {
        let protocol = self.requests[index].protocol;
        let in_the_way = |&&other: &&usize| self.requests[other].protocol.overlaps(protocol);
        let mut siblings = self.taken_by.get(&port).into_iter().flatten();
        if let Some(&sibling) = siblings.find(in_the_way) {
            return Ok(Some(Reason::Sibling(sibling)));
        }
        let mut parts = protocol.parts().iter();
        if parts.any(|&part| self.terrain.live.contains(&(part, port))) {
            return Ok(Some(Reason::Taken));
        }
        for &part in protocol.parts() {
            let answer = if let Some(&answer) = self.answers.get(&(port, part)) {
                answer
            } else {
                let answer = (self.probe)(port, part, effort).map_err(NoPlan::Stopped)?;
                self.answers.insert((port, part), answer);
                answer
            };
            match answer {
                Answer::Held => {}
                Answer::Taken => return Ok(Some(Reason::Taken)),
                Answer::Denied => return Ok(Some(Reason::Denied)),
            }
        }
        self.ports[index] = Some(port);
        self.taken_by.entry(port).or_default().push(index);
        Ok(None)
    }

    /// Where a request may be served from when nobody asks for a number.
    fn ranges(&self, request: &PortRequest) -> Vec<PortRange> {
        match request.want {
            Want::Within(range) => vec![range],
            Want::Auto | Want::Prefer(_) | Want::Fixed(_) => self.pool.ranges.clone(),
        }
    }

    fn exhausted(&self, index: usize) -> NoPlan<E> {
        let ranges = self.ranges(&self.requests[index]);
        let same: Vec<usize> = (0..self.requests.len())
            .filter(|&other| {
                let request = &self.requests[other];
                !matches!(request.want, Want::Fixed(_)) && self.ranges(request) == ranges
            })
            .collect();
        NoPlan::Exhausted {
            wanted: same.len(),
            found: same
                .iter()
                .filter(|&&other| self.ports[other].is_some())
                .count(),
            ranges,
        }
    }

    fn finish(self, misses: Vec<Miss>) -> Plan {
        let ports: Vec<u16> = self.ports.into_iter().flatten().collect();
        let is_fallback = |request: &PortRequest, port: u16| {
            let is_asked_for = request.wish.as_ref().is_some_and(|wish| wish.port == port);
            let is_open = match request.want {
                Want::Fixed(_) | Want::Within(_) => false,
                Want::Auto => true,
                Want::Prefer(preferred) => preferred != port,
            };
            let mut ranges = self.pool.ranges.iter();
            let is_first = ranges.next().is_some_and(|first| first.contains(port));
            is_open && !is_asked_for && !is_first && ranges.any(|range| range.contains(port))
        };
        let served = self.requests.iter().zip(&ports);
        let fallbacks = served.filter(|(request, port)| is_fallback(request, **port));
        Plan {
            fallbacks: fallbacks.map(|(_, &port)| port).collect(),
            ports,
            misses,
        }
    }
}

#[cfg(test)]
mod tests;
