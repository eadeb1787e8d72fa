//! A project with a `stack.yaml`, and `stack` run in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use fs_err as fs;
use serde_json::Value;

use super::output::Output;
use super::processes::Process;
use super::program::{Up, binary, misbehave};
use super::service::Service;
use super::sockets::Occupied;
use super::waiting::wait_until;
use super::world::World;

/// The variable that tells the processes of one copy from those of another in the same world.
const MARK: &str = "STACK_TEST_PROJECT";

/// A project in a directory of its own. Its name is `shop`.
pub(crate) struct TestStack {
    world: Arc<World>,
    directory: PathBuf,
    variables: Vec<(String, String)>,
}

impl TestStack {
    /// A project in a world of its own.
    pub(crate) fn new(yaml: &str) -> Self {
        Self::in_world(&World::new(), "one", yaml)
    }

    /// A project in `world`; `copy` tells it from the others there.
    pub(crate) fn in_world(world: &Arc<World>, copy: &str, yaml: &str) -> Self {
        let directory = world.path().join(copy).join("shop");
        fs::create_dir_all(&directory).expect("the directory is new");
        let stack = Self {
            world: Arc::clone(world),
            directory,
            variables: Vec::new(),
        };
        stack.write_yaml(yaml);
        stack
    }

    /// Replaces the `stack.yaml`.
    pub(crate) fn write_yaml(&self, yaml: &str) {
        let mut text = yaml.replace("MISBEHAVE", &misbehave().display().to_string());
        for port in 8000..8100 {
            let name = format!("P{port}");
            if text.contains(&name) {
                text = text.replace(&name, &self.port(port).to_string());
            }
        }
        if let Some(range) = self.world.network().range()
            && !text.trim().is_empty()
            && !text.contains("\nports:")
            && !text.starts_with("ports:")
        {
            text = format!("{}\nports: {{ range: {range} }}\n", text.trim_end());
        }
        self.write("stack.yaml", &text);
    }

    /// Writes a file of the project.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("the project's directory is writable");
    }

    /// A file of the project, as text.
    #[track_caller]
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The path of a file of the project.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The names of all files of the project's directory itself.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(&self.directory)
            .expect("the project's directory is there")
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Sets a variable for every command from now on.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.variables.push((key.to_owned(), value.to_string()));
    }

    /// What this project shares with copies.
    pub(crate) fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// The port that the test calls `port` (8000 to 8099).
    pub(crate) fn port(&self, port: u16) -> u16 {
        self.world.network().port(port)
    }

    /// Takes a port, for as long as what this returns lives; once that is dropped, the port is free.
    #[track_caller]
    pub(crate) fn occupy(&self, port: u16, how: Occupied) -> Up {
        let port = self.port(port).to_string();
        let mut occupant = self.helper(&[&["bind", &port], how.options()].concat());
        occupant.wait_for_line(how.done());
        occupant
    }

    /// What the ledger remembers of the only stack in this world: `docs/design/ports.md` shows the file.
    #[track_caller]
    pub(crate) fn ledger_row(&self) -> Value {
        let path = self.world.state_dir().join("ports/stacks");
        let text = fs::read_to_string(path).expect("a stack has started");
        let last = text.lines().last().and_then(|line| line.split_once('\t'));
        let (_, row) = last.expect("a line has two parts");
        serde_json::from_str(row).expect("a row is JSON")
    }

    /// `stack` with these arguments, in the project's directory, not started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        self.world.prepare(&mut command);
        command
            .args(arguments)
            .current_dir(&self.directory)
            .env(MARK, &self.directory)
            .envs(self.variables.iter().map(|(key, value)| (key, value)));
        command
    }

    /// The same, executed by a program that changes its world first: `misbehave no-ipv6`.
    pub(crate) fn wrapped(&self, wrapper: &[&str], arguments: &[&str]) -> Command {
        let inner = self.command(arguments);
        let [program, words @ ..] = wrapper else {
            return inner;
        };
        let program = match *program {
            "MISBEHAVE" => misbehave(),
            program => program.into(),
        };
        let mut command = Command::new(program);
        command
            .args(words)
            .arg(inner.get_program())
            .args(inner.get_args())
            .current_dir(&self.directory);
        for (key, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        command
    }

    /// Runs a command of this project's, such as [`Self::wrapped`] makes, to its end.
    #[track_caller]
    pub(crate) fn run_command(&self, command: Command) -> Output {
        Up::start(&self.world, command).wait()
    }

    /// Runs `stack` to its end.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.start(arguments).wait()
    }

    /// Starts `stack` beside the test.
    #[track_caller]
    pub(crate) fn start(&self, arguments: &[&str]) -> Up {
        Up::start(&self.world, self.command(arguments))
    }

    /// `stack up` in the foreground, without a terminal.
    #[track_caller]
    pub(crate) fn up(&self) -> Up {
        self.start(&["up"])
    }

    /// `stack up --wait`, which must succeed.
    #[track_caller]
    pub(crate) fn up_detached(&self) -> Output {
        let output = self.run(&["up", "--wait"]).ok();
        assert!(!self.ps().is_empty(), "nothing came of {output}");
        output
    }

    /// `stack down`, which must succeed and leave nothing.
    #[track_caller]
    pub(crate) fn down(&self) -> Output {
        self.world.processes();
        let output = self.run(&["down"]).ok();
        let services = self.service_processes();
        assert!(services.is_empty(), "left after down: {services:?}");
        output
    }

    /// The processes of this project's services.
    pub(crate) fn service_processes(&self) -> Vec<Process> {
        let directory = self.directory.to_string_lossy();
        let mut processes = self.world.service_processes();
        processes.retain(|process| process.variable(MARK).is_some_and(|mark| mark == directory));
        processes
    }

    /// Runs the misbehaving program beside the stack, as no part of it.
    #[track_caller]
    pub(crate) fn helper(&self, arguments: &[&str]) -> Up {
        let mut command = Command::new(misbehave());
        command.args(arguments).current_dir(&self.directory);
        let helper = Up::start(&self.world, command);
        self.world.add_helper(helper.pid());
        helper
    }

    /// What `stack ps` says; empty while nothing runs and nothing ran.
    #[track_caller]
    pub(crate) fn ps(&self) -> Vec<Service> {
        let output = self.run(&["ps", "--format", "json"]);
        self.world.processes();
        if output.code == 0 {
            Service::all(&output.stdout)
        } else {
            Vec::new()
        }
    }

    /// What `stack ps` says of one service.
    #[track_caller]
    pub(crate) fn service(&self, name: &str) -> Option<Service> {
        self.ps().into_iter().find(|service| service.name() == name)
    }

    /// Waits until a service is as `is_so` wants it.
    #[track_caller]
    pub(crate) fn wait_for(
        &self,
        name: &str,
        what: &str,
        is_so: impl Fn(&Service) -> bool,
    ) -> Service {
        wait_until(&format!("`{name}`: {what}"), || {
            self.service(name).filter(|service| is_so(service))
        })
    }

    /// Waits until a file of the project exists and returns its text.
    #[track_caller]
    pub(crate) fn wait_for_file(&self, name: &str) -> String {
        wait_until(name, || fs::read_to_string(self.path(name)).ok())
    }

    /// Every `KEY=value` of `.env`, read as the simplest reader would.
    #[track_caller]
    pub(crate) fn dotenv(&self) -> BTreeMap<String, String> {
        read_dotenv(&self.path(".env"))
    }

    /// The number that `.env` gives for a service's `PORT`.
    #[track_caller]
    pub(crate) fn port_of(&self, service: &str) -> u16 {
        let key = format!("{}_PORT", service.to_uppercase());
        let dotenv = self.dotenv();
        let value = dotenv
            .get(&key)
            .unwrap_or_else(|| panic!("no {key} in {dotenv:?}"));
        value.parse().expect("a port is a number")
    }

    /// Asks for `path` over HTTP from inside the world: status and body.
    #[track_caller]
    pub(crate) fn get(&self, port: u16, path: &str) -> Option<(u16, String)> {
        let answer = self
            .helper(&["http-get", "127.0.0.1", &port.to_string(), path])
            .wait();
        let (status, body) = answer.stdout.split_once(' ')?;
        Some((status.parse().ok()?, body.trim_end().to_owned()))
    }

    /// The log files of a service, one after the other; nothing where it has printed nothing yet.
    pub(crate) fn log(&self, service: &str) -> Vec<u8> {
        self.log_files(service).concat()
    }

    /// The log files of a service, the newest last.
    pub(crate) fn log_files(&self, service: &str) -> Vec<Vec<u8>> {
        let newest = format!("{service}.log");
        let number = |name: &str| match name.strip_prefix(&newest)? {
            "" => Some(u64::MAX),
            number => number.strip_prefix('.')?.parse().ok(),
        };
        let entries = fs::read_dir(self.path(".stack/shop/logs"));
        let entries = entries.into_iter().flatten().flatten();
        let mut files: Vec<_> = entries
            .filter_map(|entry| Some((number(entry.file_name().to_str()?)?, entry.path())))
            .collect();
        files.sort();
        let read = |(_, path)| fs::read(path).unwrap_or_default();
        files.into_iter().map(read).collect()
    }

    /// Waits until the log file of a service contains `part`.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, service: &str, part: &str) {
        wait_until(&format!("`{part}` in the log of `{service}`"), || {
            let log = self.log(service);
            String::from_utf8_lossy(&log).contains(part).then_some(())
        });
    }

    /// What the lock file says of guardian and supervisor; null without one.
    pub(crate) fn lock(&self) -> Value {
        fs::read_to_string(self.path(".stack/shop/lock"))
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default()
    }

    /// The process that the lock file names under `key`.
    #[track_caller]
    pub(crate) fn own_process(&self, key: &str) -> Process {
        wait_until(key, || {
            let pid = self.lock()[key].as_i64()?;
            Process::of(pid.try_into().ok()?)
        })
    }
}

fn read_dotenv(path: &Path) -> BTreeMap<String, String> {
    fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("{error}"))
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.trim_matches(['"', '\'']).to_owned()))
        .collect()
}
