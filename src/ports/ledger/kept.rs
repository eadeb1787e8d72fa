//! Who had which number last, for a start that wants one that is nobody's.

use super::place::Here;
use super::row::Line;
use super::rows::Place;

/// How many directories a start looks for at most. What is not looked for counts as there.
const LOOKS: usize = 20;

/// The ports that other stacks had last. Whether a stack's directory is still there is asked only where its
/// number is in the way.
#[derive(Debug)]
pub(crate) struct Kept<'a> {
    /// Of each number its first link, counted from 1; 0 is none. (Memory that is zero costs nothing.)
    first: Vec<u32>,
    /// A line, and the next link of the same number.
    links: Vec<(usize, u32)>,
    lines: Vec<(Place, Line<'a>)>,
    /// Of each line whether its directory is there, as far as that was asked.
    present: Vec<Option<bool>>,
    looks: usize,
    damaged: Vec<Place>,
    /// The places of the lines of stacks that run, in order.
    running: &'a [Place],
    here: &'a Here,
}

impl<'a> Kept<'a> {
    /// Of lines with their places; a damaged one is its place alone.
    pub(super) fn new(
        lines: impl Iterator<Item = (Place, Option<Line<'a>>)>,
        running: &'a [Place],
        here: &'a Here,
    ) -> Self {
        let mut kept = Self {
            first: vec![0; 1 << 16],
            links: Vec::new(),
            lines: Vec::new(),
            present: Vec::new(),
            looks: LOOKS,
            damaged: Vec::new(),
            running,
            here,
        };
        for (place, line) in lines {
            let Some(line) = line else {
                kept.damaged.push(place);
                continue;
            };
            line.kept(here, |port| {
                let first = &mut kept.first[usize::from(port)];
                kept.links.push((kept.lines.len(), *first));
                *first = u32::try_from(kept.links.len()).unwrap_or(0);
            });
            kept.lines.push((place, line));
        }
        kept.present = vec![None; kept.lines.len()];
        kept
    }

    /// Whether another stack had `port` last that may want it again.
    pub(crate) fn contains(&mut self, port: u16) -> bool {
        let mut link = self.first[usize::from(port)];
        while link > 0 {
            let (line, next) = self.links[link as usize - 1];
            if self.is_present(line) {
                return true;
            }
            link = next;
        }
        false
    }

    fn is_present(&mut self, line: usize) -> bool {
        if let Some(known) = self.present[line] {
            return known;
        }
        let (place, known) = &self.lines[line];
        // One that runs has its number whatever became of its directory.
        if self.looks == 0 || self.running.binary_search(place).is_ok() {
            return true;
        }
        self.looks -= 1;
        let row = known.row();
        let is_present = row.is_none_or(|row| (self.here.present)(&row.owner.project_dir));
        self.present[line] = Some(is_present);
        is_present
    }

    /// The places of lines that are damaged, and of those whose directories were found to be gone.
    pub(crate) fn useless(self) -> (Vec<Place>, Vec<Place>) {
        let lines = self.lines.iter().zip(&self.present);
        let gone = lines.filter(|(_, present)| **present == Some(false));
        (self.damaged, gone.map(|((place, _), _)| *place).collect())
    }
}
