//! Commands that a client begins in the place of a unit, with what its hooks have: environment,
//! directory, user and limits. They are the client's own, which has to wait for them.

use std::ffi::OsStr;
use std::io::{PipeReader, pipe};
use std::os::fd::AsFd;
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};

use super::refusals::{find, refused, spawn_error, spawn_or_by_shell};
use crate::plan::model::{Execution, UnitPlan};
use crate::ports::original_soft_limit;
use crate::run::process::{Spawner, Stdio, Target};
use crate::run::reason::{StartError, StartStep};
use crate::run::rights::Granted;

/// Begins a command, without these variables. Returns its pid, by which its session and its group are
/// called as well, and what it prints.
pub(crate) fn begin_apart(
    plan: &UnitPlan,
    execution: &Execution,
    without: &[&str],
) -> Result<(i32, PipeReader), StartError> {
    // This process may be anywhere: no path is a shorter one from there.
    let program = find(plan, execution, Path::new(""))?;
    let granted = Granted::to(plan)?;
    let no_pipe = |error: std::io::Error| refused(StartStep::Pipe, &program, &error);
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    let limit = (original_soft_limit().unwrap_or(soft), hard);
    let mut spawner = Spawner::new(limit, None).map_err(no_pipe)?;
    spawner.note_signals();
    let (reader, writer) = pipe().map_err(no_pipe)?;
    granted.give_pipes([writer.as_fd()]);
    let mut environment = plan.environment.entries();
    environment.retain(|(key, _)| !without.iter().any(|it| OsStr::new(it) == *key));
    granted.correct(&plan.environment, &mut environment);
    let stdio = Stdio::output(writer.as_fd(), writer.as_fd());
    let target = Target {
        program: &program,
        argv: &execution.argv,
        environment: &environment,
        directory: &plan.directory,
        rights: &granted.rights,
    };
    let spawned = spawn_or_by_shell(target, |target| spawner.spawn(target, stdio, None));
    let pid = spawned.map_err(|error| spawn_error(&error, plan, &program))?;
    Ok((pid, reader))
}
