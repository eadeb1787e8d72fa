//! A supervisor that only answers: no processes, no state but a snapshot.

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::api::client::Client;
use crate::api::server;
use crate::run::control::{
    Command, CommandError, CommandReply, Controller, Request, StackSnapshot, UnitTarget,
};
use crate::run::logs::Announcer;
use crate::run::news::Event;
use crate::run::proposal::Proposal;
use crate::run::snapshot::{Cause, DesiredSnapshot, Phase, ServiceSnapshot, Wanted};
use crate::run::socket;
use crate::support::name::{ProjectName, ServiceName, UnitId};

/// Longer than anything here takes, shorter than a person's patience.
pub(crate) const GENEROUS: Duration = Duration::from_secs(30);

/// More than the kernel keeps for a client that does not read.
pub(crate) const LONG: usize = 8 * 1024 * 1024;

pub(crate) fn name(text: &str) -> ServiceName {
    ServiceName::new(text).unwrap()
}

pub(crate) fn replica(text: &str, replica: u32) -> UnitId {
    UnitId {
        service: name(text),
        replica,
    }
}

/// What a command has set for a replica: its second wish.
pub(crate) fn target(text: &str, replica: u32) -> UnitTarget {
    UnitTarget {
        service: name(text),
        replica,
        generation: 2,
        stops: false,
    }
}

pub(crate) fn service(text: &str, phase: Phase, since: u64) -> ServiceSnapshot {
    ServiceSnapshot {
        service: name(text),
        replica: 1,
        replicas: 1,
        desired: DesiredSnapshot {
            wanted: Wanted::Running,
            generation: 1,
            cause: Cause::Up,
        },
        generation: 1,
        is_executed: true,
        phase,
        since,
        pid: None,
        started_at: None,
        ready_at: None,
        exit: None,
        attempt: 1,
        restarts: None,
        failures: 0,
        waiting_for: Vec::new(),
        reason: None,
        next_run: None,
        next_attempt_at: None,
        kill_at: None,
        is_one_shot: false,
        has_readiness: false,
        is_attached: true,
        ports: Vec::new(),
    }
}

pub(crate) fn snapshot() -> StackSnapshot {
    StackSnapshot {
        project: ProjectName::new("shop").unwrap(),
        instance: "shop-0123456789abcdef".to_owned(),
        run: "00112233aabbccdd".to_owned(),
        project_dir: PathBuf::from("/p/shop"),
        file: PathBuf::from("/p/shop/stack.yaml"),
        dotenv: Some(PathBuf::from("/p/shop/.env")),
        arguments: crate::plan::Arguments::default(),
        fingerprint: "f".to_owned(),
        contents: crate::plan::Contents::default(),
        guardian_pid: 10,
        supervisor_pid: 11,
        started_at: 1,
        is_detached: true,
        is_draining: false,
        is_suspended: false,
        usage: None,
        values: vec![("WEB_PORT".to_owned(), "8000".to_owned())],
        services: vec![
            service("web", Phase::Running, 50),
            service("api", Phase::Healthy, 50),
        ],
    }
}

/// The same with a second replica of `web`, which was stopped.
fn two_replicas() -> StackSnapshot {
    let mut stack = snapshot();
    stack.services[0].replicas = 2;
    let second = ServiceSnapshot {
        replica: 2,
        replicas: 2,
        ..service("web", Phase::Stopped, 40)
    };
    stack.services.insert(1, second);
    stack
}

/// A server on a socket of its own, with the supervisor behind it.
pub(crate) struct Fake {
    directory: TempDir,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) logs: Announcer,
    /// Every command that arrived.
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
    /// A word for every request that arrived.
    pub(crate) asked: mpsc::UnboundedReceiver<()>,
    shutdown: Option<oneshot::Sender<()>>,
    pub(crate) server: JoinHandle<()>,
}

/// What the supervisor does with a request.
type Script = fn(&Request) -> Act;

/// The supervisor's part.
pub(crate) enum Act {
    /// Answers as a healthy one would.
    Answer,
    /// The same, with a snapshot of more than [`LONG`] bytes.
    AnswerAtLength,
    /// Answers as a stack in which `web` has two replicas, of which commands concern the second.
    AnswerForSecond,
    /// Refuses the command.
    Refuse(CommandError),
    /// Forgets the request.
    Drop,
    /// Never answers.
    Hang,
}

/// What everybody sees of a command that was accepted, in that order.
type Consequences = fn(&Command) -> Vec<Event>;

impl Fake {
    pub(crate) fn start() -> Self {
        Self::with_script(16, |_| Act::Answer)
    }

    /// `capacity` is that of the event channel.
    pub(crate) fn with_script(capacity: usize, script: Script) -> Self {
        Self::with_consequences(capacity, script, |_| Vec::new())
    }

    /// The same; what a command leads to is sent as events.
    pub(crate) fn with_consequences(
        capacity: usize,
        script: Script,
        consequences: Consequences,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (request_tx, mut requests) = mpsc::unbounded_channel();
        let (events, _) = broadcast::channel(capacity);
        let logs = Announcer::default();
        let (command_tx, commands) = mpsc::unbounded_channel();
        let (asked_tx, asked) = mpsc::unbounded_channel();
        let (shutdown_tx, shutdown_rx) = oneshot::channel();
        let controller = Controller {
            request_tx,
            event_tx: events.clone(),
            early: std::sync::Arc::default(),
            feed: logs.feed(),
            log_dir: PathBuf::from("/p/shop/.stack/shop/logs"),
        };
        let event_tx = events.clone();
        tokio::spawn(async move {
            let mut hung = Vec::new();
            while let Some(request) = requests.recv().await {
                let _ = asked_tx.send(());
                match (script(&request), request) {
                    (Act::Hang, request) => hung.push(request),
                    (_, Request::PutBack(..) | Request::Home(_)) => {}
                    (Act::Drop, _) => {}
                    (Act::Answer | Act::Refuse(_), Request::Snapshot(reply)) => {
                        let _ = reply.send(snapshot());
                    }
                    (Act::Refuse(error), Request::Propose(_, reply)) => {
                        let _ = reply.send(Err(error));
                    }
                    (_, Request::Propose(_, reply)) => {
                        let _ = reply.send(Ok(Proposal::default()));
                    }
                    (Act::Refuse(error), Request::Command(_, reply)) => {
                        let _ = reply.send(Err(error));
                    }
                    (Act::AnswerAtLength, Request::Snapshot(reply)) => {
                        let _ = reply.send(StackSnapshot {
                            fingerprint: "f".repeat(LONG),
                            ..snapshot()
                        });
                    }
                    (Act::AnswerForSecond, Request::Snapshot(reply)) => {
                        let _ = reply.send(two_replicas());
                    }
                    (Act::AnswerForSecond, Request::Command(command, reply)) => {
                        let affected = vec![name("web")];
                        let units = vec![target("web", 2)];
                        let _ = reply.send(Ok(CommandReply {
                            affected,
                            units,
                            warnings: Vec::new(),
                            input: None,
                        }));
                        for event in consequences(&command) {
                            let _ = event_tx.send(event);
                        }
                    }
                    (Act::Answer | Act::AnswerAtLength, Request::Command(command, reply)) => {
                        let affected = vec![name("web")];
                        let units = vec![target("web", 1)];
                        let _ = reply.send(Ok(CommandReply {
                            affected,
                            units,
                            warnings: Vec::new(),
                            input: None,
                        }));
                        for event in consequences(&command) {
                            let _ = event_tx.send(event);
                        }
                        let _ = command_tx.send(command);
                    }
                }
            }
        });
        let listener = socket::bind_listener(&directory.path().join("control.sock")).unwrap();
        let (listener_tx, listener_rx) = mpsc::unbounded_channel();
        listener_tx.send(listener).unwrap();
        let server = tokio::spawn(server::serve(listener_rx, controller, async {
            let _ = shutdown_rx.await;
        }));
        Self {
            directory,
            events,
            logs,
            commands,
            asked,
            shutdown: Some(shutdown_tx),
            server,
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("control.sock")
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.path()).with_deadline(GENEROUS)
    }

    /// Tells the server that the supervisor goes.
    pub(crate) fn shut_down(&mut self) {
        if let Some(shutdown) = self.shutdown.take() {
            let _ = shutdown.send(());
        }
    }

    pub(crate) async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.path()).await.unwrap()
    }

    /// Sends bytes as they are and returns everything that comes back.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        // The server may close before it has read all of an oversized request.
        let _ = stream.write_all(bytes).await;
        read_all(&mut stream).await
    }
}

pub(crate) async fn read_all(stream: &mut UnixStream) -> String {
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut piece).await {
        answer.extend_from_slice(&piece[..length]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}
