//! What a unit needs to be executed, and why it cannot be, in the words of the plan.

use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::plan::command::{FindError, find_program};
use crate::plan::model::{Execution, UnitPlan};
use crate::run::belongings::lay_out;
use crate::run::process::{SpawnError, SpawnStep, Target};
use crate::run::reason::{StartError, StartStep};
use crate::run::rights::Granted;
use crate::support::fs::below;

/// Finds the program of an execution in the unit's own `PATH`. `project_dir` is how the plan calls the
/// working directory of this process.
pub(super) fn find(
    plan: &UnitPlan,
    execution: &Execution,
    project_dir: &Path,
) -> Result<PathBuf, StartError> {
    let directory = below(&plan.directory, project_dir);
    if !directory.is_dir() {
        return Err(StartError::NoDirectory {
            path: plan.directory.to_string_lossy().into_owned(),
        });
    }
    let name = execution.argv.first().map_or("", String::as_str);
    find_program(name, plan.environment.get("PATH"), &directory).map_err(|error| match error {
        FindError::NotFound { name, .. } => StartError::NotFound { name },
        FindError::NotExecutable { path } => StartError::NotExecutable {
            path: path.to_string_lossy().into_owned(),
        },
    })
}

/// All that a unit needs before it is executed: its program, its rights, and what it finds in the file
/// system.
pub(super) fn prepare(
    plan: &UnitPlan,
    project_dir: &Path,
) -> Result<(PathBuf, Granted), StartError> {
    let program = find(plan, &plan.execution, project_dir)?;
    let granted = Granted::to(plan)?;
    lay_out(plan, granted.rights.identity.as_ref(), project_dir)
        .map_err(|error| refused(StartStep::Files, &plan.directory, &error))?;
    Ok((program, granted))
}

/// What runs a script without a first line.
const SHELL: &str = "/bin/sh";

/// Starts a program; a script without a first line is given to the shell, as execvp(3) does it.
pub(super) fn spawn_or_by_shell(
    target: Target<'_>,
    mut spawn: impl FnMut(&Target<'_>) -> Result<i32, SpawnError>,
) -> Result<i32, SpawnError> {
    match spawn(&target) {
        Err(error) if error.errno == Errno::ENOEXEC => {
            let script = target.program.to_string_lossy().into_owned();
            let words = [SHELL.to_owned(), script].into_iter();
            let argv: Vec<String> = words.chain(target.argv.iter().skip(1).cloned()).collect();
            spawn(&Target {
                program: Path::new(SHELL),
                argv: &argv,
                ..target
            })
        }
        spawned => spawned,
    }
}

pub(super) fn refused(step: StartStep, path: &Path, error: &std::io::Error) -> StartError {
    StartError::Refused {
        step,
        path: path.to_string_lossy().into_owned(),
        error: error.to_string(),
    }
}

pub(crate) fn spawn_error(error: &SpawnError, plan: &UnitPlan, program: &Path) -> StartError {
    if let Some(error) = too_long(error, plan) {
        return error;
    }
    let (step, path) = match error.step {
        SpawnStep::Clone => (StartStep::Process, program),
        SpawnStep::Prepare => (StartStep::Prepare, program),
        SpawnStep::Limits => (StartStep::Limits, program),
        SpawnStep::Nice => (StartStep::Nice, program),
        SpawnStep::OomScoreAdj => (StartStep::OomScoreAdj, program),
        SpawnStep::User => {
            let user = plan.process.user.as_deref().unwrap_or_default();
            (StartStep::User, Path::new(user))
        }
        SpawnStep::Directory => (StartStep::Directory, plan.directory.as_path()),
        SpawnStep::Exec if error.errno == Errno::ENOENT => {
            return StartError::NoInterpreter {
                path: program.to_string_lossy().into_owned(),
            };
        }
        SpawnStep::Exec => (StartStep::Execute, program),
    };
    StartError::Refused {
        step,
        path: path.to_string_lossy().into_owned(),
        error: error.errno.desc().to_lowercase(),
    }
}

/// The longest variable that the kernel takes, with its name, `=` and a NUL (`MAX_ARG_STRLEN`).
const MAX_VARIABLE: usize = 128 * 1024;

/// The variable for which the kernel said that the list is too long, if it is a single one.
fn too_long(error: &SpawnError, plan: &UnitPlan) -> Option<StartError> {
    if error.errno != Errno::E2BIG {
        return None;
    }
    let entries = plan.environment.entries().into_iter();
    let mut lengths = entries.map(|(name, value)| (name, name.len() + value.len()));
    let (name, bytes) = lengths.find(|(_, bytes)| bytes + 2 > MAX_VARIABLE)?;
    Some(StartError::VariableTooLong {
        name: name.to_string_lossy().into_owned(),
        bytes: bytes as u64,
    })
}
