//! The files of a unit: what they are called, which there are, and how they go.
//!
//! A unit's log is a row of segments. The newest is `web.log`; a finished one is `web.log.<base>`,
//! where the base is the number of bytes that were logged before it. The index of either is
//! `web.idx.<base>`. `docs/design/logs.md` says why, and who changes what when.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::support::name::{ServiceName, UnitId};

/// The newest log of `unit` in `dir`, whether it exists or not.
pub(super) fn log_path(dir: &Path, unit: &UnitId) -> PathBuf {
    dir.join(log_file_name(unit))
}

/// The log of a segment that is finished.
pub(super) fn finished_path(dir: &Path, unit: &UnitId, base: u64) -> PathBuf {
    dir.join(format!("{}.log.{base}", stem(unit)))
}

/// The index of a segment.
pub(super) fn index_path(dir: &Path, unit: &UnitId, base: u64) -> PathBuf {
    dir.join(format!("{}.idx.{base}", stem(unit)))
}

/// The name of a unit's newest log within the directory of the logs: `web.log`, `web@2.log`.
pub fn log_file_name(unit: &UnitId) -> String {
    format!("{}.log", stem(unit))
}

/// How a unit's files begin: `web`, `web@2`. The first replica has the service's plain name, so
/// that a service keeps its log when it is scaled; an `@` cannot occur in a service's name.
fn stem(unit: &UnitId) -> String {
    match unit.replica {
        1 => unit.service.to_string(),
        replica => format!("{}@{replica}", unit.service),
    }
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Newest,
    Finished(u64),
    Index(u64),
}

/// Whose a file is, by its name; `None` for one that is nobody's.
fn parse(name: &str) -> Option<(UnitId, Kind)> {
    if let Some(stem) = name.strip_suffix(".log") {
        return Some((unit_of(stem)?, Kind::Newest));
    }
    let (rest, number) = name.rsplit_once('.')?;
    let base: u64 = number.parse().ok()?;
    let (stem, kind) = match rest.strip_suffix(".log") {
        Some(stem) => (stem, Kind::Finished(base)),
        None => (rest.strip_suffix(".idx")?, Kind::Index(base)),
    };
    (base.to_string() == number).then_some((unit_of(stem)?, kind))
}

fn unit_of(stem: &str) -> Option<UnitId> {
    let (service, replica) = match stem.split_once('@') {
        Some((service, number)) => (service, number.parse().ok()?),
        None => (stem, 1),
    };
    let unit = UnitId {
        service: ServiceName::new(service).ok()?,
        replica,
    };
    // `web@02` and `web@1` are nobody's.
    (self::stem(&unit) == stem).then_some(unit)
}

/// The segments of a unit, by base.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Segments {
    /// Those that are finished.
    pub(super) finished: BTreeSet<u64>,
    /// The newest, if it has a log.
    pub(super) newest: Option<u64>,
}

impl Segments {
    /// All of them, oldest first.
    pub(super) fn bases(&self) -> Vec<u64> {
        self.finished.iter().copied().chain(self.newest).collect()
    }

    /// Where the next segment begins if there is none to go on with.
    pub(super) fn end(&self, dir: &Path, unit: &UnitId) -> io::Result<u64> {
        Ok(match self.finished.last() {
            Some(&last) => match fs::metadata(finished_path(dir, unit, last)) {
                Ok(metadata) => last + metadata.len(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => last,
                Err(error) => return Err(error),
            },
            None => 0,
        })
    }
}

/// The segments in `dir` of every unit that has any.
pub(super) fn scan(dir: &Path) -> io::Result<BTreeMap<UnitId, Segments>> {
    scan_for(dir, |_| true)
}

/// The segments of one unit.
pub(super) fn segments_of(dir: &Path, unit: &UnitId) -> io::Result<Segments> {
    let mut found = scan_for(dir, |other| other == unit)?;
    Ok(found.remove(unit).unwrap_or_default())
}

/// How often a directory is listed in which files are just being renamed or removed.
const TRIES: usize = 3;

fn scan_for(dir: &Path, wants: impl Fn(&UnitId) -> bool) -> io::Result<BTreeMap<UnitId, Segments>> {
    let mut tries = 1;
    loop {
        let (found, is_whole) = list(dir, &wants)?;
        // Where an index is lost, it never is.
        if is_whole || tries == TRIES {
            return Ok(found);
        }
        tries += 1;
    }
}

/// Lists the segments; whether every one of them, and nothing else, has an index.
fn list(
    dir: &Path,
    wants: impl Fn(&UnitId) -> bool,
) -> io::Result<(BTreeMap<UnitId, Segments>, bool)> {
    let mut units = BTreeMap::<UnitId, (Segments, bool, BTreeSet<u64>)>::new();
    let entries = match fs::read_dir(dir) {
        Ok(entries) => Some(entries),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    for entry in entries.into_iter().flatten() {
        let name = entry?.file_name();
        let Some((unit, kind)) = name.to_str().and_then(parse).filter(|(it, _)| wants(it)) else {
            continue;
        };
        let (segments, has_newest, indexes) = units.entry(unit).or_default();
        match kind {
            Kind::Newest => *has_newest = true,
            Kind::Finished(base) => _ = segments.finished.insert(base),
            Kind::Index(base) => _ = indexes.insert(base),
        }
    }
    let mut is_whole = true;
    let mut found = BTreeMap::new();
    for (unit, (mut segments, has_newest, indexes)) in units {
        if has_newest {
            // Its index alone says where it begins.
            let own = indexes
                .last()
                .filter(|base| segments.finished.last() < Some(base));
            segments.newest = Some(match own {
                Some(base) => *base,
                None => segments.end(dir, &unit)?,
            });
        }
        is_whole &= segments.bases().iter().eq(&indexes);
        if segments != Segments::default() {
            found.insert(unit, segments);
        }
    }
    Ok((found, is_whole))
}

/// Removes a finished segment: its index first, so that whoever has that open knows.
pub(super) fn remove(dir: &Path, unit: &UnitId, base: u64) -> io::Result<()> {
    remove_file(&index_path(dir, unit, base))?;
    remove_file(&finished_path(dir, unit, base))
}

/// Removes the newest segment.
pub(super) fn remove_newest(dir: &Path, unit: &UnitId, base: u64) -> io::Result<()> {
    remove_file(&index_path(dir, unit, base))?;
    remove_file(&log_path(dir, unit))
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::logs::testing::{replica, unit};

    fn touched(names: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(directory.path().join(name), "12345").unwrap();
        }
        directory
    }

    fn bases(names: &[&str]) -> Vec<u64> {
        let directory = touched(names);
        segments_of(directory.path(), &unit("web")).unwrap().bases()
    }

    #[test]
    fn names_tell_whose_a_file_is_whatever_a_service_is_called() {
        for odd in ["web", "web.log", "web.idx", "web.log.5", "web.idx.0"] {
            for unit in [unit(odd), replica(odd, 12)] {
                let dir = Path::new("");
                let named = |path: PathBuf| parse(path.to_str().unwrap()).unwrap();
                assert_eq!(named(log_path(dir, &unit)), (unit.clone(), Kind::Newest));
                let finished = named(finished_path(dir, &unit, 7));
                assert_eq!(finished, (unit.clone(), Kind::Finished(7)));
                assert_eq!(named(index_path(dir, &unit, 0)), (unit, Kind::Index(0)));
            }
        }
        let foreign = [
            "web",
            "web.txt",
            "web@1.log",
            "web@02.log",
            "web@x.log",
            "@2.log",
            "web.log.07",
            "web.log.x",
            "web.log.-1",
            "web.5",
        ];
        for name in foreign {
            assert_eq!(parse(name), None, "{name}");
        }
    }

    #[test]
    fn the_newest_log_belongs_to_the_index_that_has_no_finished_log() {
        assert_eq!(
            bases(&["web.log.0", "web.idx.0", "web.log", "web.idx.5"]),
            [0, 5]
        );
        assert_eq!(
            bases(&["web.log.3", "web.idx.3"]),
            [3],
            "between two segments"
        );
        assert_eq!(
            bases(&["web.log.3", "web.log"]),
            [3, 8],
            "the indexes are gone"
        );
        assert_eq!(bases(&["web.log"]), [0]);
        assert_eq!(bases(&["web.idx.0"]), [0; 0], "the log is gone");
        assert_eq!(
            bases(&["web.idx.2", "web.log.3", "web.idx.3", "web.log"]),
            [3, 8]
        );
        assert_eq!(bases(&["web@2.log"]), [0; 0]);
    }
}
