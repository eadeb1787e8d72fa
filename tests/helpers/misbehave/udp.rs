//! What it does with UDP ports.
//!
//! ```text
//! udp PORT [--host H] [--reuseaddr] [--tcp]
//!                              answers every datagram with `pid PID TEXT`; says `listening on ADDRESS`;
//!                              with --tcp it serves HTTP on the same number, too
//! udp-ask HOST PORT TEXT       prints the answer; exits 1 where none comes
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::Outcome;
use crate::ports::serve_in_background;
use crate::prints::say;
use crate::words::Words;

/// How long to wait for one answer, and how many times to ask: datagrams may be lost.
const PATIENCE: Duration = Duration::from_millis(500);
const ASKED: u32 = 10;

pub(crate) fn run(mode: &str, words: &mut Words) -> Option<Outcome> {
    Some(match mode {
        "udp" => udp(words),
        "udp-ask" => udp_ask(words),
        _ => return None,
    })
}

fn udp(words: &mut Words) -> Outcome {
    let host: IpAddr = words
        .option("--host")?
        .unwrap_or(Ipv4Addr::LOCALHOST.into());
    let reuse = words.flag("--reuseaddr");
    let has_tcp = words.flag("--tcp");
    let address = SocketAddr::new(host, words.value("PORT")?);
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(host != IpAddr::V6(Ipv6Addr::UNSPECIFIED))?;
    }
    socket.set_reuse_address(reuse)?;
    socket
        .bind(&address.into())
        .map_err(|error| format!("cannot bind {address} for UDP: {error}"))?;
    let socket = UdpSocket::from(socket);
    if has_tcp {
        serve_in_background(address.port())?;
    }
    say(&format!("listening on {address} for UDP"));
    let mut buffer = [0; 1500];
    loop {
        let (length, client) = socket.recv_from(&mut buffer)?;
        let text = String::from_utf8_lossy(&buffer[..length]);
        let answer = format!("pid {} {text}", std::process::id());
        socket.send_to(answer.as_bytes(), client)?;
    }
}

fn udp_ask(words: &mut Words) -> Outcome {
    let host: IpAddr = words.value("HOST")?;
    let address = SocketAddr::new(host, words.value("PORT")?);
    let text = words.text("TEXT")?;
    let any: IpAddr = match host {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = [0; 1500];
    for _ in 0..ASKED {
        socket.send(text.as_bytes())?;
        // An error: nothing yet, or nobody is there.
        if let Ok(length) = socket.recv(&mut buffer) {
            say(&String::from_utf8_lossy(&buffer[..length]));
            return Ok(ExitCode::SUCCESS);
        }
    }
    Ok(ExitCode::FAILURE)
}
