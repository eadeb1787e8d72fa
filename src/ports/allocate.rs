//! A batch of ports, held: all of them, or none.
//!
//! The thin shell around `choice`: reads the ledger and the kernel's settings,
//! lends sockets to the choice, and turns its outcome into holds, errors and warnings. The ledger
//! stays locked while ports are tried. That is not about correctness, as the sockets cannot be
//! had twice, but it spares 50 stacks that start at once some 500 vain binds each (measured).

use std::collections::{HashMap, HashSet};

use indexmap::IndexMap;

use super::choice::{self, Answer, Effort, Miss, NoPlan, Plan, Reason, Terrain};
use super::descriptors::{ensure_descriptors, soft_limit};
use super::hold::{Blanks, Hold, HoldError};
use super::ledger::{Kept, Ledger, Noted, PortRow, Row, Session};
use super::numbers::{self, BROWSER_REFUSED, KernelPorts, browser_refuses, overlap};
use super::problem::{Asked, Occupant, PortError, PortWarning, RangesOf, Refused};
use super::reclaim::take_or_reclaim;
use super::request::{Owner, Pool, PortKey, PortRequest, Want};
use super::sockets;
use super::who::{holder_among, holders_in};
use crate::support::protocol::Protocol;

/// What is to be allocated in one transaction.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// Every port of the stack, each key once, in the order of the file.
    pub requests: &'a [PortRequest],
    /// Where ports are taken from.
    pub pool: &'a Pool,
    /// The stack.
    pub owner: &'a Owner,
    /// A wish or a preferred number that is taken is an error.
    pub strict: bool,
    /// Forget the ports of the last time.
    pub fresh: bool,
    /// The ledger is not told: whoever asks does so later, should the ports be used.
    pub is_noted_later: bool,
    /// What else there is of the stack, if it runs already.
    pub running: Option<&'a Running>,
}

/// The ports of a stack that runs, beside those that are to be allocated for it.
#[derive(Debug, Default)]
pub struct Running {
    /// The numbers that it lets go of for this batch: they are as good as free, though there can be no
    /// hold yet. They are handed out last, as whoever gets one has to wait for it.
    pub given_up: HashSet<(Protocol, u16)>,
    /// Those that stay, with whose they are.
    pub staying: HashMap<u16, PortKey>,
}

/// The ports of a batch.
#[derive(Debug)]
pub struct Allocation {
    /// The number of every key, in the order of the requests.
    pub ports: IndexMap<PortKey, u16>,
    /// A hard hold for every key, in the same order, but for numbers that are given up for this batch.
    pub holds: IndexMap<PortKey, Hold>,
    /// The ports whose servers need their hold to be released, as earlier runs have learned.
    pub released: HashSet<PortKey>,
    /// The mark in the ledger that the stack runs, to be kept for as long as it does; nothing where it
    /// could not be written.
    pub noted: Option<Noted>,
    /// What the user should know.
    pub warnings: Vec<PortWarning>,
}

/// Allocates every port of `batch`, or none.
///
/// On success the ledger says so (if it can be written), and the ports stay taken for as long as
/// the holds live. On failure nothing is held and nothing was written.
pub fn allocate(batch: &Batch<'_>, ledger: &Ledger) -> Result<Allocation, PortError> {
    if batch.requests.is_empty() {
        return Ok(Allocation {
            ports: IndexMap::new(),
            holds: IndexMap::new(),
            released: HashSet::new(),
            noted: None,
            warnings: Vec::new(),
        });
    }
    let protocols = || batch.requests.iter().map(|request| request.protocol);
    ensure_descriptors(protocols().map(|protocol| protocol.parts().len()).sum());
    let kernel = KernelPorts::read();
    let mut blanks = Blanks::new(protocols());
    let mut session = Session::begin(ledger, Some(&batch.owner.instance));
    let own = session.own_row(batch.owner);
    let (mut held, plan) = choose(batch, &mut session, &own, &kernel, &mut blanks);
    let plan = match plan {
        Ok(plan) => plan,
        Err(no_plan) => {
            // First, or the message would name ourselves as the holder.
            drop(held);
            session.unlock();
            return Err(explain(no_plan, batch, &session, &kernel));
        }
    };

    let keys = batch.requests.iter().map(|request| request.key.clone());
    let ports = keys.zip(plan.ports.iter().copied()).collect();
    let rows: Vec<PortRow> = batch
        .requests
        .iter()
        .zip(&plan.ports)
        .map(|(request, &port)| PortRow {
            key: request.key.clone(),
            protocol: request.protocol,
            port,
        })
        .collect();
    let lost = lost(batch, &plan, &own);
    let noted = if batch.is_noted_later {
        session.unlock();
        None
    } else {
        let noted = session.start(batch.owner, &rows, batch.fresh);
        let is_written = session.commit();
        noted.filter(|_| is_written)
    };

    // The search for those who have the other numbers takes long, and nobody waits for it now.
    let mut warnings = standing_warnings(batch, &plan, &kernel);
    warnings.extend(plan.misses.iter().map(|miss| PortWarning::Replaced {
        refused: refused(miss, batch, &session),
        got: plan.ports[miss.request],
    }));
    warnings.extend(lost);
    warnings.extend(session.into_warnings().into_iter().map(PortWarning::Ledger));

    let holds = batch
        .requests
        .iter()
        .zip(&plan.ports)
        .filter_map(|(request, &port)| {
            let mut part = |part| held.remove(&(port, part));
            let hold = match request.protocol {
                Protocol::Tcp | Protocol::Udp => part(request.protocol)?,
                Protocol::Both => Hold::pair(part(Protocol::Tcp)?, part(Protocol::Udp)?),
            };
            Some((request.key.clone(), hold))
        })
        .collect();
    Ok(Allocation {
        ports,
        holds,
        released: own.release.into_iter().collect(),
        noted,
        warnings,
    })
}

type Choice = (
    HashMap<(u16, Protocol), Hold>,
    Result<Plan, NoPlan<(u16, HoldError)>>,
);

/// Chooses and holds; what is held beside the plan is to be dropped.
fn choose(
    batch: &Batch<'_>,
    session: &mut Session,
    own: &Row,
    kernel: &KernelPorts,
    blanks: &mut Blanks,
) -> Choice {
    let mut held: HashMap<(u16, Protocol), Hold> = HashMap::new();
    let terrain = terrain(batch, session, own, kernel);
    // Looked up by who wants a new number alone.
    let mut kept: Option<Kept<'_>> = None;
    let is_given_up = |part, port| {
        let running = batch.running;
        running.is_some_and(|running| running.given_up.contains(&(part, port)))
    };
    let is_kept = |port| kept.get_or_insert_with(|| session.kept()).contains(port);
    let plan = choice::plan(
        batch.requests,
        batch.pool,
        &terrain,
        batch.strict,
        is_kept,
        |port, part, effort| {
            if is_given_up(part, port) {
                return Ok(Answer::Held);
            }
            let hold = match (blanks.take(part, port), effort) {
                (Err(HoldError::Taken), Effort::Insist) => take_or_reclaim(part, port),
                (hold, Effort::Insist | Effort::Skim) => hold,
            };
            match hold {
                Ok(hold) => {
                    held.insert((port, part), hold);
                    Ok(Answer::Held)
                }
                Err(HoldError::Taken) => Ok(Answer::Taken),
                Err(HoldError::Denied) => Ok(Answer::Denied),
                Err(error @ (HoldError::TooManyFiles(_) | HoldError::System(_))) => {
                    Err((port, error))
                }
            }
        },
    );
    let useless = kept.map(Kept::useless).unwrap_or_default();
    session.forget(useless);
    (held, plan)
}

fn terrain(batch: &Batch<'_>, session: &Session, own: &Row, kernel: &KernelPorts) -> Terrain {
    let mut never = numbers::never(kernel, &batch.pool.exclude);
    never.extend(session.granted());
    let is_well = |port: &&PortRow| own.wrong_with(port.port).is_none();
    let sticky = own.ports().filter(|_| !batch.fresh).filter(is_well);
    let given_up = batch.running.into_iter().flat_map(|it| &it.given_up);
    let given_up = given_up.map(|&(_, port)| port);
    Terrain {
        own_sticky: sticky.map(|row| (row.key.clone(), row.port)).collect(),
        live: session.held().collect(),
        bad: own
            .bad_ports()
            .filter(|_| !batch.fresh)
            .chain(given_up)
            .collect(),
        never,
    }
}

/// The ports that moved because the number of the last time turned bad. Where somebody got the
/// number that he asked for, it is not why.
fn lost(batch: &Batch<'_>, plan: &Plan, own: &Row) -> Vec<PortWarning> {
    if batch.fresh {
        return Vec::new();
    }
    let requests = batch.requests.iter().zip(&plan.ports);
    requests
        .filter_map(|(request, &got)| {
            let port = own.ports().find(|row| row.key == request.key)?.port;
            let why = own.wrong_with(port)?;
            let is_asked_for = request.wish.as_ref().is_some_and(|wish| wish.port == got)
                || matches!(request.want, Want::Fixed(asked) | Want::Prefer(asked) if asked == got);
            (got != port && !is_asked_for).then(|| PortWarning::TurnedBad {
                key: request.key.clone(),
                port,
                why,
                got,
            })
        })
        .collect()
}

/// What is worth saying about numbers that were had.
fn standing_warnings(batch: &Batch<'_>, plan: &Plan, kernel: &KernelPorts) -> Vec<PortWarning> {
    let mut warnings = Vec::new();
    let mut ranges = Vec::new();
    for (request, &port) in batch.requests.iter().zip(&plan.ports) {
        match request.want {
            Want::Auto | Want::Prefer(_) => ranges.extend(batch.pool.ranges.iter().copied()),
            Want::Within(range) => ranges.push(range),
            Want::Fixed(fixed) => {
                if let Some(wish) = &request.wish
                    && wish.port != fixed
                {
                    warnings.push(PortWarning::WishIgnored {
                        key: request.key.clone(),
                        wished: wish.port,
                        origin: wish.origin.clone(),
                        fixed,
                    });
                }
            }
        }
        if browser_refuses(port) {
            warnings.push(PortWarning::BrowserRefuses {
                key: request.key.clone(),
                port,
            });
        }
    }
    let mut seen = HashSet::new();
    for range in ranges.into_iter().filter(|&range| seen.insert(range)) {
        if let Some(ephemeral) = kernel.ephemeral
            && overlap(range, ephemeral).is_some()
        {
            warnings.push(PortWarning::Ephemeral { range, ephemeral });
        }
        let is_excluded = |port| batch.pool.exclude.iter().any(|range| range.contains(port));
        let refused = BROWSER_REFUSED.into_iter();
        let ports: Vec<u16> = refused
            .filter(|&port| range.contains(port) && !is_excluded(port))
            .collect();
        if !ports.is_empty() {
            warnings.push(PortWarning::BrowsersRefuse { range, ports });
        }
    }
    if let Some(&first) = batch.pool.ranges.first()
        && !plan.fallbacks.is_empty()
    {
        warnings.push(PortWarning::Fallback {
            first,
            ports: plan.fallbacks.clone(),
        });
    }
    warnings
}

fn refused(miss: &Miss, batch: &Batch<'_>, session: &Session) -> Refused {
    let request = &batch.requests[miss.request];
    let stack = || session.stack_of(miss.port);
    let staying = batch.running.and_then(|it| it.staying.get(&miss.port));
    let of_stack = |stack| Occupant::Stack(Box::new(stack));
    let occupant = match miss.reason {
        Reason::Denied => Occupant::System,
        Reason::Sibling(index) => Occupant::Sibling(batch.requests[index].key.clone()),
        Reason::ForeignSticky | Reason::Taken if let Some(key) = staying => {
            Occupant::Sibling(key.clone())
        }
        // Another stack's number may be in use by somebody else altogether.
        Reason::ForeignSticky | Reason::Taken => {
            let sockets = sockets::on_port(Protocol::Both, miss.port).unwrap_or_default();
            match holder_among(sockets, stack()) {
                Some(holder) => Occupant::Process(Box::new(holder)),
                None => stack().map_or(Occupant::Unknown, of_stack),
            }
        }
    };
    let wish = request.wish.as_ref().filter(|_| miss.asked == Asked::Wish);
    Refused {
        key: request.key.clone(),
        port: miss.port,
        asked: miss.asked,
        origin: wish.map(|wish| wish.origin.clone()),
        occupant,
    }
}

fn explain(
    no_plan: NoPlan<(u16, HoldError)>,
    batch: &Batch<'_>,
    session: &Session,
    kernel: &KernelPorts,
) -> PortError {
    match no_plan {
        NoPlan::Missed(misses) => PortError::Refused(
            misses
                .iter()
                .map(|miss| refused(miss, batch, session))
                .collect(),
        ),
        NoPlan::Exhausted {
            ranges,
            wanted,
            found,
        } => PortError::Exhausted {
            holders: holders_in(&ranges, session),
            ranges_of: RangesOf::File,
            left_out: numbers::left_out(&ranges, kernel, &batch.pool.exclude, session.granted()),
            ranges,
            wanted,
            found,
        },
        NoPlan::Stopped((port, error)) => stopped(port, error, batch.requests.len()),
    }
}

/// The error for a probe that cannot go on.
pub(crate) fn stopped(port: u16, error: HoldError, wanted: usize) -> PortError {
    match error {
        HoldError::TooManyFiles(source) => PortError::TooManyFiles {
            wanted,
            limit: soft_limit(),
            source,
        },
        HoldError::System(source) => PortError::System { port, source },
        HoldError::Taken | HoldError::Denied => PortError::System {
            port,
            source: std::io::Error::other(error),
        },
    }
}
