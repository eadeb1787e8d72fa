//! Servers that replace themselves while they run: none loses its port, however it was handed over.

use std::cell::Cell;
use std::time::{Duration, SystemTime};

use fs_err as fs;
use nix::sys::signal::Signal;

use crate::harness::{Process, TestStack, require, wait_until};

/// Starts the service `server`, which answers with a pid or whatever `reload` changes, and reloads
/// it three times: each time it answers anew, on the same port, as the same attempt.
#[track_caller]
fn reloads(stack: &TestStack, reload: impl Fn(&TestStack, i32, u32)) {
    stack.up_detached();
    let port = stack.port_of("server");
    let server = stack.service("server").expect("it is listed");
    let pid = server.pid().expect("it runs");
    for round in 1..=3 {
        let before = answer(stack, port);
        reload(stack, pid, round);
        wait_until("another answer", || {
            (answer(stack, port) != before).then_some(())
        });
        let now = stack.wait_for("server", "healthy", |it| {
            it.phase() == "healthy" && it.port_state() == "listening"
        });
        assert_eq!((now.attempt(), now.pid()), (1, Some(pid)), "{now:?}");
    }
    assert_eq!(stack.port_of("server"), port);
    stack.down();
}

#[track_caller]
fn answer(stack: &TestStack, port: u16) -> String {
    wait_until("an answer", || stack.get(port, "/")).1
}

/// Sends a signal to the service's main process.
fn signal(pid: i32, signal: Signal) {
    Process::of(pid).expect("it runs").signal(signal);
}

fn service(command: &str, handoff: &str) -> String {
    format!(
        "services: {{ server: {{ command: '{command}', handoff: {handoff}, environment: {{ P: $<PORT:auto> }}, stop_grace_period: 2s }} }}"
    )
}

#[test]
fn a_server_that_binds_again_in_place() {
    for handoff in ["reuse", "release"] {
        let stack = TestStack::new(&service("MISBEHAVE rebind $<PORT>", handoff));
        stack.up_detached();
        let port = stack.port_of("server");
        let pid = stack.service("server").and_then(|server| server.pid());
        for round in 2..=4 {
            signal(pid.expect("it runs"), Signal::SIGHUP);
            stack.wait_for_log("server", &format!("({round})"));
            answer(&stack, port);
        }
        let server = stack.service("server").expect("it is listed");
        assert_eq!((server.attempt(), server.pid()), (1, pid), "{handoff}");
        assert_eq!(server.port_state(), "listening");
        stack.down();
    }
}

#[test]
fn a_supervisor_that_restarts_its_server_as_nodemon_does() {
    for handoff in ["reuse", "release"] {
        let command = "MISBEHAVE reload -- bind $<PORT> --http";
        let stack = TestStack::new(&service(command, handoff));
        reloads(&stack, |_, pid, _| signal(pid, Signal::SIGHUP));
    }
}

/// An application that answers with the pid of its worker and a number that the file says.
fn application(round: u32) -> String {
    format!(
        "import os
body = b'%d of {round}' % os.getpid()
def wsgi(environ, start):
    start('200 OK', [('content-type', 'text/plain')])
    return [body]
async def asgi(scope, receive, send):
    if scope['type'] == 'http':
        await send({{'type': 'http.response.start', 'status': 200, 'headers': []}})
        await send({{'type': 'http.response.body', 'body': body}})
"
    )
}

#[test]
fn uvicorn_with_reload() {
    if !require("uvicorn") {
        return;
    }
    for (handoff, socket) in [
        ("reuse", "--port $<PORT>"),
        ("release", "--port $<PORT>"),
        ("fd", "--fd 3"),
    ] {
        let command = format!("uvicorn app:asgi --reload {socket}");
        let stack = TestStack::new(&service(&command, handoff));
        stack.write("app.py", &application(0));
        // Ahead of the clock from one round to the next.
        let later = Cell::new(SystemTime::now());
        reloads(&stack, |stack, _, round| {
            stack.write("app.py", &application(round));
            let port = stack.port_of("server");
            // The reloader compares the file's time with that of its own first look, which may be
            // still to come: for as long as the old program answers, the file becomes younger.
            wait_until("the new program", || {
                let (_, body) = stack.get(port, "/")?;
                let is_new = body.contains(&format!("of {round}"));
                if !is_new {
                    later.set(later.get() + Duration::from_secs(1));
                    let file = fs::File::options().write(true).open(stack.path("app.py"));
                    let file = file.expect("it is there");
                    file.file().set_modified(later.get()).expect("it is ours");
                }
                is_new.then_some(())
            });
        });
    }
}

#[test]
fn gunicorn_on_sighup() {
    if !require("gunicorn") {
        return;
    }
    for (handoff, socket) in [
        ("reuse", "--bind 127.0.0.1:$<PORT>"),
        ("release", "--bind 127.0.0.1:$<PORT>"),
        ("fd", ""),
    ] {
        let command = format!("gunicorn app:wsgi {socket}");
        let stack = TestStack::new(&service(command.trim_end(), handoff));
        stack.write("app.py", &application(0));
        reloads(&stack, |_, pid, _| signal(pid, Signal::SIGHUP));
    }
}

#[test]
fn flask_like_reloaders_that_execute_themselves_again() {
    if !require("python3") {
        return;
    }
    // The same process, a new program: what werkzeug's and many other reloaders do.
    let script = "import http.server, os, signal, sys, time
stamp = str(time.time_ns()).encode()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header('content-length', str(len(stamp)))
        self.end_headers()
        self.wfile.write(stamp)
    def log_message(self, *_): pass
signal.signal(signal.SIGHUP, lambda *_: os.execv(sys.executable, [sys.executable] + sys.argv))
http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
";
    for handoff in ["reuse", "release"] {
        let stack = TestStack::new(&service("python3 server.py $<PORT>", handoff));
        stack.write("server.py", script);
        reloads(&stack, |_, pid, _| signal(pid, Signal::SIGHUP));
    }
}

#[test]
fn a_node_cluster_that_replaces_its_workers() {
    if !require("node") {
        return;
    }
    let script = "const cluster = require('cluster');
if (cluster.isPrimary) {
  cluster.fork();
  cluster.on('exit', () => cluster.fork());
  process.on('SIGHUP', () => Object.values(cluster.workers)[0].kill());
} else {
  require('http').createServer((_, answer) => answer.end(String(process.pid)))
    .listen(Number(process.argv[2]), '127.0.0.1');
}
";
    for handoff in ["reuse", "release"] {
        let stack = TestStack::new(&service("node server.js $<PORT>", handoff));
        stack.write("server.js", script);
        reloads(&stack, |_, pid, _| signal(pid, Signal::SIGHUP));
    }
}
