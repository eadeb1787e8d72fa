//! What signals to the client mean; the table is in `docs/design/supervision.md`.

use nix::sys::signal::Signal;
use tokio::time::Instant;

use super::client::{End, Watch};
use crate::cli::printer::terminal_size;
use crate::run::STROKE;
use crate::run::control::Command;
use crate::run::instance::Holder;
use crate::run::launch::{can_be_continued, is_ignored, stop_self};

impl Watch<'_> {
    /// What a signal to the client means (`docs/design/supervision.md`).
    pub(super) async fn signalled(&mut self, signal: Signal) -> Option<End> {
        if !self.stays {
            return Some(End::Left(signal));
        }
        match signal {
            Signal::SIGTSTP => self.pause().await,
            Signal::SIGWINCH => self.resize(),
            Signal::SIGUSR1 => {
                self.pass_on(signal);
            }
            _ => {
                let now = Instant::now();
                // A wrapper passes on what the terminal sent already.
                let is_echo = self.last_stroke.is_some_and(|last| now - last < STROKE);
                self.last_stroke = Some(self.last_stroke.filter(|_| is_echo).unwrap_or(now));
                // There is nobody left to stop: it is for whoever waits for the reader.
                if self.has_ended() {
                    if !is_echo {
                        self.printer.give_up();
                    }
                    return None;
                }
                self.drain(signal == Signal::SIGINT);
                if !is_echo {
                    self.warn_if_suspended();
                }
                if !self.pass_on(signal) && !is_echo {
                    self.command(self.ended_by.is_some());
                }
                self.ended_by.get_or_insert(signal);
            }
        }
        None
    }

    /// Says why nothing stops, where the supervisor is suspended.
    fn warn_if_suspended(&self) {
        let holder = self.instance.holder();
        if let Some(holder) = holder.filter(Holder::is_supervisor_suspended) {
            let pid = holder.supervisor_pid;
            self.printer.page().line_err(&format!(
                "warning: the supervisor (pid {pid}) is suspended, so nothing stops; \
                 `kill -CONT {pid}` lets it go on"
            ));
        }
    }

    /// Gives a signal to the guardian of the own stack.
    fn pass_on(&mut self, signal: Signal) -> bool {
        self.lead.as_mut().is_some_and(|lead| lead.signal(signal))
    }

    /// Has everything stopped, or killed. One that cannot be reached has ended, as the streams tell.
    pub(super) fn command(&self, is_again: bool) {
        let client = self.client.clone();
        let grace = self.grace;
        tokio::spawn(async move {
            let command = if is_again {
                Command::Kill {}
            } else {
                Command::Down { grace }
            };
            drop(client.command(&command).await);
        });
    }

    /// The terminal has another size, and so have those of the services that it shows.
    fn resize(&self) {
        let client = self.client.clone();
        let except = self.unattached.iter().cloned().collect();
        tokio::spawn(async move {
            // The last one says how it is by then.
            if let Some(size) = terminal_size() {
                drop(client.command(&Command::Resize { size, except }).await);
            }
        });
    }

    /// Ctrl-Z: services and timers stand still, and so does this process, until somebody continues
    /// it. The supervisor goes on answering.
    async fn pause(&mut self) {
        if !can_be_continued() {
            self.printer
                .page()
                .line_err("Ctrl-Z is ignored: there is no shell that could continue the stack");
        } else if let Some(lead) = &mut self.lead {
            // A failure leaves everything running.
            lead.freeze_while(|| stop_self().unwrap_or_default()).await;
        }
    }
}

/// The signals that mean something to the client. The others do what they do to any program.
pub(super) fn meaningful(stays: bool, leads: bool) -> Vec<Signal> {
    let mut signals = vec![Signal::SIGINT, Signal::SIGTERM];
    if stays {
        signals.push(Signal::SIGWINCH);
    }
    if stays && leads {
        signals.extend([Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGTSTP]);
        // As `nohup` has it.
        if !is_ignored(Signal::SIGHUP) {
            signals.push(Signal::SIGHUP);
        }
    }
    signals
}
