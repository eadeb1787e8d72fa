//! What verification costs, and how long a port is not hard between a death and the next hold.
//!
//! `cargo bench --bench verification [-- ROUNDS]` prints medians. The sweep is compared with what it
//! cannot be faster than: one reading of the kernel's table. The gap is measured on a real stack, whose
//! service is killed while the supervisor's own socket is watched (`pidfd_getfd(2)`); once on a quiet
//! machine and once beside a service that floods its log. The stack has the first processor and who
//! watches the second one, so that neither keeps the other waiting: a watcher on the same processor
//! makes the gap longer, and one that gives way does not see when it began. Ports 21000 to 28999 should
//! be free.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Signal, kill_process, pidfd_getfd, pidfd_open,
};
use socket2::SockRef;
use stack::ports::{Known, Listeners, Subject, ensure_descriptors, observe};
use stack::support::protocol::Protocol;

/// The services that are looked at.
const SERVICES: u16 = 100;

/// The first port of the services.
const FIRST: u16 = 21_000;

/// Listeners of others; each of `PAIRS` connections is two more foreign sockets.
const LISTENERS: u16 = 1_000;
const PAIRS: usize = 1_000;

/// Set in the children: the port on which this program is to be a server.
const SERVE: &str = "STACK_BENCH_SERVE";

fn main() {
    if let Ok(port) = std::env::var(SERVE) {
        serve(port.parse().expect("a port"));
    }
    let rounds = std::env::args()
        .skip(1)
        .find_map(|word| word.parse().ok())
        .unwrap_or(50);
    sweep(rounds);
    for flood in [false, true] {
        gap(rounds, flood);
    }
}

/// Listens and does nothing else.
fn serve(port: u16) -> ! {
    let _listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    println!("up");
    loop {
        std::thread::park();
    }
}

/// One look at the ports of a hundred services, among three thousand sockets of others.
fn sweep(rounds: usize) {
    ensure_descriptors(8_000);
    let foreign: Vec<TcpListener> = (0..LISTENERS)
        .map(|index| TcpListener::bind(("127.0.0.1", 25_000 + index)).expect("a free port"))
        .collect();
    let pairs: Vec<(TcpStream, TcpStream)> = (0..PAIRS)
        .map(|index| {
            let listener = &foreign[index % foreign.len()];
            let client = TcpStream::connect(listener.local_addr().expect("it is bound"));
            let (server, _) = listener.accept().expect("it was connected");
            (client.expect("it listens"), server)
        })
        .collect();
    let services: Vec<Server> = (FIRST..FIRST + SERVICES).map(Server::start).collect();
    let ports: Vec<[(Protocol, u16); 1]> = services
        .iter()
        .map(|service| [(Protocol::Tcp, service.port)])
        .collect();
    let mut known = vec![Known::default(); services.len()];
    let mut look = |is_first: bool| {
        let begun = Instant::now();
        let listeners = Listeners::read(Protocol::Tcp).expect("the kernel tells");
        for ((service, ports), known) in services.iter().zip(&ports).zip(&mut known) {
            if is_first {
                known.clear();
            }
            let subject = Subject {
                ports,
                holds: &[],
                main: service.pid(),
            };
            let seen = observe(&listeners, &subject, known, Vec::new, |_| false);
            assert!(format!("{seen:?}").contains("Listening"), "{seen:?}");
        }
        begun.elapsed()
    };
    let (mut first, mut again, mut table) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let begun = Instant::now();
        drop(Listeners::read(Protocol::Tcp));
        table.push(begun.elapsed());
        first.push(look(true));
        again.push(look(false));
    }
    println!(
        "sweep over {SERVICES} services among {} sockets of others ({LISTENERS} of them listen):",
        usize::from(LISTENERS) + 2 * pairs.len()
    );
    row("the kernel's table alone", &mut table);
    row("sweep, whose sockets are known", &mut again);
    row("sweep, for the first time", &mut first);
}

/// From the death of a service to its port being hard again.
fn gap(rounds: usize, flood: bool) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = std::env::current_exe().expect("this program has a path");
    let noisy = if flood {
        "  noisy: { command: \"yes flood\" }\n"
    } else {
        ""
    };
    let yaml = format!(
        "ports: {{ range: 28000-28099 }}\nservices:\n{noisy}  api:\n    command: [{}]\n    \
         environment: {{ {SERVE}: $<PORT:auto> }}\n    \
         restart_policy: {{ condition: any, delay: 300ms, max_delay: 300ms }}\n",
        server.display()
    );
    fs_err::write(directory.path().join("stack.yaml"), yaml).expect("the file is new");
    // Inherited by all that it starts.
    run_on(0);
    stack(directory.path(), &["up", "--wait"]);
    run_on(1);
    let supervisor = supervisor_of(directory.path());
    let hold = hold_of(supervisor);
    let mut gaps = Vec::new();
    for _ in 0..rounds {
        let service = service_of(directory.path());
        // It serves, so its port is soft.
        let pidfd = pidfd_open(service, PidfdFlags::empty()).expect("it runs");
        assert!(is_soft(&hold), "the service runs");
        kill_process(service, Signal::KILL).expect("it is ours");
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        while !matches!(
            poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&at_once)),
            Ok(1)
        ) {}
        let died = Instant::now();
        // It is executed again no sooner than 0.27 s later.
        while is_soft(&hold) {}
        gaps.push(died.elapsed());
        // The next round starts from a service that serves.
        stack(directory.path(), &["up", "--wait"]);
    }
    stack(directory.path(), &["down", "-t", "0"]);
    println!(
        "from a service's death to its port being hard, {}:",
        if flood {
            "beside a flood of output"
        } else {
            "quiet"
        }
    );
    row("gap", &mut gaps);
}

/// Keeps this process to one processor.
fn run_on(processor: usize) {
    let mut set = CpuSet::new();
    set.set(processor).expect("a processor's number");
    sched_setaffinity(nix::unistd::Pid::from_raw(0), &set).expect("two processors");
}

fn is_soft(hold: &OwnedFd) -> bool {
    SockRef::from(hold).reuse_address().expect("it is a socket")
}

/// A copy of the supervisor's socket that holds port 28000.
fn hold_of(supervisor: Pid) -> OwnedFd {
    let pidfd = pidfd_open(supervisor, PidfdFlags::empty()).expect("it runs");
    (3..1_000)
        .filter_map(|number| pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty()).ok())
        .find(|copy| {
            let address = SockRef::from(copy).local_addr().ok();
            address
                .and_then(|address| address.as_socket())
                .is_some_and(|address| address.port() == 28_000)
        })
        .expect("the supervisor holds the port")
}

fn supervisor_of(directory: &Path) -> Pid {
    let project = fs_err::read_dir(directory.join(".stack"))
        .expect("it runs")
        .flatten()
        .find(|entry| entry.path().join("lock").exists())
        .expect("one instance");
    let text = fs_err::read_to_string(project.path().join("lock")).expect("it is locked");
    let lock: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    pid_of(&lock["supervisor_pid"])
}

fn service_of(directory: &Path) -> Pid {
    let text = stack(directory, &["ps", "--format", "json"]);
    let rows: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let rows = rows.as_array().expect("a list");
    let api = rows.iter().find(|row| row["service"] == "api");
    pid_of(&api.expect("it is listed")["pid"])
}

fn pid_of(value: &serde_json::Value) -> Pid {
    let number = value.as_i64().and_then(|pid| i32::try_from(pid).ok());
    number.and_then(Pid::from_raw).expect("a pid")
}

/// Runs `stack`; gives back what it printed.
fn stack(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_stack"))
        .args(arguments)
        .current_dir(directory)
        .env("XDG_STATE_HOME", directory)
        .output()
        .expect("it was built");
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A server in a process of its own.
struct Server {
    port: u16,
    child: Child,
}

impl Server {
    fn start(port: u16) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program has a path"))
            .env(SERVE, port.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it can be executed");
        let stdout = child.stdout.take().expect("it is a pipe");
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("it says that it is up");
        assert_eq!(line, "up\n", "port {port}");
        Self { port, child }
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn row(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let millis = |at: usize| times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e3);
    println!(
        "  {what:<32} median {:>7.3} ms  90 % {:>7.3} ms  max {:>7.3} ms",
        millis(times.len() / 2),
        millis(times.len() * 9 / 10),
        millis(times.len().saturating_sub(1)),
    );
}
