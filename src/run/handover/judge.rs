//! What an attempt comes to as far as its ports go, by what it said about addresses that it could not have.

use std::net::IpAddr;

use super::{Handover, Learning};

/// An address that a server could not have, as it named it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NamedAddress {
    /// The address, where it named one.
    pub(crate) address: Option<IpAddr>,
    /// The port.
    pub(crate) port: u16,
}

/// What a server said in one attempt about addresses that are in use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Complaint {
    named: Vec<NamedAddress>,
}

/// Which ports a complaint is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum About {
    /// These of the service's own.
    Own(Vec<u16>),
    /// None of them, but this one.
    Other(NamedAddress),
    /// None was named.
    Unnamed,
}

impl Complaint {
    /// Adds what one more line named, if anything.
    pub(crate) fn add(&mut self, named: &[NamedAddress]) {
        self.named.extend(named);
    }

    /// What all of it comes to: of servers that print an error twice, only one of the lines may have the
    /// number.
    fn about(&self, own: &[u16]) -> About {
        match (self.own(own), self.named.first()) {
            (ports, Some(_)) if !ports.is_empty() => About::Own(ports),
            (_, Some(&named)) => About::Other(named),
            (_, None) => About::Unnamed,
        }
    }

    /// Those of the ports `own` that it names.
    pub(crate) fn own(&self, own: &[u16]) -> Vec<u16> {
        let is_named = |port: &&u16| self.named.iter().any(|named| named.port == **port);
        own.iter().filter(is_named).copied().collect()
    }
}

/// What an attempt that complained, or ended, comes to as far as its ports go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing that has to do with ports.
    Nothing,
    /// Somebody else is on a port.
    Taken,
    /// The holds of the ports at these places are in the way: it is started again without them.
    InTheWay(Vec<usize>),
    /// The hold of the port at this place is in the way, and the file wants it so.
    KeptOut(usize),
    /// It could not have an address. Nobody but the server knows why it wants it, or its own port is of
    /// no use to it.
    InUse(NamedAddress),
    /// It could not have an address that it did not name, and nobody was in the way on its own ports.
    InUseSomewhere,
}

/// Judges an attempt by all its ports, each with its number. `is_alone` says whether no other socket is
/// on the port at a place, and is asked only if that matters.
pub(crate) fn judge(
    ports: &[(u16, &Handover)],
    complaint: Option<&Complaint>,
    mut is_alone: impl FnMut(usize) -> bool,
) -> Verdict {
    if ports.iter().any(|(_, port)| port.is_stolen()) {
        return Verdict::Taken;
    }
    let own: Vec<u16> = ports.iter().map(|(number, _)| *number).collect();
    let Some(about) = complaint.map(|complaint| complaint.about(&own)) else {
        return Verdict::Nothing;
    };
    let is_meant = |place: &usize| match &about {
        About::Own(meant) => meant.contains(&own[*place]),
        About::Other(_) => false,
        About::Unnamed => true,
    };
    let suspects = |learning: Learning| -> Vec<usize> {
        let all = (0..ports.len()).filter(is_meant);
        all.filter(|&place| ports[place].1.is_suspect(learning))
            .collect()
    };
    let named = |place: usize| {
        Verdict::InUse(NamedAddress {
            address: None,
            port: own[place],
        })
    };
    let open = suspects(Learning::Open);
    if !open.is_empty() {
        let taken = open.iter().find(|place| !is_alone(**place));
        return taken.map_or(Verdict::InTheWay(open.clone()), |&place| named(place));
    }
    if let Some(&place) = suspects(Learning::Barred).first() {
        return Verdict::KeptOut(place);
    }
    let unbound: Vec<usize> = (0..ports.len())
        .filter(|&place| !ports[place].1.has_listened())
        .collect();
    let first = |is_so: &dyn Fn(usize) -> bool| unbound.iter().copied().find(|&place| is_so(place));
    match about {
        // It is there all the same, so that was about something else.
        _ if unbound.is_empty() => Verdict::Nothing,
        About::Other(named) => Verdict::InUse(named),
        About::Own(meant) => {
            first(&|place| meant.contains(&own[place])).map_or(Verdict::Nothing, named)
        }
        About::Unnamed => first(&|place| ports[place].1.attempt().is_contested)
            .map_or(Verdict::InUseSomewhere, named),
    }
}
