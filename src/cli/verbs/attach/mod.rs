//! `stack attach`: a person at the standard input of a service (`docs/design/attach.md`).

mod keyboard;
pub(crate) mod keys;

use std::io::{IsTerminal, stdin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use keyboard::{Terminal, Way, read_keyboard};
use keys::Detacher;
use nix::sys::signal::Signal;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{sleep, timeout};

use super::Context;
use crate::api::client::{Client, ClientError, EventStream, Followed, LogFollower, Start, Wanted};
use crate::api::messages::{Update, code};
use crate::cli::args::AttachArgs;
use crate::cli::exit::{ExitCode, Stop};
use crate::cli::printer::{raw_out, replay_out, say, terminal_size};
use crate::cli::words;
use crate::run::control::{Command, StackSnapshot, TerminalSize};
use crate::run::launch::{Signals, unblock_all};
use crate::run::snapshot::ServiceSnapshot;
use crate::support::name::UnitId;

/// How many of the last lines are shown first, so that a prompt which waits is seen.
const LAST_LINES: usize = 10;

/// How long a full pipe is left alone.
const PAUSE: Duration = Duration::from_millis(20);

/// How long what was typed last may take to arrive.
const FAREWELL: Duration = Duration::from_secs(1);

/// How many pieces of a pipe may wait for the service; no more is read then.
const WAITING: usize = 256;

/// How many pieces of what is typed or pasted, each a key or a line as a rule. What comes then is lost: the
/// keys that detach are behind it.
const WAITING_TYPED: usize = 16 * 1024;

/// Something for the service.
enum Input {
    Typed(Vec<u8>),
    Resized(TerminalSize),
}

/// Why it is over.
enum End {
    Detached,
    /// The service has ended, and will not start again.
    Ended,
    Signalled,
}

/// Carries out `stack attach`.
pub async fn run(context: &mut Context<'_>, args: &AttachArgs) -> Result<ExitCode, Stop> {
    let client = context.supervisor().await?;
    let stack = client.stack().await?;
    let mut service = find(context, &stack, args)?;
    let (unit, label) = (service.unit(), service.label());
    let has_terminal = wait_for_input(&client, &mut service).await?;
    let mut signals = Signals::install(&[
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGWINCH,
    ])?;
    unblock_all().map_err(std::io::Error::from)?;
    let wanted = Wanted {
        units: vec![(unit.service.clone(), Some(unit.replica))],
        ..Wanted::default()
    };
    let start = Start::LastRun {
        run: u64::from_str_radix(&stack.run, 16).ok(),
        tail: Some(LAST_LINES),
    };
    let log_dir = context.instance.log_dir();
    let mut view = View {
        events: client.events().await?,
        output: LogFollower::open(&client, log_dir, &wanted, start).await?,
        unit: unit.clone(),
        last: service,
    };
    let is_typed = stdin().is_terminal();
    if is_typed {
        let keys = if args.detach_keys.is_some() {
            "the detach keys leave"
        } else {
            "Ctrl-P Ctrl-Q leaves"
        };
        say(&format!("attached to {label}; {keys} it running"));
    }
    view.replay()?;
    let (input_tx, input_rx) = channel(if is_typed { WAITING_TYPED } else { WAITING });
    let waiting = Arc::new(AtomicUsize::new(0));
    let to = (client.clone(), unit.clone());
    let sending = tokio::spawn(pass_on(to, input_rx, Arc::clone(&waiting)));
    let mut typed_rx = read_keyboard();
    let detach_keys = args.detach_keys.clone();
    let mut detacher = Detacher::new(detach_keys.map_or_else(usual_keys, |keys| keys.0));
    let way = if has_terminal {
        Way::Keys
    } else {
        Way::Lines(detacher.last())
    };
    let own = is_typed.then(|| Terminal::set(&way)).flatten();
    let mut lost = 0;
    let end = loop {
        tokio::select! {
            biased;
            signal = signals.next() => match signal {
                Signal::SIGWINCH => {
                    if let Some(size) = terminal_size() {
                        drop(input_tx.try_send(Input::Resized(size)));
                    }
                }
                // Of a raw terminal it is a key.
                Signal::SIGINT => interrupt(&client, &unit).await,
                _ => break End::Signalled,
            },
            Some(typed) = next_typed(&input_tx, &mut typed_rx, !is_typed) => {
                let (passed, is_detached) = detacher.take(&typed);
                let length = passed.len();
                waiting.fetch_add(length, Ordering::Relaxed);
                if input_tx.try_send(Input::Typed(passed)).is_err() {
                    waiting.fetch_sub(length, Ordering::Relaxed);
                    lost += length;
                }
                if is_detached {
                    break End::Detached;
                }
            }
            is_over = view.next() => if is_over? {
                break End::Ended;
            },
        }
    };
    drop(input_tx);
    if matches!(end, End::Detached) {
        // What cannot be taken by then is not.
        drop(timeout(FAREWELL, sending).await);
        lost += waiting.load(Ordering::Relaxed);
    }
    drop(own);
    match end {
        End::Detached => {
            let missed = match lost {
                0 => String::new(),
                lost => format!("; it has not read what was typed, {lost} bytes are lost"),
            };
            say(&format!("\ndetached from {label}{missed}"));
            Ok(ExitCode::Done)
        }
        End::Signalled => Ok(ExitCode::Terminated),
        End::Ended => {
            let exit = view.last.exit;
            let how = exit.map_or_else(|| "has ended".to_owned(), words::exit);
            let end = if has_terminal { "\n" } else { "" };
            say(&format!("{end}{label} {how}"));
            Ok(exit.map_or(ExitCode::Done, ExitCode::from))
        }
    }
}

/// Waits until a service that is on its way can be typed to; whether it has a terminal.
async fn wait_for_input(client: &Client, service: &mut ServiceSnapshot) -> Result<bool, Stop> {
    let first = Command::Input {
        unit: service.unit(),
        bytes: Bytes::new(),
        size: terminal_size(),
    };
    let mut events: Option<EventStream> = None;
    loop {
        match client.command(&first).await {
            Ok(reply) => return Ok(reply.input.is_some_and(|input| input.has_terminal)),
            Err(ClientError::Refused(body))
                if body.code == code::NOT_UP && !service.phase.is_at_rest() => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(events) = &mut events {
            let update = events.next().await?;
            let update = update.ok_or(ClientError::Closed)?;
            *service = news_of(&service.unit(), update).unwrap_or_else(|| service.clone());
        } else {
            say(&format!("waiting until {} runs", service.label()));
            events = Some(client.events().await?);
        }
    }
}

/// What is new about a unit.
fn news_of(unit: &UnitId, update: Update) -> Option<ServiceSnapshot> {
    let service = match update {
        Update::Service(service) => Some(*service),
        Update::Snapshot { stack } => {
            let mut services = stack.services.into_iter();
            services.find(|it| it.unit() == *unit)
        }
        Update::Notice(_) | Update::Ended { .. } | Update::Lagged { .. } => None,
    };
    service.filter(|it| it.unit() == *unit)
}

fn usual_keys() -> Vec<u8> {
    keys::parse(keys::USUAL).unwrap_or_default()
}

/// The unit that is meant: `web`, with `--index 2` or as `web-2` another replica.
fn find(
    context: &Context<'_>,
    stack: &StackSnapshot,
    args: &AttachArgs,
) -> Result<ServiceSnapshot, Stop> {
    let units = || stack.services.iter();
    let is_there = |name: &str| units().any(|it| it.service.as_str() == name);
    let (mut service, mut index) = (args.service.as_str(), args.index.unwrap_or(1));
    if !is_there(service)
        && let Some((name, number)) = service.rsplit_once('-')
        && let (true, Ok(number)) = (is_there(name), number.parse())
    {
        if args.index.is_some_and(|index| index != number) {
            let message = format!("`{service}` is replica {number}, and `--index` wants another");
            return Err(Stop::usage(message, "leave out one of the two"));
        }
        (service, index) = (name, number);
    }
    let found = units().find(|it| it.service.as_str() == service && it.replica == index);
    found.cloned().ok_or_else(|| {
        if is_there(service) {
            let message = format!("`{service}` has no replica {index}");
            return Stop::usage(message, "`stack ps` lists the services with their replicas");
        }
        context.unknown_service(&args.service, units().map(|it| &it.service))
    })
}

/// What the service prints, and what becomes of it.
struct View {
    events: EventStream,
    output: LogFollower,
    unit: UnitId,
    /// The last that was heard of it.
    last: ServiceSnapshot,
}

impl View {
    /// Shows what was printed before.
    fn replay(&mut self) -> Result<(), Stop> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.output.next_ready()? {
            if let Followed::Block(block) = piece {
                bytes.extend_from_slice(&block.bytes);
            }
        }
        Ok(replay_out(&bytes)?)
    }

    /// Shows what comes next; whether it was the last.
    async fn next(&mut self) -> Result<bool, Stop> {
        tokio::select! {
            biased;
            piece = self.output.next() => match piece? {
                Some(piece) => show(&piece).map(|()| false),
                None => Ok(true),
            },
            update = self.events.next() => {
                if let Ok(Some(update)) = update {
                    return self.hear(update);
                }
                // The stack has ended: what it has printed is still to come.
                self.output.stop()?;
                self.show_rest()
            }
        }
    }

    fn hear(&mut self, update: Update) -> Result<bool, Stop> {
        if let Some(news) = news_of(&self.unit, update) {
            self.last = news;
        }
        if self.last.phase.is_at_rest() {
            self.output.catch_up(&self.unit)?;
            return self.show_rest();
        }
        Ok(false)
    }

    fn show_rest(&mut self) -> Result<bool, Stop> {
        while let Some(piece) = self.output.next_ready()? {
            show(&piece)?;
        }
        Ok(true)
    }
}

fn show(piece: &Followed) -> Result<(), Stop> {
    match piece {
        Followed::Block(block) => Ok(raw_out(&block.bytes)?),
        // There is no place for a word about it on somebody else's screen.
        Followed::Lost { .. } => Ok(()),
    }
}

/// Passes on what is typed, in order. What a service that is just restarting cannot take is lost, as
/// with every program. `waiting` are the bytes that have not been taken yet.
async fn pass_on(
    (client, unit): (Client, UnitId),
    mut input_rx: Receiver<Input>,
    waiting: Arc<AtomicUsize>,
) {
    while let Some(input) = input_rx.recv().await {
        let (mut bytes, size) = match input {
            Input::Typed(bytes) => (Bytes::from(bytes), None),
            Input::Resized(size) => (Bytes::new(), Some(size)),
        };
        while !bytes.is_empty() || size.is_some() {
            let command = Command::Input {
                unit: unit.clone(),
                bytes: bytes.clone(),
                size,
            };
            match client.command(&command).await {
                Ok(reply) => {
                    let taken = reply.input.map_or(bytes.len(), |input| input.taken);
                    let taken = bytes.split_to(taken.min(bytes.len()));
                    waiting.fetch_sub(taken.len(), Ordering::Relaxed);
                    if bytes.is_empty() {
                        break;
                    }
                    sleep(PAUSE).await;
                }
                Err(ClientError::Refused(body)) if body.code == code::NOT_UP => {
                    waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
                    break;
                }
                // The end of the stack is told by other means.
                Err(_) => return,
            }
        }
    }
}

/// What is typed next, if wanted once there is room for it.
async fn next_typed(
    input_tx: &Sender<Input>,
    typed_rx: &mut Receiver<Vec<u8>>,
    waits: bool,
) -> Option<Vec<u8>> {
    if waits {
        // Nobody else takes it meanwhile.
        drop(input_tx.reserve().await.ok()?);
    }
    typed_rx.recv().await
}

async fn interrupt(client: &Client, unit: &UnitId) {
    let command = Command::Signal {
        units: vec![unit.clone()],
        signal: Signal::SIGINT as i32,
    };
    // The end of the stack is told by other means.
    drop(client.command(&command).await);
}
