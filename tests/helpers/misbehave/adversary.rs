//! Somebody who wants every port, and keeps what he gets for a while.
//!
//! ```text
//! adversary FIRST-LAST MILLIS --seed S [--threads N]
//!                              goes over the range in random order, again and again, in N threads
//!                              (4), now strictly, now with SO_REUSEADDR, on 127.0.0.1, 0.0.0.0, ::1,
//!                              [::] and [::] for IPv6 alone; listens on what it gets, and answers
//!                              GET with its pid. Most it gives back after 5 to 200 ms, some never.
//! ```
//!
//! It says `seed S` first, then `stole PORT ADDRESS` and `let go PORT ADDRESS`; once MILLIS have
//! passed it steals no more: `done, N stolen`, then `kept PORT ADDRESS` for what it keeps, then
//! `that is all`; it keeps on serving that until it is ended.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use socket2::Socket;

use crate::Outcome;
use crate::http::Farewell;
use crate::lives::{live, pass};
use crate::ports::{Sharing, bound_to, serve_until};
use crate::prints::say;
use crate::words::Words;

/// How many ports it keeps for good.
const KEPT: usize = 10;

/// How many it has at one time, those included.
const AT_ONCE: usize = 30;

/// The addresses it tries, each with whether it is for IPv6 alone.
const ADDRESSES: [(IpAddr, bool); 5] = [
    (IpAddr::V4(Ipv4Addr::LOCALHOST), false),
    (IpAddr::V4(Ipv4Addr::UNSPECIFIED), false),
    (IpAddr::V6(Ipv6Addr::LOCALHOST), true),
    (IpAddr::V6(Ipv6Addr::UNSPECIFIED), false),
    (IpAddr::V6(Ipv6Addr::UNSPECIFIED), true),
];

pub(crate) fn run(mode: &str, words: &mut Words) -> Option<Outcome> {
    (mode == "adversary").then(|| adversary(words))
}

/// What all its threads share.
#[derive(Default)]
struct Loot {
    stolen: AtomicUsize,
    held: AtomicUsize,
    kept: Mutex<Vec<String>>,
}

fn adversary(words: &mut Words) -> Outcome {
    let seed: u64 = words.option("--seed")?.ok_or("--seed is missing")?;
    let threads: u64 = words.option("--threads")?.unwrap_or(4);
    let range = words.text("FIRST-LAST")?;
    let (first, last) = range.split_once('-').ok_or("a range is FIRST-LAST")?;
    let ports: Vec<u16> = (first.parse()?..=last.parse()?).collect();
    let end = Instant::now() + Duration::from_millis(words.value("MILLIS")?);
    say(&format!("seed {seed}"));
    // It serves to the end of the process, which no scope outlives.
    let loot: &Loot = Box::leak(Box::default());
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let mut chance = Chance::new(seed.wrapping_mul(threads).wrapping_add(thread));
            let ports = ports.clone();
            scope.spawn(move || go_over(ports, end, &mut chance, loot));
        }
    });
    // What is given back at all has been given back after this.
    let temporary = |loot: &Loot| loot.held.load(Ordering::SeqCst) > lock(&loot.kept).len();
    while temporary(loot) {
        pass(Duration::from_millis(5));
    }
    say(&format!(
        "done, {} stolen",
        loot.stolen.load(Ordering::SeqCst)
    ));
    for place in lock(&loot.kept).iter() {
        say(&format!("kept {place}"));
    }
    say("that is all");
    live()
}

fn go_over(mut ports: Vec<u16>, end: Instant, chance: &mut Chance, loot: &'static Loot) {
    while Instant::now() < end {
        chance.shuffle(&mut ports);
        for &port in &ports {
            if Instant::now() >= end {
                return;
            }
            attempt(port, chance, loot);
        }
        // The machine is also needed by those who are robbed.
        pass(Duration::from_millis(1));
    }
}

fn attempt(port: u16, chance: &mut Chance, loot: &'static Loot) {
    let (host, only_v6) = ADDRESSES[chance.below(ADDRESSES.len())];
    let sharing = [Sharing::Strict, Sharing::ReuseAddress][chance.below(2)];
    if loot.held.load(Ordering::SeqCst) >= AT_ONCE {
        return;
    }
    let address = SocketAddr::new(host, port);
    let Ok(socket) = bound_to(address, sharing, only_v6) else {
        return;
    };
    if socket.listen(16).is_err() {
        return;
    }
    let time = Duration::from_millis(5 + chance.below(196) as u64);
    let place = match (host, only_v6) {
        (IpAddr::V6(Ipv6Addr::UNSPECIFIED), true) => format!("{port} :: alone"),
        (host, _) => format!("{port} {host}"),
    };
    loot.held.fetch_add(1, Ordering::SeqCst);
    loot.stolen.fetch_add(1, Ordering::SeqCst);
    let is_kept = chance.below(8) == 0 && keep(loot, &place);
    say(&format!("stole {place}"));
    std::thread::spawn(move || hold(socket, &place, (!is_kept).then_some(time), loot));
}

/// Notes that a port is kept for good, if there is room for one more.
fn keep(loot: &Loot, place: &str) -> bool {
    let mut kept = lock(&loot.kept);
    let has_room = kept.len() < KEPT;
    if has_room {
        kept.push(place.to_owned());
    }
    has_room
}

fn hold(socket: Socket, place: &str, time: Option<Duration>, loot: &Loot) {
    let until = time.map(|time| Instant::now() + time);
    let is_over = || until.is_some_and(|until| Instant::now() >= until);
    // It only fails with what is gone anyway. What it gives back is to be free at once.
    drop(serve_until(socket, Farewell::Wait, is_over));
    say(&format!("let go {place}"));
    loot.held.fetch_sub(1, Ordering::SeqCst);
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Numbers that look random and are the same for the same seed (Weyl sequence and a mix of bits).
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        bits = (bits ^ (bits >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        bits ^ (bits >> 32)
    }

    /// A number from 0 to `bound`, which is small, without it.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap_or(0)
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}
