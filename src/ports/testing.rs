//! What the tests of this room share: a network of their own, and requests in few words.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;

use socket2::{Domain, Socket, Type};

use crate::support::name::{PortName, ServiceName};
use crate::support::port_range::PortRange;
use crate::support::protocol::Protocol;
use crate::support::testing::test_of;

use super::hold::Hold;
use super::request::{Owner, Pool, PortKey, PortRequest, Want, Wish};

/// Set in a test process that was started in a network namespace of its own.
const INSIDE: &str = "STACK_TEST_NETNS";

/// Runs `body`, a closure of a test, in a process and a network namespace of its own, loopback up:
/// every port is free there, and nobody else is disturbed.
///
/// The process matters as much as the namespace: a test beside it that forks has, until its exec,
/// a copy of every socket of this process, and a hold that was dropped would live on in it.
pub(crate) fn in_own_network<F: FnOnce() + Send + 'static>(body: F) {
    if std::env::var_os(INSIDE).is_some() {
        raise_loopback();
        body();
    } else {
        again_under_unshare(test_of::<F>());
    }
}

fn again_under_unshare(name: &str) {
    let is_root = nix::unistd::geteuid().is_root();
    let flags: &[&str] = if is_root {
        &["--net"]
    } else {
        &["--user", "--map-root-user", "--net"]
    };
    let output = Command::new("unshare")
        .args(flags)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output();
    let refused = |why: &str| {
        assert!(
            std::env::var_os("STACK_TEST_REQUIRE").is_none(),
            "needs a network namespace: {why}"
        );
        println!("skipped: needs a network namespace");
    };
    match output {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let told = String::from_utf8_lossy(&output.stdout);
            assert!(said.starts_with("unshare:"), "{told}{said}");
            refused(&said);
        }
        Err(error) => refused(&error.to_string()),
    }
}

/// `RTM_NEWLINK` for interface 1 with `IFF_UP`: rtnetlink(7).
fn raise_loopback() {
    let mut message = Vec::new();
    for word in [32_u32, 16 | (1 << 16), 1, 0, 0, 1, 1, 1] {
        message.extend(word.to_ne_bytes());
    }
    let socket = netlink_sys::Socket::new(netlink_sys::protocols::NETLINK_ROUTE).unwrap();
    socket.send(&message, 0).unwrap();
    let up = (0..100).any(|_| {
        let up = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| std::net::TcpStream::connect(listener.local_addr()?).map(|_| ()))
            .is_ok();
        if !up {
            thread::yield_now();
        }
        up
    });
    assert!(up, "the loopback interface does not come up");
}

/// Mounts a small file system on `path`, seen by this thread and what it starts only. `false` where
/// that is not allowed.
pub(crate) fn private_tmpfs(path: &Path, size: &str) -> bool {
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    // A mount namespace needs a file-system view of its own, which threads otherwise share.
    let mounted = unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS)
        .and_then(|()| {
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
        })
        .and_then(|()| {
            let none = MsFlags::empty();
            mount(Some("tmpfs"), path, Some("tmpfs"), none, Some(size))
        });
    mounted.is_ok()
}

/// How a test's socket is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Made {
    pub(crate) reuse: bool,
    pub(crate) only_v6: bool,
    pub(crate) listen: bool,
}

impl Made {
    pub(crate) const LISTENER: Self = Self {
        reuse: true,
        only_v6: false,
        listen: true,
    };
}

/// A TCP socket on `address`.
pub(crate) fn socket(address: SocketAddr, made: Made) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(made.only_v6)?;
    }
    socket.set_reuse_address(made.reuse)?;
    socket.bind(&address.into())?;
    if made.listen {
        socket.listen(16)?;
    }
    Ok(socket)
}

/// A server on the address, as nearly all are: `SO_REUSEADDR`, listening.
pub(crate) fn listener(address: &str) -> Socket {
    socket(address.parse().unwrap(), Made::LISTENER).unwrap()
}

pub(crate) fn key(service: &str) -> PortKey {
    PortKey {
        replica: 1,
        service: ServiceName::new(service).unwrap(),
        name: PortName::new("PORT").unwrap(),
    }
}

pub(crate) fn request(service: &str, want: Want) -> PortRequest {
    PortRequest {
        protocol: Protocol::Tcp,
        key: key(service),
        want,
        wish: None,
    }
}

pub(crate) fn wish(service: &str, want: Want, port: u16) -> PortRequest {
    PortRequest {
        protocol: Protocol::Tcp,
        wish: Some(Wish {
            port,
            origin: "API_PORT in the environment".to_owned(),
        }),
        ..request(service, want)
    }
}

pub(crate) fn range(text: &str) -> PortRange {
    text.parse().unwrap()
}

pub(crate) fn pool(ranges: &[&str]) -> Pool {
    Pool {
        ranges: ranges.iter().map(|text| range(text)).collect(),
        exclude: Vec::new(),
    }
}

pub(crate) fn owner(project: &str, directory: &Path) -> Owner {
    Owner {
        instance: format!("{project}-0123456789abcdef"),
        project: project.to_owned(),
        project_dir: directory.to_path_buf(),
    }
}

/// A test of this binary in a process of its own, ended when it is dropped.
pub(crate) struct Helper {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<std::process::ChildStdout>,
}

impl Helper {
    /// One that says `ready:` and does nothing more.
    pub(crate) fn idle() -> Self {
        Self::start("ports::testing::helper_idles", &[])
    }

    /// Starts the ignored test `name`, in the network namespace of this thread.
    pub(crate) fn start(name: &str, env: &[(&str, &str)]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--ignored", "--nocapture", "--quiet"])
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Lets it go on, where it waits for a line.
    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Its next line that begins with `prefix`, without it.
    pub(crate) fn hear(&mut self, prefix: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(
                self.output.read_line(&mut line).unwrap(),
                0,
                "it ended early"
            );
            if let Some((_, rest)) = line.split_once(prefix) {
                return rest.trim().to_owned();
            }
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // The end of its input lets it end by itself, with all that it has started.
        drop(self.input.take());
        drop(std::io::copy(&mut self.output, &mut std::io::sink()));
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Not a test: a process that does nothing until it is let go.
#[test]
#[ignore = "a helper of other tests"]
fn helper_idles() {
    println!("ready:");
    drop(std::io::stdin().read_line(&mut String::new()));
}

/// Whether a hold lets those bind that set `SO_REUSEADDR`.
pub(crate) fn is_soft(hold: &Hold) -> bool {
    let socket = hold.sockets().next().unwrap();
    socket2::SockRef::from(&socket).reuse_address().unwrap()
}
