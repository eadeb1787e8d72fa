//! One round: what is done in it, and what must hold at its end.

use std::collections::BTreeMap;
use std::fmt;
use std::process::Child;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::machine::{self, Watcher};
use crate::project::Project;
use crate::random::Random;

/// How long a command may take beside the grace periods. A round has the machine not for itself.
const MARGIN: Duration = Duration::from_secs(3);

/// How long any single command may take before it counts as one that hangs.
const HANGS: Duration = Duration::from_secs(60);

/// What `docs/guide/running.md` promises; 2 would be a mistake of this program, unless a command names
/// a service that only another edition of the file has.
const CODES: [i32; 7] = [0, 1, 3, 4, 5, 130, 143];

/// What was done, over all rounds.
#[derive(Default)]
pub(crate) struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self
            .0
            .iter()
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        f.write_str(&parts.join(", "))
    }
}

/// Runs a round; what was wrong with it. The directory of one that failed stays.
pub(crate) fn run(seed: u64, watcher: &Watcher, own_mounts: bool) -> (Tally, Result<(), String>) {
    let mut random = Random::new(seed);
    let mut tally = Tally::default();
    let outcome = Project::new(&mut random, own_mounts)
        .map_err(|error| error.to_string())
        .and_then(|project| {
            let outcome = disturb(&project, &mut random, &mut tally)
                .and_then(|()| settle(&project, &mut tally))
                .and_then(|()| watcher.seen(&project.path()).map_or(Ok(()), Err));
            outcome.map_err(|what| {
                let said = project.said();
                let place = project.keep();
                format!("{what}\n  in {}\n{said}", place.display())
            })
        });
    (tally, outcome)
}

/// Commands and kills.
fn disturb(project: &Project, random: &mut Random, tally: &mut Tally) -> Result<(), String> {
    let mut clients: Vec<Child> = Vec::new();
    let mut is_full = true;
    for _ in 0..6 + random.below(8) {
        match random.below(11) {
            0..=6 => {
                let service = random.one(&project.services).as_str();
                let words: &[&str] = match random.below(9) {
                    0 | 1 => &["up", "-d"],
                    2 => &["up", "--wait", "--wait-timeout", "2"],
                    3 => &["up"],
                    4 => &["restart", service],
                    5 => &["stop", service],
                    6 => &["start", service],
                    7 => &["ps"],
                    _ => &["down"],
                };
                tally.count("commands");
                clients.push(project.stack(words).map_err(|error| error.to_string())?);
            }
            7 if project.fill(is_full) => {
                tally.count(if is_full {
                    "full disks"
                } else {
                    "disks with room again"
                });
                is_full = !is_full;
            }
            8 => {
                if project.edit(random).map_err(|error| error.to_string())? {
                    tally.count("edits");
                }
            }
            _ => strike(project, random, &clients, tally),
        }
        std::thread::sleep(Duration::from_millis(random.below(150)));
        if clients.len() > 3 {
            let client = clients.remove(0);
            // A foreground `up` ends by nothing but a signal.
            if random.once_in(2) {
                signal(client.id().cast_signed(), Signal::SIGINT);
                end(project, client, tally)?;
            } else {
                clients.push(client);
            }
        }
    }
    project.fill(false);
    // Whatever still waits hears of the end.
    let down = project
        .stack(&["down"])
        .map_err(|error| error.to_string())?;
    end(project, down, tally)?;
    for client in clients {
        signal(client.id().cast_signed(), Signal::SIGINT);
        end(project, client, tally)?;
    }
    Ok(())
}

/// Kills somebody.
fn strike(project: &Project, random: &mut Random, clients: &[Child], tally: &mut Tally) {
    let both = ["guardian_pid", "supervisor_pid"];
    let (what, pids): (_, Vec<Option<i32>>) = match random.below(5) {
        0 => ("supervisors killed", vec![project.holder("supervisor_pid")]),
        1 => ("guardians killed", vec![project.holder("guardian_pid")]),
        2 => (
            "of both killed",
            both.map(|key| project.holder(key)).to_vec(),
        ),
        3 if !clients.is_empty() => {
            let client = random.one(clients).id().cast_signed();
            ("clients killed", vec![Some(client)])
        }
        _ => {
            let mut processes = machine::of(&project.path());
            processes.retain(|process| process.run.is_some());
            let pid = (!processes.is_empty()).then(|| random.one(&processes).pid);
            ("services killed", vec![pid])
        }
    };
    for pid in pids.into_iter().flatten() {
        // What the lock of an earlier run names may be anybody by now.
        if machine::of(&project.path())
            .iter()
            .any(|process| process.pid == pid)
        {
            tally.count(what);
            signal(pid, Signal::SIGKILL);
        }
    }
}

/// The end, and what must hold then.
fn settle(project: &Project, tally: &mut Tally) -> Result<(), String> {
    let started = |words: &[&str]| project.stack(words).map_err(|error| error.to_string());
    for words in [&["down"][..], &["up", "-d"], &["down"]] {
        let begun = Instant::now();
        let code = end(project, started(words)?, tally)?;
        let verb = words[0];
        let allowed: &[Option<i32>] = if verb == "down" {
            &[Some(0)]
        } else {
            &[Some(0), Some(1)]
        };
        if !allowed.contains(&code) {
            return Err(format!("`stack {verb}` at the end exited with {code:?}"));
        }
        if verb == "down" {
            if begun.elapsed() > project.graces.get() + MARGIN {
                return Err(format!("`stack down` took {:?}", begun.elapsed()));
            }
            let left = machine::of(&project.path());
            if !left.is_empty() {
                return Err(format!("left after `stack down`: {left:?}"));
            }
            if let Some(group) = project.group() {
                return Err(format!("left after `stack down`: {}", group.display()));
            }
        }
        if let Some(fault) = project.fault_in_dotenv() {
            return Err(fault);
        }
    }
    Ok(())
}

/// Waits for a client, whose exit code must be one that is documented.
fn end(project: &Project, mut client: Child, tally: &mut Tally) -> Result<Option<i32>, String> {
    let begun = Instant::now();
    loop {
        match client.try_wait() {
            Ok(Some(status)) => {
                let code = status.code();
                // Without a code it was killed here.
                let is_unknown = code == Some(2) && project.is_edited.get();
                return if is_unknown || code.is_none_or(|code| CODES.contains(&code)) {
                    Ok(code)
                } else {
                    Err(format!("a client exited with {code:?}"))
                };
            }
            Ok(None) if begun.elapsed() > HANGS => {
                tally.count("clients that hung");
                signal(client.id().cast_signed(), Signal::SIGKILL);
                drop(client.wait());
                return Err("a client hung".to_owned());
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn signal(pid: i32, signal: Signal) {
    // It may have ended in this moment.
    let _ = kill(Pid::from_raw(pid), signal);
}
