//! What it does with ports.
//!
//! ```text
//! bind PORT [options]          listens; says `listening on ADDRESS`
//!   --host H                   127.0.0.1 unless told (`::` is dual-stack)
//!   --late MS                  only after MS
//!   --no-reuseaddr             strictly, as servers do that never set SO_REUSEADDR
//!   --no-listen                binds and leaves it at that
//!   --http                     answers GET with 200 and its pid, keeps connections alive
//!   --die-after MS             exits 1 after MS
//! bind-elsewhere               listens on a port of the kernel's choice, whatever it was given
//! steal PORT [--reuseaddr] [--tries N]
//!                              tries to bind PORT until it gets it, then listens: `stole PORT`;
//!                              exits 0 after N tries in vain
//! http-get HOST PORT PATH      prints `STATUS BODY`; exits 0 for 2xx and 3xx, 1 otherwise
//! keep-alive HOST PORT N       N connections with an answered request each, kept open; `kept N`
//! ```
//!
//! HTTP is the least that the tests need: a request is its head, an answer has a length.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::lives::{live, pass};
use crate::prints::say;
use crate::words::Words;
use crate::{Failure, Outcome};

/// How long a probe waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) fn run(mode: &str, words: &mut Words) -> Option<Outcome> {
    Some(match mode {
        "bind" => bind(words),
        "bind-elsewhere" => bind_elsewhere(),
        "steal" => steal(words),
        "http-get" => http_get(words),
        "keep-alive" => keep_alive(words),
        _ => return None,
    })
}

fn bind(words: &mut Words) -> Outcome {
    let host: IpAddr = words
        .option("--host")?
        .unwrap_or(Ipv4Addr::LOCALHOST.into());
    let late = words.option("--late")?.unwrap_or(0);
    let die_after: Option<u64> = words.option("--die-after")?;
    let reuse = !words.flag("--no-reuseaddr");
    let listens = !words.flag("--no-listen");
    let is_http = words.flag("--http");
    let address = SocketAddr::new(host, words.value("PORT")?);
    pass(Duration::from_millis(late));
    let socket = bound(address, reuse)?;
    if listens {
        socket.listen(128)?;
        say(&format!("listening on {address}"));
    } else {
        say(&format!("bound to {address}"));
    }
    if let Some(millis) = die_after {
        pass(Duration::from_millis(millis));
        return Ok(ExitCode::FAILURE);
    }
    if is_http {
        serve(&TcpListener::from(socket));
    }
    live()
}

/// A socket bound to `address`; `::` takes IPv4 as well.
fn bound(address: SocketAddr, reuse: bool) -> Result<Socket, Failure> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED))?;
    }
    socket.set_reuse_address(reuse)?;
    socket
        .bind(&address.into())
        .map_err(|error| format!("cannot bind {address}: {error}"))?;
    Ok(socket)
}

fn bind_elsewhere() -> Outcome {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    say(&format!("listening on {}", listener.local_addr()?));
    serve(&listener);
    live()
}

fn steal(words: &mut Words) -> Outcome {
    let reuse = words.flag("--reuseaddr");
    let tries = words.option("--tries")?.unwrap_or(u64::MAX);
    let port: u16 = words.value("PORT")?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    say("trying");
    for _ in 0..tries {
        // The `listen` is part of the theft: a port can be bound twice with SO_REUSEADDR.
        if let Ok(socket) = bound(address, reuse)
            && socket.listen(128).is_ok()
        {
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

fn serve(listener: &TcpListener) {
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || drop(answer(stream)));
    }
}

/// Answers every request of one connection.
fn answer(stream: TcpStream) -> Result<(), Failure> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    while let Some(head) = read_head(&mut reader)? {
        let body = format!("pid {}\n", std::process::id());
        let status = if head.contains(" /missing ") {
            "404 Not Found"
        } else {
            "200 OK"
        };
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(answer.as_bytes())?;
        if head.contains("connection: close") {
            break;
        }
    }
    Ok(())
}

/// Reads up to the empty line; `None` when the other side is done.
fn read_head(reader: &mut impl BufRead) -> Result<Option<String>, Failure> {
    let mut head = String::new();
    loop {
        let before = head.len();
        if reader.read_line(&mut head)? == 0 {
            return Ok(None);
        }
        if head[before..].trim_end().is_empty() {
            return Ok(Some(head));
        }
    }
}

fn connect(words: &mut Words) -> Result<TcpStream, Failure> {
    let host: IpAddr = words.value("HOST")?;
    let address = SocketAddr::new(host, words.value("PORT")?);
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn http_get(words: &mut Words) -> Outcome {
    let mut stream = connect(words)?;
    let path = words.text("PATH")?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status: u16 = head
        .split(' ')
        .nth(1)
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| format!("no HTTP answer: {head:?}"))?;
    say(&format!("{status} {}", body.trim_end()));
    Ok(ExitCode::from(u8::from(!(200..400).contains(&status))))
}

fn keep_alive(words: &mut Words) -> Outcome {
    let (host, port) = (words.text("HOST")?, words.value::<u16>("PORT")?);
    let count: usize = words.value("N")?;
    let address = SocketAddr::new(host.parse()?, port);
    let mut kept = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
        let mut reader = BufReader::new(stream);
        read_head(&mut reader)?.ok_or("the connection was closed")?;
        kept.push(reader);
    }
    say(&format!("kept {count}"));
    live()
}
