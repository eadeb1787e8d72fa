//! The verbs against a supervisor that plays a script, in a project directory of their own.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tempfile::TempDir;

use super::{Context, InFile, Output, down, env, logs, port, ps, restart, start, stop};
use crate::api::messages::Update;
use crate::api::tests::fake::{Act, Fake, name, service, snapshot};
use crate::cli::args::{
    DownArgs, EnvArgs, EnvFormat, ListFormat, LogsArgs, PortArgs, PsArgs, ServicesArgs, StopArgs,
    Tail,
};
use crate::cli::exit::{ExitCode, Stop};
use crate::cli::style::Palette;
use crate::cli::table::services;
use crate::run::control::{Command, StackSnapshot};
use crate::run::instance::{Instance, InstanceLock, LockAttempt};
use crate::run::logs::LogBlock;
use crate::run::logs::testing::TestLog;
use crate::run::news::Event;
use crate::run::reason::{Reason, StartError};
use crate::run::snapshot::{
    Cause, DesiredSnapshot, Phase, PortSnapshot, PortState, ServiceSnapshot, Wanted,
};
use crate::support::name::{PortName, ProjectName, UnitId};
use crate::support::protocol::Protocol;

mod replicas;

/// What a verb said.
#[derive(Default)]
struct Said {
    data: Vec<String>,
    messages: Vec<String>,
    events: Vec<Update>,
    introduced: Vec<UnitId>,
    blocks: Vec<LogBlock>,
    /// Called when a block is shown, with their number so far.
    on_block: Option<Box<dyn FnMut(usize)>>,
}

impl Output for Said {
    fn data(&mut self, text: &str) {
        self.data.push(text.to_owned());
    }

    fn message(&mut self, text: &str) {
        self.messages.push(text.to_owned());
    }

    fn update(&mut self, update: &Update) {
        self.events.push(update.clone());
    }

    fn introduce(&mut self, units: &[UnitId]) {
        self.introduced = units.to_vec();
    }

    fn block(&mut self, block: LogBlock) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        self.blocks.push(block);
        if let Some(on_block) = &mut self.on_block {
            on_block(self.blocks.len());
        }
        Box::pin(async {})
    }
}

/// A project directory, with or without a supervisor.
struct Project {
    _directory: TempDir,
    instance: Instance,
    lock: Option<InstanceLock>,
    in_file: InFile,
    said: Said,
}

impl Project {
    /// Where nothing runs, and nothing ever ran.
    fn idle() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let project = ProjectName::new("shop").unwrap();
        let state = directory.path().join("state");
        let instance = Instance::new(project, directory.path().to_path_buf(), &state);
        Self {
            _directory: directory,
            instance,
            lock: None,
            in_file: InFile::new(),
            said: Said::default(),
        }
    }

    /// Where `fake` runs.
    fn running(fake: &Fake) -> Self {
        let mut project = Self::idle();
        project.instance.create().unwrap();
        let LockAttempt::Acquired(mut lock) = project.instance.lock().unwrap() else {
            panic!("the lock is held")
        };
        let file = project.instance.project_dir.join("stack.yaml");
        let origin = (file.as_path(), false);
        let holder = project
            .instance
            .holder_of(origin, "0011", &fake.path(), (0, 0));
        lock.describe(&holder).unwrap();
        project.lock = Some(lock);
        project
    }

    /// Where something ran and left this state.
    fn past(stack: &StackSnapshot) -> Self {
        let project = Self::idle();
        project.instance.create().unwrap();
        let text = serde_json::to_vec(stack).unwrap();
        fs_err::write(project.instance.last_path(), text).unwrap();
        project
    }

    fn context(&mut self) -> Context<'_> {
        Context {
            instance: &self.instance,
            in_file: &self.in_file,
            has_changed: &|_| false,
            output: &mut self.said,
        }
    }
}

fn table(stack: &StackSnapshot) -> String {
    services(&stack.services, 0).render(Palette::MONOCHROME, None)
}

fn with_ports(names: &[&str]) -> StackSnapshot {
    let ports = names.iter().zip(8000..).map(|(name, port)| PortSnapshot {
        protocol: Protocol::Tcp,
        name: PortName::new(name).unwrap(),
        port,
        state: PortState::Held,
        address: format!("localhost:{port}"),
    });
    let mut stack = snapshot();
    stack.services[0].ports = ports.collect();
    stack
}

/// `web` while something else is wanted of it, which has not been begun.
fn wanted(text: &str, wanted: Wanted, phase: Phase, since: u64) -> Event {
    let mut row = service(text, phase, since);
    row.desired = DesiredSnapshot {
        wanted,
        generation: 2,
        cause: match wanted {
            Wanted::Running => Cause::Restart,
            Wanted::Nothing | Wanted::Stopped | Wanted::Killed => Cause::Stop,
        },
    };
    Event::Service(Box::new(row))
}

/// `web` after it was begun for what a command has set.
fn begun(text: &str, phase: Phase, is_executed: bool) -> Event {
    let Event::Service(mut row) = wanted(text, Wanted::Running, phase, 80) else {
        unreachable!()
    };
    row.generation = 2;
    row.is_executed = is_executed;
    Event::Service(row)
}

fn state(text: &str, phase: Phase, since: u64) -> Event {
    Event::Service(Box::new(service(text, phase, since)))
}

const STOP: StopArgs = StopArgs {
    services: Vec::new(),
    timeout: Some(Duration::from_secs(3)),
};

#[tokio::test]
async fn ps_prints_the_services_of_the_snapshot() {
    let fake = Fake::start();
    let mut project = Project::running(&fake);
    let json = PsArgs {
        format: ListFormat::Json,
    };
    ps::run(&mut project.context(), &json, table).await.unwrap();
    let services: Vec<ServiceSnapshot> = serde_json::from_str(&project.said.data[0]).unwrap();
    assert_eq!(services, snapshot().services);
    let format = ListFormat::Table;
    ps::run(&mut project.context(), &PsArgs { format }, table)
        .await
        .unwrap();
    let words = |line: &str| {
        line.split_whitespace()
            .take(2)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let rows: Vec<String> = project.said.data[1].lines().map(words).collect();
    assert_eq!(rows, ["SERVICE STATE", "web running", "api healthy"]);
}

#[tokio::test]
async fn where_nothing_ever_ran_the_code_is_4_and_down_is_0() {
    let mut project = Project::idle();
    let format = ListFormat::Table;
    let errors = [
        ps::run(&mut project.context(), &PsArgs { format }, table).await,
        stop::run(&mut project.context(), &STOP).await,
        restart::run(&mut project.context(), &STOP).await,
        start::run(
            &mut project.context(),
            &ServicesArgs {
                services: Vec::new(),
            },
        )
        .await,
        logs::run(&mut project.context(), &logs_of(Tail::All, true)).await,
    ];
    for result in errors {
        assert_eq!(result.unwrap_err().code, ExitCode::NotRunning);
    }
    let code = down::run(
        &mut project.context(),
        &DownArgs {
            all: false,
            timeout: None,
        },
        Vec::new(),
    )
    .await;
    assert_eq!(code.unwrap(), ExitCode::Done);
    assert_eq!(project.said.messages, ["nothing is running here"]);
    let made = fs_err::read_dir(&project.instance.project_dir)
        .unwrap()
        .count();
    assert_eq!(made, 0, "asking leaves no files");
}

#[tokio::test]
async fn what_has_ended_is_still_known() {
    let mut project = Project::past(&with_ports(&["PORT"]));
    let format = ListFormat::Table;
    ps::run(&mut project.context(), &PsArgs { format }, table)
        .await
        .unwrap();
    assert!(project.said.messages.is_empty());
    let web = PortArgs {
        service: name("web"),
        name: None,
        index: 1,
    };
    port::run(&mut project.context(), &web).await.unwrap();
    let format = EnvFormat::Dotenv;
    env::run(&mut project.context(), &EnvArgs { format })
        .await
        .unwrap();
    assert_eq!(project.said.data[1..], ["8000", "WEB_PORT=8000"]);
    assert_eq!(project.said.messages.len(), 2, "a warning each");
}

#[tokio::test]
async fn what_runs_on_after_both_were_killed_is_not_said_to_be_stopped() {
    let mut project = Project::past(&with_ports(&["PORT"]));
    let own = i32::try_from(std::process::id()).unwrap();
    let unit = UnitId::first(name("web"));
    crate::run::leftovers::leave(&project.instance.lease_path(), &unit, own);
    let format = ListFormat::Json;
    ps::run(&mut project.context(), &PsArgs { format }, table)
        .await
        .unwrap();
    let services: Vec<ServiceSnapshot> = serde_json::from_str(&project.said.data[0]).unwrap();
    let web = services.iter().find(|s| s.service == name("web")).unwrap();
    assert_eq!((web.phase, web.pid), (Phase::Running, Some(own)));
    assert_eq!(web.reason, Some(Reason::Orphaned));
    assert!(
        services
            .iter()
            .all(|s| s.service == name("web") || !s.phase.is_alive())
    );
    let format = EnvFormat::Dotenv;
    env::run(&mut project.context(), &EnvArgs { format })
        .await
        .unwrap();
    assert!(project.said.messages[0].contains("runs on"));
}

/// The port of the first replica, or the hint.
fn find(stack: &StackSnapshot, service: &str, port: Option<&str>, index: u32) -> Result<u16, Stop> {
    let arguments = PortArgs {
        service: name(service),
        name: port.map(|name| PortName::new(name).unwrap()),
        index,
    };
    port::find(&Project::idle().context(), stack, &arguments)
}

#[track_caller]
fn assert_hint(stop: &Stop, hint: &str) {
    assert_eq!(stop.code, ExitCode::Usage);
    let expected = format!("\nhint: {hint}");
    assert!(stop.message.ends_with(&expected), "{}", stop.message);
}

#[test]
fn a_port_is_found_by_its_name_or_because_there_is_one() {
    let found = |ports: &[&str], port| find(&with_ports(ports), "web", port, 1);
    assert_eq!(found(&["ADMIN"], None), Ok(8000));
    assert_eq!(found(&["ADMIN", "PORT"], None), Ok(8001));
    assert_eq!(found(&["ADMIN", "PORT"], Some("ADMIN")), Ok(8000));
    let declare = "write `$<PORT:auto>` in its command or environment to give it one";
    for (ports, service, port, hint) in [
        (
            &["A", "B"][..],
            "web",
            None,
            "name one: `stack port web A|B`",
        ),
        (&["A", "B"], "web", Some("C"), "its ports: A, B"),
        (&[], "web", None, declare),
        (&[], "web", Some("A"), declare),
        (&[], "wbe", None, "did you mean `web`?"),
    ] {
        let stop = find(&with_ports(ports), service, port, 1).unwrap_err();
        assert_hint(&stop, hint);
    }
}

#[test]
fn a_port_is_that_of_the_replica_that_was_asked_for() {
    let mut stack = with_ports(&["PORT"]);
    let mut second = stack.services[0].clone();
    stack.services[0].replicas = 2;
    (second.replica, second.replicas) = (2, 2);
    second.ports[0].port = 8100;
    stack.services.push(second);
    let found = |replica| find(&stack, "web", None, replica);
    assert_eq!((found(1), found(2)), (Ok(8000), Ok(8100)));
    assert_hint(&found(3).unwrap_err(), "its replicas are 1 to 2");
}

#[test]
fn a_service_of_the_file_without_replicas_is_not_said_to_be_unknown() {
    let mut project = Project::idle();
    project.in_file = [
        (name("web"), None),
        (name("debug"), Some("tools".to_owned())),
    ]
    .into();
    let stop = project.context().unknown_service(&name("web"), &[]);
    let expected = "error: service `web` is in the file, but not in this stack\n";
    assert!(stop.message.starts_with(expected), "{}", stop.message);
    let stop = project.context().unknown_service(&name("debug"), &[]);
    assert_eq!(
        stop.message,
        "error: service `debug` is not in this stack: its profile `tools` is not active\n\
         hint: `stack up debug` starts it, and so does `stack --profile tools up`"
    );
}

#[tokio::test]
async fn stop_waits_until_the_services_have_ended() {
    let fake = Fake::with_consequences(
        16,
        |_| Act::Answer,
        |_| {
            vec![
                wanted("web", Wanted::Stopped, Phase::Stopping, 60),
                state("api", Phase::Stopped, 65),
                wanted("web", Wanted::Stopped, Phase::Stopped, 70),
            ]
        },
    );
    let mut project = Project::running(&fake);
    let code = stop::run(&mut project.context(), &STOP).await.unwrap();
    assert_eq!(code, ExitCode::Done);
    assert_eq!(project.said.events.len(), 3, "it shows who is waited for");
    assert_eq!(project.said.messages, ["stopped web"]);
}

#[tokio::test]
async fn restart_waits_for_the_next_attempt() {
    let fake = Fake::with_consequences(
        16,
        |_| Act::Answer,
        |_| {
            vec![
                state("web", Phase::Running, 50),
                wanted("web", Wanted::Running, Phase::Stopping, 60),
                begun("web", Phase::Starting, true),
            ]
        },
    );
    let mut project = Project::running(&fake);
    let code = restart::run(&mut project.context(), &STOP).await.unwrap();
    assert_eq!(code, ExitCode::Done);
    assert_eq!(project.said.events.len(), 2, "what it knows is not news");
    assert_eq!(project.said.messages, ["restarted web"]);
}

#[tokio::test]
async fn a_service_that_does_not_start_is_named_with_its_reason() {
    let fake = Fake::with_consequences(
        16,
        |_| Act::Answer,
        |_| {
            let Event::Service(mut failed) = begun("web", Phase::Failed, false) else {
                unreachable!()
            };
            failed.reason = Some(Reason::NotExecuted {
                error: StartError::NotFound {
                    name: "nope".to_owned(),
                },
            });
            vec![Event::Service(failed)]
        },
    );
    let mut project = Project::running(&fake);
    let all = ServicesArgs {
        services: Vec::new(),
    };
    let code = start::run(&mut project.context(), &all).await.unwrap();
    assert_eq!(code, ExitCode::Failed);
    assert_eq!(
        project.said.messages,
        ["error: web: the program `nope` is not found"]
    );
}

#[tokio::test]
async fn a_command_that_another_one_overtakes_says_by_what() {
    let fake = Fake::with_consequences(
        16,
        |_| Act::Answer,
        |_| vec![wanted("web", Wanted::Stopped, Phase::Stopping, 60)],
    );
    let mut project = Project::running(&fake);
    let code = restart::run(&mut project.context(), &STOP).await.unwrap();
    assert_eq!(code, ExitCode::Busy);
    assert_eq!(
        project.said.messages,
        ["error: web was not restarted: a later `stack stop` took over"]
    );
}

#[tokio::test]
async fn down_ends_when_the_lock_is_free() {
    let mut fake = Fake::with_consequences(
        16,
        |_| Act::Answer,
        |_| {
            vec![
                state("web", Phase::Stopped, 70),
                Event::Ended { failed: Vec::new() },
            ]
        },
    );
    let mut project = Project::running(&fake);
    let lock = project.lock.take();
    let arguments = DownArgs {
        all: false,
        timeout: Some(Duration::from_secs(2)),
    };
    let went = async {
        let command = fake.commands.recv().await;
        let grace = arguments.timeout;
        assert_eq!(command, Some(Command::Down { grace }));
        fake.shut_down();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let gone = std::time::Instant::now();
        drop(lock);
        gone
    };
    let mut context = project.context();
    let ended = async {
        let code = down::run(&mut context, &arguments, Vec::new())
            .await
            .unwrap();
        (code, std::time::Instant::now())
    };
    let (gone, (code, ended)) = tokio::join!(went, ended);
    assert_eq!(code, ExitCode::Done);
    assert!(ended >= gone, "it did not wait for the lock");
    assert_eq!(project.said.messages, ["stopped everything"]);
}

#[tokio::test]
async fn what_a_supervisor_could_not_end_is_named_and_no_success() {
    let mut fake = Fake::with_consequences(
        16,
        |_| Act::Answer,
        |_| vec![Event::Ended { failed: Vec::new() }],
    );
    let mut project = Project::running(&fake);
    let own = i32::try_from(std::process::id()).unwrap();
    let unit = UnitId::first(name("web"));
    crate::run::leftovers::leave(&project.instance.lease_path(), &unit, own);
    let lock = project.lock.take();
    let went = async {
        fake.commands.recv().await;
        fake.shut_down();
        drop(lock);
    };
    let mut context = project.context();
    let (ended, ()) = tokio::join!(
        down::run(
            &mut context,
            &DownArgs {
                all: false,
                timeout: None
            },
            Vec::new(),
        ),
        went
    );
    let stop = ended.unwrap_err();
    assert_eq!(stop.code, ExitCode::Failed);
    let expected = format!("error: 1 process could not be ended: pid {own}\n");
    assert!(stop.message.starts_with(&expected), "{}", stop.message);
    assert!(
        !project
            .said
            .messages
            .contains(&"stopped everything".to_owned())
    );
}

fn logs_of(tail: Tail, follow: bool) -> LogsArgs {
    LogsArgs {
        follow,
        tail,
        ..LogsArgs::default()
    }
}

fn shown(said: &Said) -> String {
    let bytes: Vec<u8> = said.blocks.iter().flat_map(|b| b.bytes.to_vec()).collect();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn logs_of_the_past_need_no_supervisor() {
    let mut project = Project::idle();
    let mut log = TestLog::new(project.instance.log_dir());
    log.write("web", "one\ntwo\n");
    let code = logs::run(&mut project.context(), &logs_of(Tail::All, true)).await;
    assert_eq!(code.unwrap(), ExitCode::Done);
    assert_eq!(shown(&project.said), "one\ntwo\n");
    let mut unknown = logs_of(Tail::All, false);
    unknown.services = vec![name("wbe")];
    let error = logs::run(&mut project.context(), &unknown)
        .await
        .unwrap_err();
    assert_hint(&error, "did you mean `web`?");
}

#[tokio::test]
async fn a_follower_sees_every_line_once_whenever_it_comes() {
    let mut fake = Fake::start();
    let mut project = Project::running(&fake);
    let mut log = TestLog::new(project.instance.log_dir());
    log.write("web", "0\n");
    let announcer = std::rc::Rc::new(std::mem::take(&mut fake.logs));
    // While the past is being shown, the stack goes on.
    let said = announcer.clone();
    let later_came = std::rc::Rc::new(tokio::sync::Notify::new());
    let came = std::rc::Rc::clone(&later_came);
    project.said.on_block = Some(Box::new(move |count| {
        if count > 1 {
            came.notify_one();
        } else {
            for text in ["1\n", "2\n", "3\n", "4\n", "5\n"] {
                let (unit, end) = log.write("web", text);
                said.grown(&unit, end);
            }
        }
    }));
    let arguments = logs_of(Tail::All, true);
    let mut context = project.context();
    let follow = logs::run(&mut context, &arguments);
    let end = async {
        // The server is one.
        while announcer.listeners() < 2 {
            tokio::task::yield_now().await;
        }
        later_came.notified().await;
        fake.shut_down();
    };
    let (code, ()) = tokio::join!(follow, end);
    assert_eq!(code.unwrap(), ExitCode::Done);
    assert_eq!(shown(&project.said), "0\n1\n2\n3\n4\n5\n");
}
