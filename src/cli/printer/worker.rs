//! The printer's thread: takes items and puts them on the screen, in order.
//!
//! The only thread that writes. It sleeps while there is nothing to print and nothing is pending.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::board::Board;
use super::escape::push_text;
use super::frame::{self, Size};
use super::item::{Failure, Flow, Item};
use super::options::{Mode, PrinterOptions};
use super::painter::{LogStyle, Painter};
use super::plain::{self, PlainStyle};
use super::region::Region;
use super::sink::Sink;
use super::summary::{self, SummaryStyle};
use super::words::{Rank, Said};
use super::{json, words};
use crate::cli::style::Palette;
use crate::run::logs::log_file_name;
use crate::run::snapshot::{Event, Notice, NoticeLevel, Phase, ServiceSnapshot};
use crate::support::escape::plain;
use crate::support::name::{ServiceName, UnitId};
use crate::support::text;

/// What the region shows of a unit that has been quiet for a while: the last line of some output.
fn last_line(bytes: &[u8]) -> &[u8] {
    let text = bytes.trim_ascii_end();
    let start = memchr::memrchr2(b'\n', b'\r', text).map_or(0, |end| end + 1);
    &text[start..text.len().min(start + MAX_LAST_LINE)]
}

/// While the region is on the screen, output is gathered for this long, so that a busy service
/// makes it redrawn a few times a second and not for each of its lines.
const GATHER: Duration = Duration::from_millis(50);

/// How much is gathered or printed at once, in bytes.
const BATCH: usize = 256 * 1024;

/// How much of a unit's last line is kept for the live region, in bytes.
const MAX_LAST_LINE: usize = 512;

/// What the thread needs of the world, replaced in tests.
pub(super) struct World {
    /// The time in milliseconds since the Unix epoch.
    pub(super) now: fn() -> u64,
    /// The size of the terminal behind stderr, measured anew for each frame.
    pub(super) size: fn() -> Size,
}

pub(super) struct Worker {
    mode: Mode,
    options: PrinterOptions,
    log_dir: Option<String>,
    plain: PlainStyle,
    palette: Palette,
    painter: Painter,
    board: Board,
    region: Option<Region>,
    /// When the region was last drawn or taken off.
    drawn_at: Option<Instant>,
    /// Whether a paragraph was printed last, which an empty line sets off from what comes next.
    owes_gap: bool,
    /// Whether nothing has been printed yet.
    is_at_start: bool,
    /// Whether a line has said what another Ctrl-C does.
    is_hint_told: bool,
    out: Sink,
    err: Sink,
    flow: Arc<Flow>,
    world: World,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl Worker {
    pub(super) fn new(
        options: PrinterOptions,
        out: Sink,
        err: Sink,
        flow: Arc<Flow>,
        world: World,
    ) -> Self {
        let palette = options.stderr_palette();
        let log_style = LogStyle {
            has_prefix: options.log_prefix,
            has_timestamps: options.timestamps,
            is_terminal: options.terminals.stdout,
            palette: options.stdout_palette(),
        };
        let board = Board::new(&options.units);
        Self {
            mode: options.mode(),
            log_dir: options
                .log_dir
                .as_deref()
                .map(|path| summary::relative(path, options.working_dir.as_deref())),
            plain: PlainStyle {
                palette,
                name_cells: board.roster().cells(),
            },
            palette,
            painter: Painter::new(log_style),
            board,
            region: None,
            drawn_at: None,
            owes_gap: false,
            is_at_start: true,
            is_hint_told: false,
            out,
            err,
            flow,
            world,
            options,
        }
    }

    /// Prints until the end, or until nobody is left to say anything.
    pub(super) fn run(mut self, item_rx: &Receiver<Item>) {
        let mut is_over = false;
        while !is_over {
            let first = match self.deadline() {
                Some(deadline) => {
                    item_rx.recv_timeout(deadline.saturating_duration_since(Instant::now()))
                }
                None => item_rx.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            is_over = matches!(first, Err(RecvTimeoutError::Disconnected));
            let gather_until = self
                .is_visible()
                .then(|| self.drawn_at.map(|at| at + GATHER));
            let mut batch = Vec::new();
            let mut weight = 0;
            let mut next = first.ok();
            while let Some(item) = next {
                is_over |= matches!(item, Item::End);
                weight += item.weight();
                batch.push(item);
                next = match gather_until.flatten() {
                    _ if is_over || weight >= BATCH => None,
                    None => item_rx.try_recv().ok(),
                    Some(until) => {
                        let left = until.saturating_duration_since(Instant::now());
                        item_rx.recv_timeout(left).ok()
                    }
                };
            }
            self.print_all(batch);
            self.flow.remove(weight);
        }
    }

    /// Prints some items, and the region below them.
    pub(super) fn print_all(&mut self, items: Vec<Item>) {
        let is_over = items.last().is_some_and(|item| matches!(item, Item::End));
        for item in items {
            self.print(item);
        }
        self.tell_slow_stops();
        if is_over {
            self.clear_region();
            if self.painter.is_line_open() && !self.painter.is_raw() {
                self.painter.close_line(self.out.buffer());
            }
        }
        self.flush();
        if !is_over {
            self.draw();
        }
    }

    fn is_visible(&self) -> bool {
        self.region.as_ref().is_some_and(Region::is_visible)
    }

    /// When the thread must wake without being told.
    fn deadline(&self) -> Option<Instant> {
        if self.err.is_gone() {
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

    fn print(&mut self, item: Item) {
        match item {
            Item::Logs(block) => {
                if self.mode == Mode::Live && self.board.is_pending() {
                    let line = plain(last_line(&block.bytes));
                    self.board.set_last_line(&block.unit, &line);
                }
                if self.out.is_gone() {
                    return;
                }
                self.clear_region();
                self.close_paragraph();
                if !self.err.buffer().is_empty() {
                    self.err.flush();
                }
                self.painter
                    .paint(&block, self.board.roster_mut(), self.out.buffer());
                // It may be of a unit that was not announced.
                self.plain.name_cells = self.board.roster().cells();
                self.out.flush_if_large();
                self.check_outputs();
            }
            Item::Units(units) => {
                for unit in units {
                    self.know(&unit, 1);
                }
            }
            Item::Out(text) => {
                self.clear_region();
                self.close_paragraph();
                self.err.flush();
                let buffer = self.out.buffer();
                self.painter.close_line(buffer);
                if self.options.terminals.stdout {
                    push_text(&text, buffer);
                } else {
                    buffer.extend_from_slice(text.as_bytes());
                }
                if !text.ends_with('\n') {
                    buffer.push(b'\n');
                }
                self.out.flush_if_large();
                self.check_outputs();
            }
            Item::Err(text) => self.message(&text),
            Item::Event(Event::Service(snapshot)) => self.change(*snapshot),
            Item::Event(Event::Notice(notice)) => self.notice(&notice),
            Item::Event(Event::Ended { failed }) => self.ended(&failed),
            Item::Summary(stack) => {
                match self.mode {
                    Mode::Json => self.say(&json::summary((self.world.now)(), &stack)),
                    Mode::Quiet => {}
                    Mode::Live | Mode::Plain => {
                        let style = SummaryStyle {
                            palette: self.palette,
                            working_dir: self.options.working_dir.as_deref(),
                            has_the_stack: self.options.has_the_stack,
                        };
                        self.say_paragraph(&summary::ready(&stack, &style));
                    }
                }
                self.learn(stack.services);
            }
            Item::Draining(is_by_stroke) => self.drain(is_by_stroke),
            Item::Failure(failure) => self.failure(&failure),
            Item::End => {}
        }
    }

    /// A message of a command, as it is.
    fn message(&mut self, text: &str) {
        let mut text = match self.mode {
            Mode::Json => json::message((self.world.now)(), text),
            Mode::Live | Mode::Plain | Mode::Quiet => text.to_owned(),
        };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        self.say(&text);
    }

    fn change(&mut self, snapshot: ServiceSnapshot) {
        let live_rank = self.board.live_rank();
        let unit = snapshot.unit();
        self.know(&unit, snapshot.replicas);
        let position = self.board.roster().position(&unit);
        let label = words::label(&snapshot);
        let is_json = self.mode == Mode::Json;
        let is_stop = snapshot.phase == Phase::Stopping;
        let kept = is_json.then(|| snapshot.clone());
        let Some(said) = self.board.apply(snapshot, (self.world.now)()) else {
            return;
        };
        // What begins or ends a stop belongs to it.
        let live_rank = live_rank.max(self.board.live_rank());
        if let Some(snapshot) = kept {
            self.say(&json::change(&snapshot, &said));
        } else if is_stop && self.mode == Mode::Plain {
            // Told by `tell_slow_stops`, if it takes long.
        } else if self.is_worth_a_line(&said, live_rank) {
            let text = self.plain.change(position, &label, &said);
            self.say(&text);
        }
    }

    fn is_worth_a_line(&self, said: &Said, live_rank: Rank) -> bool {
        match self.mode {
            Mode::Live => said.rank >= live_rank,
            Mode::Plain | Mode::Json => true,
            Mode::Quiet => said.rank >= Rank::Failure,
        }
    }

    fn notice(&mut self, notice: &Notice) {
        if self.mode == Mode::Quiet && notice.level != NoticeLevel::Error {
            return;
        }
        let text = if self.mode == Mode::Json {
            json::notice((self.world.now)(), notice)
        } else {
            self.plain.notice(self.board.roster(), notice)
        };
        self.say(&text);
    }

    fn ended(&mut self, failed: &[ServiceName]) {
        let text = plain::ended(failed, self.board.is_any_stopped());
        match self.mode {
            Mode::Json => self.say(&json::ended((self.world.now)(), &text, failed)),
            Mode::Live | Mode::Plain => self.say(&(text + "\n")),
            Mode::Quiet => {}
        }
    }

    /// Takes in what has been shown already.
    fn learn(&mut self, services: Vec<ServiceSnapshot>) {
        let now = (self.world.now)();
        for service in services {
            self.know(&service.unit(), service.replicas);
            self.board.apply(service, now);
        }
    }

    /// Takes in a unit, and how many replicas its service has.
    fn know(&mut self, unit: &UnitId, replicas: u32) {
        let roster = self.board.roster_mut();
        if roster.add(unit) | roster.tell(unit, replicas) {
            self.plain.name_cells = roster.cells();
            self.painter.forget_prefixes();
        }
    }

    /// All of it is being stopped. The terminal has shown the `^C` of whoever did it, and what
    /// comes next must not stand behind it.
    fn drain(&mut self, is_by_stroke: bool) {
        let was_draining = self.board.is_draining();
        self.board.set_draining(is_by_stroke);
        if self.mode == Mode::Live && self.options.has_the_stack && !was_draining {
            self.clear_region();
            self.close_lines();
            self.err.buffer().extend_from_slice(b"\r\x1b[K");
        }
    }

    /// Where there is no live region, one line tells of a stop that takes long.
    fn tell_slow_stops(&mut self) {
        if self.mode != Mode::Plain {
            return;
        }
        let slow = self.board.take_slow_stops((self.world.now)());
        let is_first = !slow.is_empty() && self.board.can_kill() && !self.is_hint_told;
        for (position, label, said) in slow {
            let text = self.plain.change(position, &label, &said);
            self.say(&text);
        }
        if is_first {
            self.is_hint_told = true;
            self.say(&format!("{}\n", frame::KILL_HINT));
        }
    }

    fn failure(&mut self, failure: &Failure) {
        if self.mode == Mode::Json {
            let text = json::failure((self.world.now)(), failure);
            self.say(&text);
            return;
        }
        let logs = self
            .log_dir
            .as_ref()
            .map(|dir| format!("{dir}/{}", log_file_name(&failure.service.unit())));
        let text = summary::failure(failure, logs.as_deref(), self.palette);
        self.say_paragraph(&text);
    }

    /// Puts text on stderr, below all that was printed before.
    fn say(&mut self, text: &str) {
        self.clear_region();
        self.close_lines();
        self.close_paragraph();
        match self.mode {
            // A program reads it, and JSON has no control characters in the way.
            Mode::Json if !self.options.terminals.stderr => {
                self.err.buffer().extend_from_slice(text.as_bytes());
            }
            Mode::Live | Mode::Plain | Mode::Json | Mode::Quiet => {
                push_text(text, self.err.buffer());
            }
        }
        self.err.flush_if_large();
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
        if std::mem::take(&mut self.owes_gap) {
            self.err.buffer().push(b'\n');
        }
    }

    /// Brings what services printed to an end, so that stderr may follow.
    fn close_lines(&mut self) {
        // Only a terminal shows both streams: elsewhere an open line may stay open.
        if self.options.terminals.stdout && self.painter.is_line_open() {
            self.painter.close_line(self.out.buffer());
        }
        if !self.out.buffer().is_empty() {
            self.out.flush();
            self.check_outputs();
        }
    }

    fn flush(&mut self) {
        self.err.flush();
        self.out.flush();
        self.check_outputs();
        // What is wrong with the other one, if anything.
        self.err.flush();
    }

    fn check_outputs(&mut self) {
        if self.out.is_gone() && !self.flow.is_output_gone() {
            self.flow.set_output_gone();
            if let Some(fault) = self.out.take_fault() {
                self.flow.set_output_failed();
                let reason = text::io_reason(&fault);
                self.say(&format!("error: cannot write to stdout: {reason}\n"));
            }
        }
    }

    fn clear_region(&mut self) {
        if let Some(region) = &mut self.region
            && region.is_visible()
        {
            region.clear((self.world.size)(), self.err.buffer());
            self.err.flush();
        }
    }

    /// Draws the region as it should be now.
    fn draw(&mut self) {
        if self.mode != Mode::Live {
            return;
        }
        let now = (self.world.now)();
        // A region that was taken off to print something comes back at once.
        let is_due = self.board.region_due().is_some_and(|due| now >= due);
        if !self.is_visible() && !is_due {
            return;
        }
        let size = (self.world.size)();
        let lines = frame::render(&self.board, now, size, self.palette);
        if self.options.terminals.stdout && !lines.is_empty() && self.painter.is_line_open() {
            self.painter.close_line(self.out.buffer());
            self.out.flush();
        }
        let region = self.region.get_or_insert_with(Region::new);
        region.draw(lines, size, self.err.buffer());
        self.err.flush();
        self.drawn_at = Some(Instant::now());
    }
}
