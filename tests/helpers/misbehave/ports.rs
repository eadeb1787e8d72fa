//! What it does with TCP ports.
//!
//! ```text
//! bind PORT [options]          listens; says `listening on ADDRESS`
//!   --host H                   127.0.0.1 unless told (`::` is dual-stack)
//!   --only-v6                  `::` without IPv4
//!   --late MS                  only after MS
//!   --no-reuseaddr             strictly, as servers do that never set SO_REUSEADDR
//!   --reuseport-only           with SO_REUSEPORT instead of SO_REUSEADDR
//!   --no-listen                binds and leaves it at that
//!   --http                     answers GET with 200 and its pid, keeps connections alive
//!   --die-after MS             exits 1 after MS
//!   --silent                   prints nothing
//! and where the port is taken (70, with an error like others print it, unless told):
//!   --exit-when-taken CODE     exits with CODE; `next dev` and a node cluster's primary: 0
//!   --stay-when-taken          lives on without a port, as `nc.traditional` does
//!   --unnamed                  complains as Python does, without the port
//!   --move-on                  tries the next port, and so on, as vite does without strictPort
//! bind-elsewhere               listens on a port of the kernel's choice, whatever it was given
//! steal PORT [--reuseaddr] [--tries N]
//!                              tries to bind PORT until it gets it, then listens: `stole PORT`;
//!                              exits 0 after N tries in vain
//! rebind PORT [--host H]       serves HTTP; on SIGHUP closes its listener and binds again, in place
//! drain PORT                   listens; on SIGTERM it closes its listener, says `draining`, and lives on
//! outgoing PORT N              N connections to itself on PORT, all kept: `connected N`
//! ```

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use socket2::{Domain, Socket, Type};

use crate::http::{Farewell, answer, serve};
use crate::lives::{blocked, live, pass};
use crate::prints::say;
use crate::words::Words;
use crate::{Failure, Outcome};

/// How many ports a server tries that moves on.
const MOVES: u16 = 20;

/// How long a server that can be told something sleeps between two looks.
const LOOK: Duration = Duration::from_millis(5);

pub(crate) fn run(mode: &str, words: &mut Words) -> Option<Outcome> {
    Some(match mode {
        "bind" => bind(words),
        "bind-elsewhere" => bind_elsewhere(),
        "steal" => steal(words),
        "rebind" => rebind(words),
        "drain" => drain(words),
        "outgoing" => outgoing(words),
        _ => return None,
    })
}

/// The options of a socket that decide who may have its port beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    Strict,
    ReuseAddress,
    ReusePort,
}

fn bind(words: &mut Words) -> Outcome {
    let host: IpAddr = words
        .option("--host")?
        .unwrap_or(Ipv4Addr::LOCALHOST.into());
    let late = words.option("--late")?.unwrap_or(0);
    let die_after: Option<u64> = words.option("--die-after")?;
    let exit_when_taken: Option<u8> = words.option("--exit-when-taken")?;
    let stays_when_taken = words.flag("--stay-when-taken");
    let moves_on = words.flag("--move-on");
    let is_unnamed = words.flag("--unnamed");
    let is_strict = words.flag("--no-reuseaddr");
    let has_reuseport = words.flag("--reuseport-only");
    let listens = !words.flag("--no-listen");
    let only_v6 = words.flag("--only-v6");
    let is_http = words.flag("--http");
    let is_silent = words.flag("--silent");
    let address = SocketAddr::new(host, words.value("PORT")?);
    let sharing = match (is_strict, has_reuseport) {
        (false, false) => Sharing::ReuseAddress,
        (true, false) => Sharing::Strict,
        (_, true) => Sharing::ReusePort,
    };
    let tell = |line: &str| {
        if !is_silent {
            say(line);
        }
    };
    pass(Duration::from_millis(late));
    let moves = if moves_on { MOVES } else { 0 };
    let take = |address: SocketAddr| {
        let only_v6 = only_v6 || !address.ip().is_unspecified();
        let socket = bound_to(address, sharing, only_v6)?;
        if listens {
            socket.listen(128)?;
        }
        Ok(socket)
    };
    let socket = match first_free(address, moves, take) {
        Ok(socket) => socket,
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_unnamed => {
            return Err(format!("OSError: [Errno 98] {error}").into());
        }
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            tell(&format!("cannot bind {address}: address already in use"));
            match exit_when_taken {
                Some(code) => return Ok(ExitCode::from(code)),
                None if stays_when_taken => live(),
                None if is_silent => return Ok(ExitCode::from(70)),
                None => return Err(format!("cannot bind {address}: {error}").into()),
            }
        }
        Err(error) => return Err(format!("cannot bind {address}: {error}").into()),
    };
    let verb = if listens { "listening on" } else { "bound to" };
    let got = socket.local_addr()?.as_socket().unwrap_or(address);
    tell(&format!("{verb} {got}"));
    let listener = TcpListener::from(socket);
    if let Some(millis) = die_after {
        if is_http {
            let listener = listener.try_clone()?;
            std::thread::spawn(move || serve(&listener));
        }
        pass(Duration::from_millis(millis));
        return Ok(ExitCode::FAILURE);
    }
    if is_http {
        serve(&listener);
    }
    live()
}

/// The first of `address` and the `moves` ports after it that is to be had.
fn first_free(
    address: SocketAddr,
    moves: u16,
    take: impl Fn(SocketAddr) -> std::io::Result<Socket>,
) -> std::io::Result<Socket> {
    let mut outcome = take(address);
    for step in 1..=moves {
        match outcome {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                outcome = take(SocketAddr::new(address.ip(), address.port() + step));
            }
            Ok(_) | Err(_) => break,
        }
    }
    outcome
}

/// A socket bound to `address`.
pub(crate) fn bound_to(
    address: SocketAddr,
    sharing: Sharing,
    only_v6: bool,
) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    match sharing {
        Sharing::Strict => {}
        Sharing::ReuseAddress => socket.set_reuse_address(true)?,
        Sharing::ReusePort => socket.set_reuse_port(true)?,
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// A socket that listens on `address`; `::` takes IPv4 as well. With `SO_REUSEADDR` a port can be
/// bound twice, so the `listen` is a part of having it.
fn taken(address: SocketAddr, sharing: Sharing) -> std::io::Result<Socket> {
    let socket = bound_to(address, sharing, !address.ip().is_unspecified())?;
    socket.listen(128)?;
    Ok(socket)
}

fn bind_elsewhere() -> Outcome {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    say(&format!("listening on {}", listener.local_addr()?));
    serve(&listener);
    live()
}

fn steal(words: &mut Words) -> Outcome {
    let sharing = if words.flag("--reuseaddr") {
        Sharing::ReuseAddress
    } else {
        Sharing::Strict
    };
    let tries = words.option("--tries")?.unwrap_or(u64::MAX);
    let port: u16 = words.value("PORT")?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    say("trying");
    for _ in 0..tries {
        if let Ok(socket) = taken(address, sharing) {
            say(&format!("stole {port}"));
            serve(&TcpListener::from(socket));
        }
        std::thread::yield_now();
    }
    Ok(ExitCode::SUCCESS)
}

/// Serves HTTP on `port` of 127.0.0.1 beside whatever else the process does.
pub(crate) fn serve_in_background(port: u16) -> Result<(), Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    say(&format!("listening on {}", listener.local_addr()?));
    std::thread::spawn(move || serve(&listener));
    Ok(())
}

/// Serves until `is_over` says so. The port is given back when this returns: no thread waits in
/// `accept` with the socket in its hands.
pub(crate) fn serve_until(
    socket: Socket,
    farewell: Farewell,
    is_over: impl Fn() -> bool,
) -> Result<(), Failure> {
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from(socket);
    while !is_over() {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                std::thread::spawn(move || drop(answer(stream, farewell)));
            }
            // Nobody asks at the moment, or the client has gone already.
            Err(_) => pass(LOOK),
        }
    }
    Ok(())
}

fn rebind(words: &mut Words) -> Outcome {
    let host: IpAddr = words
        .option("--host")?
        .unwrap_or(Ipv4Addr::LOCALHOST.into());
    let address = SocketAddr::new(host, words.value("PORT")?);
    let asked = Arc::new(AtomicBool::new(false));
    let signals = blocked(&[Signal::SIGHUP])?;
    let flag = Arc::clone(&asked);
    std::thread::spawn(move || {
        while signals.wait().is_ok() {
            flag.store(true, Ordering::SeqCst);
        }
    });
    for number in 1.. {
        let socket = taken(address, Sharing::ReuseAddress)
            .map_err(|error| format!("cannot bind {address}: {error}"))?;
        say(&format!("listening on {address} ({number})"));
        serve_until(socket, Farewell::Close, || {
            asked.swap(false, Ordering::SeqCst)
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

fn drain(words: &mut Words) -> Outcome {
    let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), words.value("PORT")?);
    let signals = blocked(&[Signal::SIGTERM])?;
    let socket = taken(address, Sharing::ReuseAddress)
        .map_err(|error| format!("cannot bind {address}: {error}"))?;
    say(&format!("listening on {address}"));
    signals.wait()?;
    drop(socket);
    say("draining");
    live()
}

fn outgoing(words: &mut Words) -> Outcome {
    let port: u16 = words.value("PORT")?;
    let count: usize = words.value("N")?;
    crate::wrappers::raise_file_limit()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let address = listener.local_addr()?;
    let mut kept = Vec::with_capacity(2 * count);
    for _ in 0..count {
        kept.push(TcpStream::connect(address)?);
        kept.push(listener.accept()?.0);
    }
    say(&format!("connected {count}"));
    live()
}
