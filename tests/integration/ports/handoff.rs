//! How a port reaches its service: learned or explicit `release`, and `fd`.

use nix::sys::signal::Signal;

use crate::harness::{Occupied, Process, TestStack, phase_is, require};

/// Whether the ledger says of the stack that a hold must be released.
fn is_learned(stack: &TestStack) -> bool {
    let row = stack.ledger_row();
    assert!(row["sticky"].is_array(), "{row}");
    row.get("release").is_some()
}

/// Starts a service that never sets `SO_REUSEADDR`, twice: no setting is needed, the port is the
/// same, and what the first run has learned the second one knows. Nobody connects: such a server
/// cannot have its port back for a minute after it has closed a connection.
#[track_caller]
fn starts_and_is_remembered(command: &str) {
    let stack = TestStack::new(&format!(
        "services: {{ server: {{ command: {command}, stop_grace_period: 2s }} }}"
    ));
    stack.up_detached();
    let server = stack.service("server").expect("it is listed");
    assert_eq!(server.port_state(), "listening", "{server:?}");
    let port = stack.port_of("server");
    stack.down();
    assert!(is_learned(&stack));

    stack.up_detached();
    let server = stack.service("server").expect("it is listed");
    assert_eq!(server.attempt(), 1, "{server:?}");
    assert_eq!(server.port_state(), "listening", "{server:?}");
    assert_eq!(stack.port_of("server"), port);
    stack.down();
}

#[test]
fn a_server_that_never_sets_reuseaddr_is_learned_and_remembered() {
    starts_and_is_remembered("MISBEHAVE bind $<PORT:auto> --no-reuseaddr");
}

#[test]
fn a_server_that_fails_without_a_word_keeps_its_hold() {
    // A crash loop must not be able to open it.
    let stack = TestStack::new(
        "services: { server: { command: MISBEHAVE bind $<PORT:auto> --no-reuseaddr --silent }, on: { command: MISBEHAVE sleep } }",
    );
    stack.run(&["up", "-d"]);
    let server = stack.wait_for("server", "failed", phase_is("failed"));
    assert_eq!((server.attempt(), server.exit_code()), (1, Some(70)));
    stack.down();
}

#[test]
fn a_server_that_complains_and_stays_is_learned_as_well() {
    starts_and_is_remembered("MISBEHAVE bind $<PORT:auto> --no-reuseaddr --stay-when-taken");
}

#[test]
fn so_is_one_that_sets_reuseport_alone() {
    starts_and_is_remembered("MISBEHAVE bind $<PORT:auto> --reuseport-only");
}

#[test]
fn so_is_one_on_all_addresses() {
    starts_and_is_remembered("'MISBEHAVE bind $<PORT:auto> --no-reuseaddr --host ::'");
}

#[test]
fn python_socketserver() {
    if require("python3") {
        starts_and_is_remembered(
            "[python3, -c, 'import socketserver, sys; socketserver.TCPServer((\"127.0.0.1\", int(sys.argv[1])), socketserver.BaseRequestHandler).serve_forever()', $<PORT:auto>]",
        );
    }
}

#[test]
fn perl_io_socket() {
    if require("perl") {
        starts_and_is_remembered(
            "[perl, -MIO::Socket::INET, -e, 'my $s = IO::Socket::INET->new(LocalAddr => \"127.0.0.1\", LocalPort => $ARGV[0], Listen => 5) or die \"cannot bind: $!\"; $s->accept while 1', $<PORT:auto>]",
        );
    }
}

#[test]
fn socat_without_reuseaddr() {
    if require("socat") {
        starts_and_is_remembered("'socat TCP-LISTEN:$<PORT:auto>,bind=127.0.0.1,fork SYSTEM:true'");
    }
}

#[test]
fn erlang_gen_tcp() {
    if require("erl") {
        starts_and_is_remembered(
            "[erl, -noshell, -eval, '{ok, S} = gen_tcp:listen($<PORT:auto>, [{ip, {127, 0, 0, 1}}]), gen_tcp:accept(S).']",
        );
    }
}

#[test]
fn a_port_that_is_released_needs_no_second_attempt_and_is_held_again_after_each_exit() {
    let stack = TestStack::new(
        "services: { api: { command: MISBEHAVE bind $<PORT:auto> --no-reuseaddr, handoff: release }, on: { command: MISBEHAVE sleep } }",
    );
    stack.up_detached();
    let api = stack.service("api").expect("it is listed");
    assert_eq!((api.attempt(), api.port_state()), (1, "listening"));
    stack.run(&["stop", "api"]).ok();
    let port = stack.port_of("api");
    for more in [&[][..], &["--reuseaddr"][..]] {
        let number = port.to_string();
        let steal = [&["steal", &number, "--tries", "200"], more].concat();
        let output = stack.helper(&steal).wait().ok();
        assert!(!output.stdout.contains("stole"), "{output}");
    }
    stack.run(&["start", "api"]).ok();
    stack.wait_for("api", "healthy", phase_is("healthy"));
    assert_eq!(stack.port_of("api"), port);
    stack.down();
}

#[test]
fn a_server_whose_port_was_stolen_is_not_taken_for_one_without_reuseaddr() {
    let stack = TestStack::new(
        "services: { api: { command: MISBEHAVE wait-file go -- bind $<PORT:auto> --http }, on: { command: MISBEHAVE sleep } }",
    );
    stack.run(&["up", "-d"]).ok();
    let port = stack.port_of("api").to_string();
    let mut intruder = stack.helper(&["steal", &port, "--reuseaddr"]);
    intruder.wait_for_line("stole");
    stack.write("go", "");
    let api = stack.wait_for("api", "failed", phase_is("failed"));
    assert!(
        api.reason().contains(&intruder.pid().to_string()),
        "{api:?}"
    );
    stack.down();
    assert!(!is_learned(&stack));
}

/// Clients ask without a pause while the service is restarted and killed: not one is refused.
#[track_caller]
fn clients_queue(stack: &TestStack) {
    stack.up_detached();
    let port = stack.port_of("server").to_string();
    let clients = stack.helper(&["clients", "127.0.0.1", &port, "6", "enough"]);
    for _ in 0..3 {
        let before = stack.service("server").and_then(|it| it.pid());
        stack.run(&["restart", "server"]).ok();
        stack.wait_for("server", "ready again", |it| {
            it.phase() == "healthy" && it.pid() != before
        });
    }
    for _ in 0..2 {
        let before = stack.service("server").and_then(|it| it.pid());
        let process = Process::of(before.expect("it runs")).expect("it runs");
        process.signal(Signal::SIGKILL);
        stack.wait_for("server", "ready again", |it| {
            it.phase() == "healthy" && it.pid() != before
        });
    }
    stack.write("enough", "");
    let output = clients.wait().ok();
    assert!(output.stdout.contains("refused 0,"), "{output}");
    assert!(!output.stdout.contains("answered 0,"), "{output}");
    assert_eq!(stack.port_of("server").to_string(), port);
    stack.down();
}

#[test]
fn clients_of_a_passed_socket_are_never_refused() {
    let stack = TestStack::new(
        "services: { server: { command: MISBEHAVE fd-serve --slow-start 300, handoff: fd, restart: always, environment: { P: $<PORT:auto> } } }",
    );
    clients_queue(&stack);
    let log = String::from_utf8_lossy(&stack.log("server")).into_owned();
    assert!(log.contains("1 as `PORT`"), "{log}");
}

#[test]
fn nor_are_they_while_it_waits_for_others_that_are_restarted_with_it() {
    let stack = TestStack::new(
        "services: { server: { command: MISBEHAVE fd-serve, handoff: fd, environment: { P: $<PORT:auto> } }, slow: { command: MISBEHAVE ignore-term, stop_grace_period: 1s } }",
    );
    stack.up_detached();
    let port = stack.port_of("server").to_string();
    let clients = stack.helper(&["clients", "127.0.0.1", &port, "3", "enough"]);
    stack.run(&["restart"]).ok();
    stack.write("enough", "");
    let output = clients.wait().ok();
    assert!(output.stdout.contains("refused 0,"), "{output}");
    stack.down();
}

/// The application that the Python servers run: it answers with the pid of its worker.
const APPLICATION: &str = "import os
def wsgi(environ, start):
    start('200 OK', [('content-type', 'text/plain')])
    return [b'pid %d' % os.getpid()]
async def asgi(scope, receive, send):
    if scope['type'] == 'http':
        await send({'type': 'http.response.start', 'status': 200, 'headers': []})
        await send({'type': 'http.response.body', 'body': b'pid %d' % os.getpid()})
";

#[test]
fn gunicorn_takes_the_passed_socket_without_a_flag() {
    if !require("gunicorn") {
        return;
    }
    let stack = TestStack::new(
        "services: { server: { command: gunicorn app:wsgi, handoff: fd, restart: always, environment: { P: $<PORT:auto> } } }",
    );
    stack.write("app.py", APPLICATION);
    clients_queue(&stack);
}

#[test]
fn uvicorn_takes_the_passed_socket_as_its_descriptor_3() {
    if !require("uvicorn") {
        return;
    }
    let stack = TestStack::new(
        "services: { server: { command: uvicorn app:asgi --fd 3, handoff: fd, restart: always, environment: { P: $<PORT:auto> } } }",
    );
    stack.write("app.py", APPLICATION);
    clients_queue(&stack);
}

#[test]
fn two_ports_are_passed_in_order_and_by_name() {
    let stack = TestStack::new(
        "services: { server: { command: MISBEHAVE fd-serve, handoff: fd, environment: { P: '$<WEB:auto> $<ADMIN:auto>' } } }",
    );
    stack.run(&["up", "-d"]).ok();
    stack.wait_for_log("server", "2 as `WEB:ADMIN`");
    let log = String::from_utf8_lossy(&stack.log("server")).into_owned();
    assert!(log.contains(&format!(":{}, 2", stack.port(8000))), "{log}");
    stack.down();
}

#[test]
fn a_passed_socket_survives_the_exec_of_a_shell() {
    let stack = TestStack::new(
        "services: { server: { command: 'true && exec MISBEHAVE fd-serve', handoff: fd, environment: { P: $<PORT:auto> } } }",
    );
    stack.up_detached();
    let pid = stack.service("server").and_then(|server| server.pid());
    let (_, body) = stack.get(stack.port_of("server"), "/").expect("an answer");
    assert_eq!(body, format!("pid {}", pid.expect("it runs")));
    stack.down();
}

#[test]
fn no_other_service_and_no_check_is_given_the_passed_socket() {
    let stack = TestStack::new(
        "
services:
  server: { command: MISBEHAVE fd-serve, handoff: fd, environment: { P: $<PORT:auto> }, healthcheck: { test: MISBEHAVE fd-dump check; env > check-env, interval: 50ms } }
  other: { command: MISBEHAVE fd-dump other, depends_on: { server: { condition: service_healthy } } }
",
    );
    stack.run(&["up", "-d"]).ok();
    for file in ["check", "other"] {
        let descriptors = stack.wait_for_file(file);
        assert!(!descriptors.contains("socket"), "{file}: {descriptors}");
    }
    let environment = stack.wait_for_file("check-env");
    assert!(!environment.contains("LISTEN_"), "{environment}");
    stack.down();
}

#[test]
fn a_passed_port_is_kept_from_all_intruders_while_nobody_serves_it_and_clients_queue() {
    let stack = TestStack::new(
        "services: { server: { command: MISBEHAVE wait-file go -- fd-serve, handoff: fd, environment: { P: $<PORT:auto> } } }",
    );
    stack.run(&["up", "-d"]).ok();
    let port = stack.port_of("server").to_string();
    for host in ["127.0.0.1", "::", "0.0.0.0"] {
        let bind = stack.helper(&["bind", &port, "--host", host]).wait();
        assert_eq!(bind.code, 70, "{host}: {bind}");
    }
    // Whoever comes now waits in the queue.
    let waiting = stack.helper(&["http-get", "127.0.0.1", &port, "/"]);
    stack.write("go", "");
    let answer = waiting.wait().ok();
    let pid = stack.service("server").and_then(|server| server.pid());
    assert_eq!(
        answer.stdout,
        format!("200 pid {}\n", pid.expect("it runs"))
    );
    stack.down();
    drop(stack.occupy(8000, Occupied::AnyDual));
}
