//! `stack doctor`: what is wrong around the stacks of this user, wherever they are, and with `--fix`
//! mended.

use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::inotify::{InitFlags, Inotify};
use nix::sys::resource::{Resource, getrlimit};

use super::ground::{on_its_own, reap};
use crate::cli::args::DoctorArgs;
use crate::cli::exit::{ExitCode, Stop};
use crate::cli::invocation::Invocation;
use crate::cli::printer;
use crate::ports::LedgerWarning;
use crate::ports::request::Owner;
use crate::run::instance::{Holder, Instance, LockAttempt, all_holders};
use crate::run::leftovers::{self, Leftovers, Orphans, Reaper};
use crate::run::registry::{Registration, Stray, strays};
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
    /// Removes what a killed supervisor has left in a directory, and in the registry.
    Tidy(Instance, Option<Registration>),
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
    Finding {
        what: on_its_own(&orphans),
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
    let mut known: Vec<String> = Vec::new();
    for stray in strays(invocation.registry().all()) {
        match stray {
            Stray::Killed(registration) => {
                known.push(registration.instance.id.clone());
                findings.push(killed(&registration.instance.clone(), Some(registration)));
            }
            // It notices that, and ends by itself.
            Stray::Homeless(_) => {}
        }
    }
    for (owner, is_there) in stacks {
        let Ok(project) = ProjectName::new(&owner.project) else {
            continue;
        };
        let instance = Instance::new(project, owner.project_dir.clone(), &invocation.state_dir);
        let is_left = || instance.lease_path().exists() && !instance.is_locked();
        if *is_there && !known.contains(&instance.id) && is_left() {
            findings.push(killed(&instance, None));
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

/// A stack whose end nobody has noted.
fn killed(instance: &Instance, registration: Option<Registration>) -> Finding {
    let (project, place) = (&instance.project, instance.project_dir.display());
    let what = if !instance.project_dir.exists() {
        format!("stack `{project}` was killed, and its directory {place} is gone")
    } else if instance.lease_path().exists() && !instance.is_locked() {
        format!("stack `{project}` in {place} was killed, and its files say that it runs")
    } else {
        format!("stack `{project}` in {place} was killed, and has lost its files")
    };
    Finding {
        what,
        hint: None,
        fix: Some(Fix::Tidy(instance.clone(), registration)),
    }
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

        Fix::Tidy(instance, registration) => {
            if let Some(registration) = registration {
                ended(Reaper::of_registration(registration, None))?;
            }
            let done = tidy(instance)?;
            registration.as_ref().inspect(|it| it.forget());
            Ok(done)
        }
        Fix::Ledger => {
            let warnings = invocation.ledger().clean();
            match warnings.first() {
                None => Ok("forgot what is of no use".to_owned()),
                Some(warning) => Err(warning.to_string()),
            }
        }
    }
}

/// Removes what a killed supervisor has left in its directory.
fn tidy(instance: &Instance) -> Result<String, String> {
    if !instance.dir.is_dir() {
        return Ok("forgot it".to_owned());
    }
    match instance.lock() {
        Err(error) => Err(error.to_string()),
        Ok(LockAttempt::Busy(_) | LockAttempt::Hidden(_)) => {
            Ok("it was started meanwhile".to_owned())
        }
        Ok(LockAttempt::Acquired(lock)) => {
            let leases = instance.lease_path();
            let done = Reaper::new(&instance.id, &leases, None).map(ended);
            done.transpose()?;
            let removed = match fs_err::remove_file(&leases) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                removed => removed,
            };
            let removed = removed.and_then(|()| socket::remove(&instance.dir.join("control.sock")));
            instance.clear_out();
            drop(lock);
            removed.map_err(|error| error.to_string())?;
            Ok("removed them".to_owned())
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
