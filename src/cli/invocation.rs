//! What every verb starts from: the caller's environment, the file, the instance.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::unistd::{User, geteuid};

use super::args::Global;
use super::diagnostics;
use super::exit::ExitCode;
pub use super::exit::Stop;
use super::printer::{self, PrinterOptions, Progress, Terminals};
use super::table::Table;
use crate::plan::{Arguments, Caller, Draft, PortArgument, Sources, of_dotenv};
use crate::ports::{Ledger, state_dir};
use crate::run::control::StackSnapshot;
use crate::run::instance::{Holder, Instance, holders_in};
use crate::run::registry::{Registration, Registry};
use crate::run::socket::prepare_directory;
use crate::spec::find::{FILE_NAMES, FilePath, Found, Request, find, stranger};
use crate::spec::problem::{Problem, Severity};
use crate::support::fs::below;
use crate::support::name::{ServiceName, UnitId};

/// The variable that names the files.
const STACK_FILE: &str = "STACK_FILE";

/// The surroundings of one run of `stack`.
#[derive(Debug)]
pub struct Invocation {
    /// The flags before the verb.
    pub global: Global,
    /// The caller's environment.
    pub caller: Caller,
    /// The working directory.
    pub working_dir: PathBuf,
    /// What the standard streams are.
    pub terminals: Terminals,
    /// Where the user's state is kept.
    pub state_dir: PathBuf,
}

/// A draft that is fit to run, and what to warn of.
#[derive(Debug)]
pub struct Ready {
    /// The draft.
    pub draft: Draft,
    /// The warnings, rendered; empty for none.
    pub warnings: String,
}

impl Invocation {
    /// Looks at the surroundings.
    pub fn new(global: Global) -> Result<Self, Stop> {
        let caller: Caller = Arc::new(std::env::vars_os().collect());
        let working_dir = std::env::current_dir().map_err(|error| {
            Stop::new(
                ExitCode::Usage,
                format!(
                    "cannot find the working directory: {}",
                    crate::support::text::io_reason(&error)
                ),
                Some("it may have been removed; `stack down --all`, called elsewhere, stops what ran in it"),
            )
        })?;
        let terminals = Terminals::detect(|name| std::env::var(name).ok());
        let variable = |name: &str| {
            let found = caller.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.clone())
        };
        let state_dir = match state_dir(variable).or_else(home_state_dir) {
            Some(state_dir) => state_dir,
            None => shared_state_dir()?,
        };
        Ok(Self {
            global,
            caller,
            working_dir,
            terminals,
            state_dir,
        })
    }

    /// A variable of the caller's environment; one that is empty counts as unset.
    pub fn variable(&self, name: &str) -> Option<String> {
        let value = self.variable_os(name)?.to_str()?;
        Some(value.to_owned()).filter(|value| !value.is_empty())
    }

    fn variable_os(&self, name: &str) -> Option<&OsStr> {
        let found = self.caller.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_os_str())
    }

    /// Finds the file that is meant.
    pub fn find(&self) -> Result<Found, Problem> {
        self.with_request(find)
    }

    /// Does something with what tells which file is meant.
    fn with_request<R>(&self, work: impl FnOnce(&Request<'_>) -> R) -> R {
        let own = self.variable(STACK_FILE);
        let written = if own.is_none() && self.global.file.is_empty() {
            self.written_stack_file()
        } else {
            None
        };
        let (of_file, origin) = written.unzip();
        work(&Request {
            files: &self.global.file,
            stack_file: own.or(of_file).as_deref(),
            origin: origin.as_deref(),
            working_dir: &self.working_dir,
        })
    }

    /// The `STACK_FILE` of the user's `.env`, or of what stands in its place, and where that is. It is looked
    /// for where a `stack.yaml` would be, and is stronger than one beside it.
    fn written_stack_file(&self) -> Option<(String, String)> {
        let value = |path: &Path| of_dotenv(path, STACK_FILE, &self.caller);
        let origin = |path: &Path| format!("{STACK_FILE} in {}", path.display());
        let given = self.env_files();
        if !given.is_empty() {
            let mut given = given.iter().rev();
            return given.find_map(|it| Some((value(&it.file)?, origin(&it.shown))));
        }
        for directory in self.working_dir.ancestors() {
            let path = directory.join(".env");
            let is_here = directory == self.working_dir;
            // Of what somebody else has put above, nothing is said: there may be a file further up.
            let is_ours = is_here || stranger(&path, &self.working_dir).is_none();
            if let Some(listed) = value(&path).filter(|_| is_ours) {
                if is_here {
                    return Some((listed, origin(Path::new(".env"))));
                }
                let paths = listed.split(':').filter(|path| !path.is_empty());
                let absolute = paths.map(|path| match path {
                    "-" => path.to_owned(),
                    path => directory.join(path).display().to_string(),
                });
                return Some((absolute.collect::<Vec<_>>().join(":"), origin(&path)));
            }
            let mut names = FILE_NAMES.iter();
            if names.any(|name| directory.join(name).is_file()) {
                return None;
            }
        }
        None
    }

    /// The profiles of `--profile` or `STACK_PROFILES`.
    fn profiles(&self) -> Vec<String> {
        let mut profiles = self.global.profile.clone();
        if profiles.is_empty() {
            let listed = self.variable("STACK_PROFILES").unwrap_or_default();
            let listed = listed.split(',').map(str::trim).filter(|it| !it.is_empty());
            profiles.extend(listed.map(str::to_owned));
        }
        profiles
    }

    /// The files that `--env-file` or `STACK_ENV_FILES` puts in the place of `.env`.
    fn env_files(&self) -> Vec<FilePath> {
        let mut shown = self.global.env_file.clone();
        if shown.is_empty() {
            let listed = self.variable("STACK_ENV_FILES").unwrap_or_default();
            let listed = listed
                .split(',')
                .map(str::trim)
                .filter(|path| !path.is_empty());
            shown.extend(listed.map(PathBuf::from));
        }
        let files = shown.into_iter();
        files
            .map(|shown| FilePath {
                file: self.working_dir.join(&shown),
                shown,
            })
            .collect()
    }

    /// The name that the caller gives the stack, whatever its file says.
    pub fn project_name(&self) -> Option<String> {
        let given = self.global.project_name.as_ref().map(ToString::to_string);
        given.or_else(|| self.variable("STACK_PROJECT_NAME"))
    }

    /// Reads and checks the file: a draft, or everything that is wrong.
    pub fn draft(&self) -> Result<Ready, Stop> {
        self.draft_with(&[], &[], &[])
    }

    /// As [`Self::draft`], with what `--scale` and `--port` say, and the services that are named: they
    /// take part whatever their profiles.
    pub fn draft_with(
        &self,
        scale: &[(ServiceName, u32)],
        ports: &[PortArgument],
        services: &[ServiceName],
    ) -> Result<Ready, Stop> {
        self.draft_by(self.arguments(scale, ports, services))
    }

    /// What the command line says of a draft.
    fn arguments(
        &self,
        scale: &[(ServiceName, u32)],
        ports: &[PortArgument],
        services: &[ServiceName],
    ) -> Arguments {
        Arguments {
            project_name: self.project_name(),
            // The last one of a service counts, as with other flags.
            scale: scale.iter().cloned().collect(),
            ports: ports.to_vec(),
            profiles: self.profiles(),
            services: services.to_vec(),
            env_files: self.env_files(),
            running: Vec::new(),
        }
    }

    /// Whether the files say something else now than when a stack was started, or took them over. One that
    /// cannot be read says nothing, and who asks with another environment has changed nothing.
    pub fn has_changed_since(&self, stack: &StackSnapshot) -> bool {
        let is_partly_applied = stack.fingerprint.is_empty();
        if stack.contents.is_of_stdin() {
            return false;
        }
        let Ok(now) = self.sources_by(stack.arguments.clone()) else {
            return false;
        };
        if !is_partly_applied && !stack.contents.differ(&now) {
            return false;
        }
        self.draft_from(now)
            .is_ok_and(|now| now.draft.fingerprint() != stack.fingerprint)
    }

    /// The file as it is now, read as a stack has read it.
    pub fn draft_of(&self, stack: &StackSnapshot) -> Result<Ready, Stop> {
        if self.global.file.iter().any(|file| file.as_os_str() == "-") {
            return Err(Stop::usage(
                "a file from standard input cannot be read a second time",
                "name one that stays: `-f FILE`",
            ));
        }
        self.draft_by(stack.arguments.clone())
    }

    fn draft_by(&self, arguments: Arguments) -> Result<Ready, Stop> {
        self.draft_from(self.sources_by(arguments)?)
    }

    fn draft_from(&self, sources: Sources) -> Result<Ready, Stop> {
        let (draft, problems) = Draft::new(sources);
        match draft {
            Some(draft) if !problems.iter().any(Problem::is_error) => Ok(Ready {
                draft,
                warnings: self.render(&problems),
            }),
            _ => Err(self.problems(&problems)),
        }
    }

    /// All that a draft is made of.
    pub fn sources(&self) -> Result<Sources, Stop> {
        self.sources_by(self.arguments(&[], &[], &[]))
    }

    fn sources_by(&self, arguments: Arguments) -> Result<Sources, Stop> {
        self.with_request(|request| {
            Sources::read(request, &mut io::stdin().lock(), &self.caller, arguments)
        })
        .map_err(|problem| self.problems(&[problem]))
    }

    /// Problems as the reason to stop, with exit code 2.
    pub fn problems(&self, problems: &[Problem]) -> Stop {
        Stop {
            code: ExitCode::Usage,
            message: self.render(problems).trim_end().to_owned(),
        }
    }

    /// Problems as text; quiet progress leaves warnings out.
    pub fn render(&self, problems: &[Problem]) -> String {
        let is_quiet = self.global.progress == Progress::Quiet;
        let shown: Vec<Problem> = problems
            .iter()
            .filter(|problem| !is_quiet || problem.severity == Severity::Error)
            .cloned()
            .collect();
        if shown.is_empty() {
            return String::new();
        }
        let palette = self.printer_options(&[]).stderr_palette();
        diagnostics::render(&shown, palette, printer::stderr_columns())
    }

    /// The instance of a draft.
    pub fn instance(&self, draft: &Draft) -> Instance {
        Instance::new(
            draft.project().clone(),
            draft.project_dir().to_path_buf(),
            &self.state_dir,
        )
    }

    /// Who runs stacks in the project's directory, whatever its file says now; without a file in the
    /// nearest directory where one runs. With a name from the caller only the one of that name.
    pub fn running(&self) -> Vec<Holder> {
        let found = self.find().map(|found| found.project_dir);
        let directories = match &found {
            Ok(project_dir) => vec![project_dir.as_path()],
            Err(_) => self.working_dir.ancestors().collect(),
        };
        let mut holders = directories.into_iter().map(holders_in);
        let mut holders = holders.find(|it| !it.is_empty()).unwrap_or_default();
        if let Some(name) = self.project_name() {
            holders.retain(|holder| holder.project.as_str() == name);
        }
        holders
    }

    /// The ledger of the user's ports.
    pub fn ledger(&self) -> Ledger {
        Ledger::at(self.state_dir.clone())
    }

    /// The registry of the user's runs.
    pub fn registry(&self) -> Registry {
        Registry::at(self.state_dir.clone())
    }

    /// What the registry knows of the stack of `instance`; under any name, where the caller gives none.
    pub fn registrations(&self, instance: &Instance) -> Vec<Registration> {
        let file = match self.project_name() {
            Some(_) => None,
            None => self.find().ok().map(|found| found.file),
        };
        let file = file.map(|file| below(&file, &instance.project_dir));
        self.registry().of(instance, file.as_deref())
    }

    /// The printer's options for these units.
    pub fn printer_options(&self, units: &[UnitId]) -> PrinterOptions {
        PrinterOptions {
            progress: self.global.progress,
            color: self.global.color,
            log_prefix: true,
            units: units.to_vec(),
            terminals: self.terminals,
            working_dir: Some(self.working_dir.clone()),
            ..PrinterOptions::default()
        }
    }

    /// A table as stdout takes it: coloured and cut on a terminal.
    pub fn draw(&self, table: &Table) -> String {
        let palette = self.printer_options(&[]).stdout_palette();
        table.render(palette, printer::stdout_columns())
    }
}

/// Where the state of a user without `HOME` is: as the user database knows the home directory.
fn home_state_dir() -> Option<PathBuf> {
    let user = User::from_uid(geteuid()).ok().flatten()?;
    let is_own = |home: &std::fs::Metadata| home.uid() == geteuid().as_raw();
    fs_err::metadata(&user.dir).ok().filter(is_own)?;
    state_dir(|name| (name == "HOME").then(|| user.dir.clone().into_os_string()))
}

/// Where the state of a user without a home is: in a directory of the temporary one, which others can
/// foresee and make.
fn shared_state_dir() -> Result<PathBuf, Stop> {
    let path = std::env::temp_dir().join(format!("stack-state-{}", geteuid()));
    prepare_directory(&path).map_err(|_| {
        Stop::new(
            ExitCode::Failed,
            format!(
                "`{}` belongs to somebody else or is open to others",
                path.display()
            ),
            Some("set HOME or XDG_STATE_HOME to a directory of yours"),
        )
    })?;
    Ok(path)
}

/// Checks that a service that was named on the command line exists.
pub fn check_service(draft: &Draft, name: &ServiceName) -> Result<(), Stop> {
    if draft.spec().services.contains_key(name) {
        return Ok(());
    }
    let file = shown(draft.spec().file.as_path());
    let hint = draft.spec().missing_service(name.as_str());
    Err(Stop::usage(
        format!("there is no service `{name}` in {file}"),
        hint,
    ))
}

/// A file as it is named in a message.
pub fn shown(file: &Path) -> String {
    file.file_name()
        .unwrap_or(file.as_os_str())
        .to_string_lossy()
        .into_owned()
}
