//! HTTP, the least that the tests need: a request is its head, an answer has a length.
//!
//! ```text
//! http-get HOST PORT PATH      prints `STATUS BODY`; exits 0 for 2xx and 3xx, 1 otherwise
//! keep-alive HOST PORT N       N connections with an answered request each, kept open; `kept N`
//! clients HOST PORT N FILE     N clients, each asking on one connection after the other until FILE
//!                              exists; prints `answered A, refused R, cut C`: refused at connecting,
//!                              or cut off while it waited for its answer
//! ```
//!
//! A server answers with `pid PID`, its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crate::lives::live;
use crate::prints::say;
use crate::words::Words;
use crate::{Failure, Outcome};

/// How long a probe waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a client that queues waits for an answer: a restart stands between.
const QUEUE_PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn run(mode: &str, words: &mut Words) -> Option<Outcome> {
    Some(match mode {
        "http-get" => http_get(words),
        "keep-alive" => keep_alive(words),
        "clients" => clients(words),
        _ => return None,
    })
}

/// Serves for ever.
pub(crate) fn serve(listener: &TcpListener) {
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || drop(answer(stream, Farewell::Close)));
    }
}

/// What a server does with a connection whose client wants no more of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// Closes it, as servers do; the kernel then keeps the port for a minute from who does not set
    /// `SO_REUSEADDR`.
    Close,
    /// Leaves that to the client, so that nothing of it stays on the port.
    Wait,
}

/// Answers every request of one connection.
pub(crate) fn answer(stream: TcpStream, farewell: Farewell) -> Result<(), Failure> {
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
        if farewell == Farewell::Close && head.contains("connection: close") {
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

fn address(words: &mut Words) -> Result<SocketAddr, Failure> {
    let host: IpAddr = words.value("HOST")?;
    Ok(SocketAddr::new(host, words.value("PORT")?))
}

fn http_get(words: &mut Words) -> Outcome {
    let address = address(words)?;
    let path = words.text("PATH")?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let (status, body) = ask(&mut stream, &path)?;
    say(&format!("{status} {}", body.trim_end()));
    Ok(ExitCode::from(u8::from(!(200..400).contains(&status))))
}

/// Asks once, on a connection that is closed after it: status and body.
fn ask(stream: &mut TcpStream, path: &str) -> Result<(u16, String), Failure> {
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    )?;
    let mut reader = BufReader::new(stream);
    let head = read_head(&mut reader)?.unwrap_or_default();
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, length)| length.trim().parse().ok());
    let mut body = Vec::new();
    // Without a length, the end of the connection is the end of the answer.
    reader
        .take(length.unwrap_or(u64::MAX))
        .read_to_end(&mut body)?;
    let status: u16 = head
        .split(' ')
        .nth(1)
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| format!("no HTTP answer: {head:?}"))?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

fn keep_alive(words: &mut Words) -> Outcome {
    let address = address(words)?;
    let count: usize = words.value("N")?;
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

/// What came of the requests of one client or of all.
#[derive(Default)]
struct Tally {
    answered: u64,
    refused: u64,
    cut: u64,
}

fn clients(words: &mut Words) -> Outcome {
    let address = address(words)?;
    let count: usize = words.value("N")?;
    let file = words.text("FILE")?;
    let client = || {
        let mut tally = Tally::default();
        while !Path::new(&file).exists() {
            tally.count(address);
        }
        tally
    };
    say("asking");
    let tallies: Vec<Tally> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(client)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_default())
            .collect()
    });
    let sum = |part: fn(&Tally) -> u64| tallies.iter().map(part).sum::<u64>();
    let (answered, refused, cut) = (
        sum(|tally| tally.answered),
        sum(|tally| tally.refused),
        sum(|tally| tally.cut),
    );
    say(&format!(
        "answered {answered}, refused {refused}, cut {cut}"
    ));
    Ok(ExitCode::SUCCESS)
}

impl Tally {
    fn count(&mut self, address: SocketAddr) {
        let Ok(mut stream) = TcpStream::connect_timeout(&address, QUEUE_PATIENCE) else {
            self.refused += 1;
            return;
        };
        let asked = stream
            .set_read_timeout(Some(QUEUE_PATIENCE))
            .map_err(Failure::from)
            .and_then(|()| ask(&mut stream, "/"));
        match asked {
            Ok(_) => self.answered += 1,
            Err(_) => self.cut += 1,
        }
    }
}
