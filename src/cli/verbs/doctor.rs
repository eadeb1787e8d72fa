//! `stack doctor`: what is wrong around the stacks of this user, wherever they are, and with `--fix`
//! mended.

use std::path::Path;

use nix::errno::Errno;
use nix::sys::inotify::{InitFlags, Inotify};
use nix::sys::resource::{Resource, getrlimit};

use super::ground::reap;
use crate::cli::args::DoctorArgs;
use crate::cli::exit::{ExitCode, Stop};
use crate::cli::invocation::Invocation;
use crate::cli::printer;
use crate::ports::LedgerWarning;
use crate::ports::request::Owner;
use crate::run::instance::{Holder, Instance, LockAttempt, all_holders};
use crate::run::leftovers::{self, Leftovers, Orphans, Reaper};
use crate::run::socket;
use crate::support::name::ProjectName;
use crate::support::text;

/// Below how many open files a stack of some size does not start.
const FEW_FILES: u64 = 1024;

/// Something that is wrong.
struct Finding {
    /// What.
    what: String,
    /// What to do about it, where `--fix` cannot.
    hint: Option<String>,
    /// What mends it.
    fix: Option<Fix>,
}

/// What `--fix` does.
enum Fix {
    /// Ends what nobody supervises.
    End(Orphans),
    /// Removes what a killed supervisor has left in a directory.
    Tidy(Instance),
    /// Leaves out what is of no use in the ledger.
    Ledger,
}

/// Looks, and mends. Exits 1 if something is wrong and stays so.
pub fn doctor(invocation: &Invocation, args: &DoctorArgs) -> Result<ExitCode, Stop> {
    let (stacks, warnings) = invocation.ledger().stacks();
    // Before the leases are removed, which tell how each process is to be ended.
    let mut findings: Vec<Finding> = leftovers::orphans().into_iter().map(orphaned).collect();
    findings.extend(all_holders().iter().flat_map(suspended));
    findings.extend(stale(invocation, &stacks));
    findings.extend(warnings.into_iter().map(|warning| Finding {
        what: warning.to_string(),
        hint: Some(warning.hint().to_owned()),
        fix: matches!(warning, LedgerWarning::Damaged { .. }).then_some(Fix::Ledger),
    }));
    findings.extend(exhausted());
    let mut is_wrong = false;
    for finding in &findings {
        printer::say_out(&finding.what)?;
        match &finding.fix {
            Some(fix) if args.fix => match mend(invocation, fix) {
                Ok(done) => printer::say_out(&format!("  {done}"))?,
                Err(reason) => {
                    is_wrong = true;
                    printer::say_out(&format!("  not mended: {reason}"))?;
                }
            },
            fix => {
                is_wrong = true;
                let by_flag = fix
                    .as_ref()
                    .map(|_| "`stack doctor --fix` mends it".to_owned());
                if let Some(hint) = by_flag.or_else(|| finding.hint.clone()) {
                    printer::say_out(&format!("  hint: {hint}"))?;
                }
            }
        }
    }
    if findings.is_empty() {
        printer::say_out("nothing is wrong")?;
    }
    Ok(if is_wrong {
        ExitCode::Failed
    } else {
        ExitCode::Done
    })
}

fn orphaned(orphans: Orphans) -> Finding {
    if orphans.pids.is_empty() {
        return Finding {
            what: format!(
                "stack `{}` was killed, and its control group is left",
                orphans.project
            ),
            hint: None,
            fix: Some(Fix::End(orphans)),
        };
    }
    let count = text::count_of(orphans.pids.len(), "process", "processes");
    let (runs, them) = match orphans.pids.len() {
        1 => ("runs", "it"),
        _ => ("run", "them"),
    };
    Finding {
        what: format!(
            "{count} of stack `{}` {runs} on, and nobody supervises {them}: pid {}",
            orphans.project,
            text::list(&orphans.pids)
        ),
        hint: None,
        fix: Some(Fix::End(orphans)),
    }
}

/// Who does nothing for a stack that runs.
fn suspended(holder: &Holder) -> impl Iterator<Item = Finding> {
    let supervisor = ("supervisor", holder.supervisor_pid);
    let guardian = ("guardian", holder.guardian_pid);
    let is_supervisor = holder.is_supervisor_suspended().then_some(supervisor);
    let is_guardian = holder.is_guardian_suspended().then_some(guardian);
    let both = is_supervisor.into_iter().chain(is_guardian);
    both.map(|(who, pid)| Finding {
        what: format!(
            "the {who} of stack `{}` (pid {pid}) is suspended",
            holder.project
        ),
        hint: Some(format!("`kill -CONT {pid}` lets it go on")),
        fix: None,
    })
}

/// What killed supervisors have left in directories, and stacks whose directories are gone.
fn stale(invocation: &Invocation, stacks: &[(Owner, bool)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (owner, is_there) in stacks {
        let Ok(project) = ProjectName::new(&owner.project) else {
            continue;
        };
        let instance = Instance::new(project, owner.project_dir.clone(), &invocation.state_dir);
        if *is_there && instance.lease_path().exists() && !instance.is_locked() {
            findings.push(Finding {
                what: format!(
                    "stack `{}` in {} was killed, and its files say that it runs",
                    owner.project,
                    owner.project_dir.display()
                ),
                hint: None,
                fix: Some(Fix::Tidy(instance)),
            });
        }
    }
    let gone = stacks.iter().filter(|(_, is_there)| !is_there).count();
    if gone > 0 {
        let stacks = match gone {
            1 => "1 stack whose directory is".to_owned(),
            _ => format!("{gone} stacks whose directories are"),
        };
        findings.push(Finding {
            what: format!("ports are remembered for {stacks} gone"),
            hint: None,
            fix: Some(Fix::Ledger),
        });
    }
    findings
}

/// What the machine is short of.
fn exhausted() -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut short = |what: String, hint: &str| {
        findings.push(Finding {
            what,
            hint: Some(hint.to_owned()),
            fix: None,
        });
    };
    if let Err(Errno::EMFILE) = Inotify::init(InitFlags::IN_CLOEXEC) {
        short(
            "no further inotify instance can be had: services that watch files may fail".to_owned(),
            "raise fs.inotify.max_user_instances (sysctl), or end programs that watch files",
        );
    }
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && hard < FEW_FILES
    {
        short(
            format!("a process may open {soft} files, and {hard} at most"),
            "raise the hard limit (`ulimit -Hn`): each service takes up to six",
        );
    }
    if let Some((used, most)) = open_files(Path::new("/proc/sys/fs/file-nr"))
        && used > most / 10 * 9
    {
        short(
            format!("of the {most} files that this machine can open {used} are open"),
            "raise fs.file-max (sysctl)",
        );
    }
    findings
}

/// How many files are open on the machine, and how many can be (proc(5)).
fn open_files(path: &Path) -> Option<(u64, u64)> {
    let text = fs_err::read_to_string(path).ok()?;
    let mut numbers = text.split_ascii_whitespace();
    let used = numbers.next()?.parse().ok()?;
    Some((used, numbers.nth(1)?.parse().ok()?))
}

/// Mends something: what was done, or why not.
fn mend(invocation: &Invocation, fix: &Fix) -> Result<String, String> {
    match fix {
        Fix::End(orphans) => {
            let done = ended(Reaper::of(orphans))?;
            if orphans.is_group_left() {
                return Err("its control group cannot be removed".to_owned());
            }
            Ok(done)
        }

        Fix::Tidy(instance) => match instance.lock() {
            Err(error) => Err(error.to_string()),
            Ok(LockAttempt::Busy(_) | LockAttempt::Hidden(_)) => {
                Ok("it was started meanwhile".to_owned())
            }
            Ok(LockAttempt::Acquired(lock)) => {
                let leases = instance.lease_path();
                let done = Reaper::new(&instance.id, &leases, None).map(ended);
                done.transpose()?;
                let removed = fs_err::remove_file(&leases)
                    .and_then(|()| socket::remove(&instance.dir.join("control.sock")));
                drop(lock);
                removed.map_err(|error| error.to_string())?;
                Ok("removed them".to_owned())
            }
        },
        Fix::Ledger => {
            let warnings = invocation.ledger().clean();
            match warnings.first() {
                None => Ok("forgot what is of no use".to_owned()),
                Some(warning) => Err(warning.to_string()),
            }
        }
    }
}

fn ended(reaper: Reaper) -> Result<String, String> {
    let Leftovers { ended, remaining } = reap(reaper);
    let count = |number| text::count_of(number, "process", "processes");
    if remaining.is_empty() && ended == 0 {
        Ok("nothing of that is left".to_owned())
    } else if remaining.is_empty() {
        Ok(format!("ended {}", count(ended)))
    } else {
        let pids = text::list(&remaining);
        Err(format!(
            "{} did not end: pid {pids}",
            count(remaining.len())
        ))
    }
}
