//! Servers that are given their socket, and supervisors of servers.
//!
//! ```text
//! fd-serve [--slow-start MS]   serves HTTP on descriptor 3, as `sd_listen_fds(3)` describes it;
//!                              says `serving ADDRESS as NAMES`. Where LISTEN_PID is not its pid, or
//!                              LISTEN_FDS is not set, it exits 78, and says so
//! reload -- MODE…              runs MODE as a child; on SIGHUP ends it and starts it again, as
//!                              nodemon does; lives on whatever becomes of the child, until SIGTERM
//! ```

use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use socket2::Socket;

use crate::http::serve;
use crate::lives::{blocked, live, pass};
use crate::prints::say;
use crate::words::Words;
use crate::{Failure, Outcome};

/// The descriptor of the first socket that is passed.
const FIRST: i32 = 3;

/// What `fd-serve` exits with where it was not given a socket (`EX_CONFIG`).
const NOT_GIVEN: u8 = 78;

pub(crate) fn run(mode: &str, words: &mut Words) -> Option<Outcome> {
    Some(match mode {
        "fd-serve" => fd_serve(words),
        "reload" => reload(words),
        // What the above starts.
        "with-open-ears" => with_open_ears(words),
        _ => return None,
    })
}

fn fd_serve(words: &mut Words) -> Outcome {
    let slow_start = words.option("--slow-start")?.unwrap_or(0);
    let variable = |key: &str| std::env::var(key).unwrap_or_default();
    if variable("LISTEN_PID") != std::process::id().to_string() {
        say(&format!("LISTEN_PID is `{}`", variable("LISTEN_PID")));
        return Ok(ExitCode::from(NOT_GIVEN));
    }
    let count = variable("LISTEN_FDS");
    if count.parse::<u32>().is_ok_and(|count| count == 0) || count.is_empty() {
        say(&format!("LISTEN_FDS is `{count}`"));
        return Ok(ExitCode::from(NOT_GIVEN));
    }
    pass(Duration::from_millis(slow_start));
    let socket = Socket::from(first_passed());
    if !socket.is_listener()? {
        return Err(format!("descriptor {FIRST} is not a listening socket").into());
    }
    let listener = TcpListener::from(socket);
    let names = variable("LISTEN_FDNAMES");
    let address = listener.local_addr()?;
    say(&format!("serving {address}, {count} as `{names}`"));
    serve(&listener);
    live()
}

#[expect(
    unsafe_code,
    reason = "that the number is a descriptor is a promise of whoever started us"
)]
fn first_passed() -> OwnedFd {
    // SAFETY: this program opens nothing before it calls this, and calls it once; what has the
    // number was passed, and is nobody else's. Where nothing was, every use of it fails.
    unsafe { OwnedFd::from_raw_fd(FIRST) }
}

fn reload(words: &mut Words) -> Outcome {
    let mode = words.then()?.into_arguments();
    let signals = blocked(&[Signal::SIGHUP, Signal::SIGTERM, Signal::SIGINT])?;
    let mut child = start(&mode)?;
    for number in 1.. {
        let signal = signals.wait()?;
        end(&mut child)?;
        if signal != Signal::SIGHUP {
            break;
        }
        child = start(&mode)?;
        say(&format!("reload {number}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn start(mode: &[String]) -> Result<Child, Failure> {
    Ok(Command::new(std::env::current_exe()?)
        .args(["with-open-ears", "--"])
        .args(mode)
        .stdin(Stdio::null())
        .spawn()?)
}

/// A child has the blocked signals of its parent.
fn with_open_ears(words: &mut Words) -> Outcome {
    SigSet::empty().thread_set_mask()?;
    crate::run(words.then()?)
}

fn end(child: &mut Child) -> Result<(), Failure> {
    // It may have ended already; it is not reaped before the `wait`, so the pid is still its own.
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM)?;
    child.wait()?;
    Ok(())
}
