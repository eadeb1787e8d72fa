//! Who is shown: the units with their names, colours and order.
//!
//! A unit is called like its service, or with its number where the service has several replicas.
//! How many there are is known from a plan or a snapshot; a reader of old logs only knows which
//! units it was told of, and numbers those of which it knows another replica. Pure.

use std::collections::HashMap;

use indexmap::IndexSet;

use crate::cli::style::width;
use crate::support::name::{ServiceName, UnitId};

/// Every unit that is known.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    services: HashMap<ServiceName, Service>,
    /// The place of each unit in the order in which they became known, which gives its colour.
    positions: IndexSet<UnitId>,
    /// The cells of the widest name.
    cells: usize,
}

#[derive(Debug)]
struct Service {
    /// Its place in the file.
    place: usize,
    /// How many of its units are known.
    known: u32,
    /// How many replicas it has, as far as that is known.
    replicas: u32,
}

impl Roster {
    /// The units in the order of the file.
    pub(crate) fn new(units: &[UnitId]) -> Self {
        let mut roster = Self::default();
        for unit in units {
            roster.add(unit);
        }
        roster
    }

    /// Takes in a unit. Returns whether the look of any name changes by it.
    pub(crate) fn add(&mut self, unit: &UnitId) -> bool {
        if !self.positions.insert(unit.clone()) {
            return false;
        }
        let place = self.services.len();
        let service = self
            .services
            .entry(unit.service.clone())
            .or_insert(Service {
                place,
                known: 0,
                replicas: 1,
            });
        service.known += 1;
        let replicas = service.known;
        let is_widest = self.widen(unit);
        self.tell(unit, replicas) || is_widest
    }

    /// Takes in how many replicas the service of a known unit has. Returns whether the look of any
    /// name changes by it.
    pub(crate) fn tell(&mut self, unit: &UnitId, replicas: u32) -> bool {
        match self.services.get_mut(&unit.service) {
            Some(service) if service.replicas < replicas => service.replicas = replicas,
            Some(_) | None => return false,
        }
        let siblings = self.positions.iter();
        let siblings = siblings.filter(|other| other.service == unit.service);
        for sibling in siblings.cloned().collect::<Vec<_>>() {
            self.widen(&sibling);
        }
        true
    }

    /// Makes room for the name of a unit. Returns whether it needed any.
    fn widen(&mut self, unit: &UnitId) -> bool {
        let cells = width(&self.label(unit));
        let is_wider = cells > self.cells;
        self.cells = self.cells.max(cells);
        is_wider
    }

    /// The name under which a unit is shown: `web`, or `web-2` where there are several.
    pub(crate) fn label(&self, unit: &UnitId) -> String {
        let service = self.services.get(&unit.service);
        unit.label(service.map_or(1, |service| service.replicas))
    }

    /// The cells of the widest name.
    pub(crate) fn cells(&self) -> usize {
        self.cells
    }

    /// What gives a unit its colour; the next free place for one that is not known.
    pub(crate) fn position(&self, unit: &UnitId) -> usize {
        let position = self.positions.get_index_of(unit);
        position.unwrap_or(self.positions.len())
    }

    /// What puts rows in the order of the file, the replicas of a service together.
    pub(crate) fn rank(&self, unit: &UnitId) -> (usize, u32) {
        let service = self.services.get(&unit.service);
        let place = service.map_or(self.services.len(), |service| service.place);
        (place, unit.replica)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::printer::testing::{replica, unit};

    #[test]
    fn a_unit_is_numbered_as_soon_as_another_one_of_its_service_is_known() {
        let mut roster = Roster::new(&[unit("web"), unit("api")]);
        assert_eq!(roster.label(&unit("web")), "web");
        assert!(!roster.add(&unit("api")), "known");
        assert!(roster.add(&replica("web", 2)));
        assert_eq!(roster.label(&unit("web")), "web-1");
        assert_eq!(roster.label(&replica("web", 2)), "web-2");
        assert_eq!(roster.label(&unit("api")), "api");
        assert_eq!(roster.cells(), "web-1".len());
    }

    #[test]
    fn what_a_snapshot_says_of_replicas_counts_before_they_are_seen() {
        let mut roster = Roster::new(&[unit("web")]);
        assert!(!roster.tell(&unit("web"), 1));
        assert!(roster.tell(&unit("web"), 12));
        assert_eq!(roster.label(&unit("web")), "web-1");
        assert!(roster.add(&replica("web", 12)), "a wider name");
        assert!(!roster.add(&replica("web", 11)));
    }

    #[test]
    fn replicas_stand_together_and_have_colours_of_their_own() {
        let mut roster = Roster::new(&[unit("web"), unit("api")]);
        roster.add(&replica("web", 2));
        let mut units = [unit("new"), unit("api"), replica("web", 2), unit("web")];
        units.sort_by_key(|unit| roster.rank(unit));
        assert_eq!(
            units,
            [unit("web"), replica("web", 2), unit("api"), unit("new")]
        );
        let positions = units.map(|unit| roster.position(&unit));
        assert_eq!(positions, [0, 2, 1, 3]);
    }
}
