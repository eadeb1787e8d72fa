//! What is said, put on the screen in order: each kind in its way, and the live region below it.

use std::fmt;
use std::mem;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::board::Board;
use super::escape::push_text;
use super::frame::{self, Size};
use super::json;
use super::options::{Mode, PrinterOptions};
use super::outlet::{Outlet, Target};
use super::painter::Painter;
use super::plain;
use super::region::Region;
use super::summary::{self, Failure};
use super::words::{Rank, Said};
use crate::api::messages::Update;
use crate::cli::style::Palette;
use crate::run::control::StackSnapshot;
use crate::run::logs::{LogBlock, log_file_name};
use crate::run::news::{Notice, NoticeLevel};
use crate::run::snapshot::{Phase, ServiceSnapshot};
use crate::support::escape::plain as without_escapes;
use crate::support::name::{ServiceName, UnitId};
use crate::support::text;

/// While the region is on the screen, output is gathered for this long, so that a busy service
/// makes it redrawn a few times a second and not for each of its lines.
const GATHER: Duration = Duration::from_millis(50);

/// How much may wait to be written: whoever has a choice says no more until some of it has been.
pub(super) const CAPACITY: usize = 256 * 1024;

/// How much of a unit's last line is kept for the live region, in bytes.
const MAX_LAST_LINE: usize = 512;

/// What the printer needs of the world, replaced in tests.
pub(super) struct World {
    /// The time in milliseconds since the Unix epoch.
    pub(super) now: fn() -> u64,
    /// The size of the terminal behind stderr, measured anew for each frame.
    pub(super) size: fn() -> Size,
}

/// What there is to see. Nothing here waits.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, named")]
pub struct Page {
    mode: Mode,
    options: PrinterOptions,
    palette: Palette,
    painter: Painter,
    board: Board,
    region: Option<Region>,
    /// When the region was last drawn, if it is there, or was until something else was said.
    drawn_at: Option<Instant>,
    /// Whether a paragraph was printed last, which an empty line sets off from what comes next.
    owes_gap: bool,
    /// Whether nothing has been printed yet.
    is_at_start: bool,
    /// Whether a line has said what another Ctrl-C does.
    is_hint_told: bool,
    /// Whether it has been said that stdout cannot be written.
    is_fault_told: bool,
    /// Whether it has been said what was not shown.
    is_unshown_told: bool,
    /// Whether nothing is on its way any more that a region could show.
    is_ended: bool,
    /// Whether something was said since the screen was last as it should be.
    pub(super) is_touched: bool,
    pub(super) outlet: Outlet,
    world: World,
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page")
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl Page {
    pub(super) fn new(options: PrinterOptions, streams: [OwnedFd; 2], world: World) -> Self {
        Self {
            mode: options.mode(),
            palette: options.stderr_palette(),
            painter: Painter::new(&options),
            board: Board::new(&options.units),
            region: None,
            drawn_at: None,
            owes_gap: false,
            is_at_start: true,
            is_hint_told: false,
            is_fault_told: false,
            is_unshown_told: false,
            is_ended: false,
            is_touched: false,
            outlet: Outlet::new(streams),
            world,
            options,
        }
    }

    /// When the screen must be brought up to date, though nobody says anything; `None` after something
    /// was said is at once.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.is_touched {
            return self.drawn_at.map(|at| at + GATHER);
        }
        if self.outlet.is_gone(Target::Err) || !self.has_room(Target::Err) {
            return None;
        }
        let now = (self.world.now)();
        let due = match self.mode {
            Mode::Live if self.is_visible() => self.board.next_frame(now),
            Mode::Live => self.board.region_due(),
            Mode::Plain => self.board.next_slow_stop(),
            Mode::Json | Mode::Quiet => None,
        };
        due.map(|due| Instant::now() + Duration::from_millis(due.saturating_sub(now)))
    }

    /// Whether more may be said on a stream without keeping much of it in memory.
    pub(super) fn has_room(&self, target: Target) -> bool {
        self.outlet.len(target) < CAPACITY
    }

    /// Brings the screen up to date.
    pub(super) fn settle(&mut self) {
        self.is_touched = false;
        self.tell_slow_stops();
        self.draw();
    }

    /// Leaves the screen to whatever comes next.
    pub(super) fn end(&mut self) {
        self.tell_slow_stops();
        self.clear_region();
        self.is_ended = true;
        if !self.painter.is_raw() {
            self.painter.close_line(self.outlet.buffer(Target::Out));
        }
    }

    /// Prints output of a unit. Whoever has more waits for [`Printer::room`](super::Printer::room)
    /// where there is none.
    pub fn logs(&mut self, block: &LogBlock) {
        if self.mode == Mode::Live && self.board.is_pending() {
            let line = without_escapes(last_line(&block.bytes));
            self.board.set_last_line(&block.unit, &line);
        }
        if self.outlet.is_gone(Target::Out) {
            return;
        }
        self.clear_region();
        self.close_paragraph();
        let buffer = self.outlet.buffer(Target::Out);
        self.painter.paint(block, &mut self.board.roster, buffer);
    }

    /// Makes units known that were not at the start. Of a service of which there are several, the
    /// names are shown with their numbers.
    pub fn introduce(&mut self, units: &[UnitId]) {
        for unit in units {
            self.know(unit, 1);
        }
    }

    /// Prints data on stdout: one line, or several with their ends.
    pub fn line_out(&mut self, text: &str) {
        self.clear_region();
        self.close_paragraph();
        let buffer = self.outlet.buffer(Target::Out);
        self.painter.close_line(buffer);
        if self.options.terminals.stdout {
            push_text(text, buffer);
        } else {
            buffer.extend_from_slice(text.as_bytes());
        }
        if !text.ends_with('\n') {
            buffer.push(b'\n');
        }
    }

    /// Prints a message on stderr: one line, or several with their ends.
    pub fn line_err(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        let mut text = match self.mode {
            Mode::Json => json::message((self.world.now)(), text),
            Mode::Live | Mode::Plain | Mode::Quiet => text.to_owned(),
        };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        self.say(&text);
    }

    /// Prints what changed, as far as it is worth it.
    pub fn update(&mut self, update: &Update) {
        match update {
            Update::Service(snapshot) => self.service(snapshot),
            Update::Notice(notice) => self.notice(notice),
            Update::Ended { failed } => self.ended(failed),
            Update::Snapshot { stack } => stack.services.iter().for_each(|it| self.service(it)),
            Update::Lagged { .. } => {}
        }
    }

    /// Prints what changed of a unit, as far as it is worth it.
    pub fn service(&mut self, snapshot: &ServiceSnapshot) {
        let live_rank = self.board.live_rank();
        let unit = snapshot.unit();
        self.know(&unit, snapshot.replicas);
        let Some(said) = self.board.apply(snapshot.clone(), (self.world.now)()) else {
            return;
        };
        // What begins or ends a stop belongs to it.
        let live_rank = live_rank.max(self.board.live_rank());
        let is_worth_a_line = match self.mode {
            Mode::Live => said.rank >= live_rank,
            // Told by `tell_slow_stops`, if it takes long.
            Mode::Plain => snapshot.phase != Phase::Stopping,
            Mode::Json => {
                self.say(&json::change(snapshot, &said));
                false
            }
            Mode::Quiet => said.rank >= Rank::Failure,
        };
        if is_worth_a_line {
            self.say_of(&unit, &said);
        }
    }

    fn say_of(&mut self, unit: &UnitId, said: &Said) {
        let text = plain::change(self.palette, &self.board.roster, unit, said);
        self.say(&text);
    }

    fn notice(&mut self, notice: &Notice) {
        match self.mode {
            Mode::Quiet if notice.level != NoticeLevel::Error => {}
            Mode::Json => self.say(&json::notice((self.world.now)(), notice)),
            Mode::Live | Mode::Plain | Mode::Quiet => {
                let text = plain::notice(self.palette, &self.board.roster, notice);
                self.say(&text);
            }
        }
    }

    fn ended(&mut self, failed: &[ServiceName]) {
        let text = plain::ended(failed, self.board.is_any(Phase::Stopped));
        match self.mode {
            Mode::Json => self.say(&json::ended((self.world.now)(), &text, failed)),
            Mode::Live | Mode::Plain => self.say(&(text + "\n")),
            Mode::Quiet => {}
        }
    }

    /// Prints every service with its address, where `.env` is, and how to stop.
    pub fn summary(&mut self, stack: &StackSnapshot) {
        let now = (self.world.now)();
        match self.mode {
            Mode::Json => self.say(&json::summary(now, stack)),
            Mode::Quiet => {}
            Mode::Live | Mode::Plain => {
                let text = summary::ready(stack, &self.options, now);
                self.say_paragraph(&text);
            }
        }
        for service in &stack.services {
            self.know(&service.unit(), service.replicas);
            // A person has seen it; a program gets every change, in order.
            if self.mode != Mode::Json {
                self.board.apply(service.clone(), now);
            }
        }
    }

    /// Prints why a service failed, and its last lines. Meant to come last, after the summary.
    pub fn failure(&mut self, failure: &Failure) {
        if self.mode == Mode::Json {
            self.say(&json::failure((self.world.now)(), failure));
            return;
        }
        let logs = self.options.log_dir.as_ref().map(|dir| {
            let path = dir.join(log_file_name(&failure.service.unit()));
            summary::relative(&path, self.options.working_dir.as_deref())
        });
        let text = summary::failure(failure, logs.as_deref(), self.palette);
        self.say_paragraph(&text);
    }

    /// Notes that all of it is being stopped, so that how each service goes is not news; and whether
    /// that was a Ctrl-C here, after which another one kills.
    ///
    /// The terminal has shown the `^C` of whoever did it, and what comes next must not stand behind
    /// it.
    pub fn draining(&mut self, is_by_stroke: bool) {
        let was_draining = mem::replace(&mut self.board.is_draining, true);
        self.board.can_kill |= is_by_stroke;
        if self.mode == Mode::Live && self.options.has_the_stack && !was_draining {
            self.clear_region();
            self.close_lines();
            self.err().extend_from_slice(b"\r\x1b[K");
        }
    }

    /// Takes in a unit, and how many replicas its service has.
    fn know(&mut self, unit: &UnitId, replicas: u32) {
        let roster = &mut self.board.roster;
        if roster.add(unit) | roster.tell(unit, replicas) {
            self.painter.forget_prefixes();
        }
    }

    /// Where there is no live region, one line tells of a stop that takes long.
    fn tell_slow_stops(&mut self) {
        if self.mode != Mode::Plain {
            return;
        }
        let slow = self.board.take_slow_stops((self.world.now)());
        let is_first = !slow.is_empty() && self.board.can_kill && !self.is_hint_told;
        for (unit, said) in slow {
            self.say_of(&unit, &said);
        }
        if is_first {
            self.is_hint_told = true;
            self.say(&format!("{}\n", frame::KILL_HINT));
        }
    }

    /// Says once that stdout cannot be written, if its reader cannot know.
    pub(super) fn tell_fault(&mut self) {
        if let Some(fault) = self.outlet.fault(Target::Out)
            && !mem::replace(&mut self.is_fault_told, true)
        {
            let reason = text::io_reason(fault);
            self.say(&format!("error: cannot write to stdout: {reason}\n"));
        }
    }

    /// Whether everything is written; once it is, it is also said how much was not shown.
    pub(super) fn is_all_told(&mut self) -> bool {
        if self.outlet.is_empty() {
            self.tell_unshown();
        }
        self.outlet.is_empty()
    }

    fn tell_unshown(&mut self) {
        let lines = self.outlet.unshown(Target::Out);
        if lines > 0 && !mem::replace(&mut self.is_unshown_told, true) {
            let lines = text::count_of(lines, "line was", "lines were");
            self.line_err(&format!(
                "warning: {lines} not shown, as nobody read stdout; `stack logs` shows what services print"
            ));
        }
    }

    /// Puts text on stderr, below all that was printed before.
    fn say(&mut self, text: &str) {
        self.clear_region();
        self.close_lines();
        self.close_paragraph();
        // A program reads it, and JSON has no control characters in the way.
        if self.mode == Mode::Json && !self.options.terminals.stderr {
            self.err().extend_from_slice(text.as_bytes());
        } else {
            push_text(text, self.err());
        }
    }

    /// The same for text that empty lines set off from what stands above and comes below.
    fn say_paragraph(&mut self, text: &str) {
        self.owes_gap |= !self.is_at_start;
        self.say(text);
        self.owes_gap = true;
    }

    /// Puts the empty line below a paragraph, now that something follows.
    fn close_paragraph(&mut self) {
        self.is_at_start = false;
        if mem::take(&mut self.owes_gap) {
            self.err().push(b'\n');
        }
    }

    /// Brings what services printed to an end, so that stderr may follow.
    fn close_lines(&mut self) {
        // Where only one of the streams leads, an open line may stay open.
        if self.options.terminals.stdout || self.outlet.is_one_place() {
            self.painter.close_line(self.outlet.buffer(Target::Out));
        }
    }

    fn err(&mut self) -> &mut Vec<u8> {
        self.outlet.buffer(Target::Err)
    }

    fn is_visible(&self) -> bool {
        self.region.as_ref().is_some_and(Region::is_visible)
    }

    fn clear_region(&mut self) {
        if let Some(region) = self.region.as_mut().filter(|region| region.is_visible()) {
            region.draw(
                Vec::new(),
                (self.world.size)(),
                self.outlet.buffer(Target::Err),
            );
        }
    }

    /// Draws the region as it should be now.
    fn draw(&mut self) {
        if self.mode != Mode::Live || self.is_ended || !self.has_room(Target::Err) {
            return;
        }
        let now = (self.world.now)();
        let is_due = self.board.region_due().is_some_and(|due| now >= due);
        if !self.is_visible() && !is_due {
            return;
        }
        let size = (self.world.size)();
        let lines = frame::render(&self.board, now, size, self.palette);
        if !lines.is_empty() {
            self.close_lines();
        }
        let region = self.region.get_or_insert_with(Region::new);
        region.draw(lines, size, self.outlet.buffer(Target::Err));
        self.drawn_at = region.is_visible().then(Instant::now);
    }
}

/// What the region shows of a unit that has been quiet for a while: the last line of some output.
fn last_line(bytes: &[u8]) -> &[u8] {
    let text = bytes.trim_ascii_end();
    let start = memchr::memrchr2(b'\n', b'\r', text).map_or(0, |end| end + 1);
    &text[start..text.len().min(start + MAX_LAST_LINE)]
}
