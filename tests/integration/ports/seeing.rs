//! What `stack ports`, `stack ports who` and the event stream show of ports: those of every stack,
//! those that no other tool shows, and those of strangers.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use fs_err as fs;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{LIMIT, Output, TestStack, Up, World, phase_is, wait_until};

const TWO: &str = "
services:
  api: { command: MISBEHAVE bind $<PORT:auto> --http }
  web: { command: 'MISBEHAVE bind $<PORT:auto> --host ::1' }
";

/// Two services, of which the second waits for ever for the first.
const WAITING: &str = "
services:
  gate: { command: MISBEHAVE slow-start 200000 -- bind $<PORT:auto>, stop_grace_period: 1s }
  api:
    command: MISBEHAVE bind $<PORT:auto>
    depends_on: { gate: { condition: service_healthy } }
";

const SLOW: &str = "
services:
  api: { command: MISBEHAVE slow-start 200000 -- bind $<PORT:auto> --http, stop_grace_period: 1s }
";

/// `stack ports …`, run where there is no `stack.yaml`.
#[track_caller]
fn ports(stack: &TestStack, arguments: &[&str]) -> Output {
    let all = [&["ports"], arguments].concat();
    let mut command = stack.command(&all);
    command.current_dir(stack.world().path());
    Up::start(stack.world(), command).wait().ok()
}

#[track_caller]
fn list(stack: &TestStack, arguments: &[&str]) -> Vec<Value> {
    let output = ports(stack, &[arguments, &["--format", "json"]].concat());
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output}"))
}

#[track_caller]
fn who(stack: &TestStack, port: u16) -> String {
    ports(stack, &["who", &port.to_string()]).stdout
}

#[track_caller]
fn who_json(stack: &TestStack, port: u16) -> Value {
    let output = ports(stack, &["who", &port.to_string(), "--format", "json"]);
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output}"))
}

/// Whether a text says every one of `parts`.
#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in: {text}");
    }
}

fn directory(stack: &TestStack) -> String {
    stack
        .path("")
        .to_string_lossy()
        .trim_end_matches('/')
        .to_owned()
}

#[test]
fn the_ports_of_two_stacks_are_listed_from_anywhere() {
    let world = World::new();
    let one = TestStack::in_world(&world, "one", TWO);
    let two = TestStack::in_world(&world, "two", TWO);
    one.up_detached();
    two.up_detached();

    let rows = list(&one, &[]);
    let shown: Vec<(String, Value, Value)> = rows
        .iter()
        .map(|row| {
            let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
            let what = format!("{} {} {}", text("service"), text("name"), text("state"));
            (what, row["port"].clone(), row["project_dir"].clone())
        })
        .collect();
    let expected: Vec<(String, Value, Value)> = [(&one, 8000), (&two, 8002)]
        .into_iter()
        .flat_map(|(stack, first)| {
            let services = ["api PORT listening", "web PORT listening"];
            services.into_iter().zip(first..).map(|(what, port)| {
                (
                    what.to_owned(),
                    json!(stack.port(port)),
                    json!(directory(stack)),
                )
            })
        })
        .collect();
    assert_eq!(shown, expected);
    let api = one.service("api").expect("it runs");
    assert_eq!(rows[0]["pid"], json!(api.pid()));
    assert_eq!(rows[0]["bound_to"], "127.0.0.1");
    assert_eq!(rows[1]["bound_to"], "::1");
    assert!(rows.iter().all(|row| row["is_verified"] == true));

    let output = ports(&one, &[]);
    let line = output
        .stdout
        .lines()
        .find(|line| line.contains(&format!("[::1]:{}", two.port(8003))))
        .unwrap_or_else(|| panic!("{output}"));
    let pid = two
        .service("web")
        .and_then(|web| web.pid())
        .expect("it runs");
    says(
        line,
        &[
            "shop",
            "web",
            "PORT",
            "listening",
            &pid.to_string(),
            &directory(&two),
        ],
    );
    one.down();
    two.down();
}

#[test]
fn what_a_stack_had_last_is_listed_only_when_asked_for() {
    let stack = TestStack::new(TWO);
    stack.up_detached();
    stack.down();
    let output = ports(&stack, &[]).says(&["no stack of yours", "stack ports --all"]);
    assert_eq!(output.stdout, "");
    assert_eq!(list(&stack, &[]), Vec::<Value>::new());
    let rows = list(&stack, &["--all"]);
    assert_eq!(rows.len(), 2);
    assert!(
        rows.iter()
            .all(|row| row["state"] == "remembered" && row["supervisor_pid"].is_null())
    );
    says(
        &who(&stack, stack.port(8000)),
        &[
            "nobody has port",
            "remembered for `api` (PORT)",
            "does not run",
        ],
    );
    // What runs has no memories of itself.
    stack.up_detached();
    assert!(
        list(&stack, &["-a"])
            .iter()
            .all(|row| row["state"] != "remembered")
    );
    stack.down();
}

#[test]
fn where_no_stack_ever_ran_there_is_nothing_to_list() {
    let stack = TestStack::new(TWO);
    let output = ports(&stack, &[]);
    assert_eq!(output.stderr, "no stack of yours that has ports runs\n");
    assert_eq!(ports(&stack, &["--all", "--format", "json"]).stdout, "[]\n");
}

#[test]
fn a_held_port_is_explained_though_no_other_tool_shows_it() {
    let stack = TestStack::new(WAITING);
    let up = stack.up();
    stack.wait_for("api", "waiting", phase_is("waiting"));
    let port = stack.port(8001);
    let tables = stack.world().network().enter(|| {
        ["tcp", "tcp6"]
            .map(|name| fs::read_to_string(format!("/proc/thread-self/net/{name}")))
            .map(Result::unwrap_or_default)
            .concat()
    });
    assert!(!tables.contains(&format!(":{port:04X} ")), "{tables}");

    let supervisor = stack.own_process("supervisor_pid").pid;
    let text = who(&stack, port);
    says(
        &text,
        &[
            &format!("port {port} is held for `api` (PORT) of stack `shop`"),
            &directory(&stack),
            &format!("supervisor (pid {supervisor})"),
            "`lsof` do not show it",
        ],
    );
    let told = who_json(&stack, port);
    assert_eq!(told["stacks"][0]["state"], "held");
    // Linux before 6.8 does not show the socket.
    for socket in told["sockets"].as_array().expect("an array") {
        assert_eq!(socket["state"], "held");
        assert_eq!(socket["process"]["pid"], supervisor);
    }
    up.signal(Signal::SIGINT);
    up.wait().expect(130);
}

#[test]
fn replicas_have_rows_of_their_own_and_udp_is_marked() {
    let stack = TestStack::new(
        "
services:
  gate: { command: MISBEHAVE slow-start 200000 -- bind $<PORT:auto>, stop_grace_period: 1s }
  web:
    command: MISBEHAVE bind $<PORT:auto>
    replicas: 2
    depends_on: { gate: { condition: service_healthy } }
  dns:
    command: MISBEHAVE bind $<PORT:auto/tcp+udp> --udp $<FEED:auto/udp>
    depends_on: { gate: { condition: service_healthy } }
",
    );
    let up = stack.up();
    stack.wait_for("dns", "waiting", phase_is("waiting"));
    let text = ports(&stack, &[]).stdout;
    let words: Vec<String> = text
        .lines()
        .skip(2)
        .map(|line| {
            line.split_whitespace()
                .take(5)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    let port = |number| stack.port(number);
    assert_eq!(
        words,
        [
            format!("shop web-1 PORT {} held", port(8001)),
            format!("shop web-2 PORT {} held", port(8002)),
            format!("shop dns PORT {}/tcp+udp held", port(8003)),
            format!("shop dns FEED {}/udp held", port(8004)),
        ],
        "{text}"
    );
    let rows = list(&stack, &[]);
    assert_eq!(
        (&rows[2]["replica"], &rows[2]["replicas"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(rows[3]["protocol"], "tcp+udp");
    says(
        &who(&stack, port(8004)),
        &[
            "UDP port",
            "is held for `dns` (FEED)",
            "udp [::]",
            ": held, pid",
        ],
    );
    up.signal(Signal::SIGINT);
    up.wait().expect(130);
}

#[test]
fn a_strangers_port_is_explained_with_pid_and_command() {
    let stack = TestStack::new(TWO);
    let port = stack.port(8010);
    let mut stranger = stack.helper(&["bind", &port.to_string()]);
    stranger.wait_for_line("listening");
    let text = who(&stack, port);
    says(
        &text,
        &[
            &format!("port {port} is taken by pid {} (`", stranger.pid()),
            &format!("bind {port}`)"),
            &format!("tcp 127.0.0.1:{port}: listening"),
            &directory(&stack),
        ],
    );
    let told = who_json(&stack, port);
    assert_eq!(told["stacks"], json!([]));
    let process = &told["sockets"][0]["process"];
    assert_eq!(process["pid"], stranger.pid());
    assert_eq!(process["directory"], directory(&stack));
    assert!(process["started_at"].as_u64().is_some_and(|at| at > 0));
}

#[test]
fn a_strangers_udp_port_is_seen_and_told_from_tcp() {
    let stack = TestStack::new(TWO);
    let port = stack.port(8010);
    let network = stack.world().network();
    let _socket = network.enter(|| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).expect("free"));
    says(
        &who(&stack, port),
        &[&format!("UDP port {port} is taken by pid")],
    );
    assert_eq!(who_json(&stack, port)["sockets"][0]["protocol"], "udp");
}

#[test]
fn leftovers_and_outgoing_connections_are_called_what_they_are() {
    let stack = TestStack::new(TWO);
    let port = stack.port(8010);
    let (client, number) = stack.world().network().enter(|| {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("free");
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it listens");
        let number = client.local_addr().expect("connected").port();
        let (accepted, _) = server.accept().expect("a client");
        // The server's connection is closed first, so that its end stays.
        drop(accepted);
        (client, number)
    });
    says(
        &who(&stack, number),
        &[
            "outgoing connection of pid",
            &format!("to 127.0.0.1:{port}"),
        ],
    );
    drop(client);
    let text = wait_until("leftovers alone", || {
        Some(who(&stack, port)).filter(|text| text.contains("closed connections are left"))
    });
    says(&text, &["which the kernel keeps for a minute"]);
    let told = who_json(&stack, port);
    assert_eq!(told["sockets"][0]["state"], "leftover");
    assert_eq!(told["sockets"][0]["process"], Value::Null);
}

#[test]
fn what_is_known_of_a_free_number_is_told() {
    let stack = TestStack::new(TWO);
    let port = stack.port(8010);
    assert_eq!(who(&stack, port), format!("nobody has port {port}\n"));
    let granted = ports(&stack, &["free", "--range", &format!("{port}-{port}")]);
    assert_eq!(granted.stdout, format!("{port}\n"));
    says(
        &who(&stack, port),
        &["nobody has port", "given out by `stack ports free`"],
    );
    assert_eq!(who_json(&stack, port)["is_granted"], true);
    says(&who(&stack, 6000), &["browsers refuse to connect"]);
    says(&who(&stack, 40_000), &["range of outgoing connections"]);
}

#[test]
fn of_a_stolen_port_both_are_named_whose_it_is_and_who_has_it() {
    let stack = TestStack::new(SLOW);
    stack.run(&["up", "-d"]).ok();
    let port = stack.port_of("api");
    let mut thief = stack.helper(&["steal", &port.to_string(), "--reuseaddr"]);
    thief.wait_for_line("stole");
    stack.wait_for("api", "stolen", |api| api.port_state() == "stolen");
    says(
        &who(&stack, port),
        &[
            &format!("port {port} belongs to `api` (PORT) of stack `shop`"),
            &format!("stolen by pid {}", thief.pid()),
            &format!("tcp 127.0.0.1:{port}: listening, pid {}", thief.pid()),
        ],
    );
    let row = &list(&stack, &[])[0];
    assert_eq!(
        (&row["state"], &row["pid"]),
        (&json!("stolen"), &json!(thief.pid()))
    );
    assert_eq!(row["bound_to"], "127.0.0.1");
    says(
        row["command"].as_str().unwrap_or_default(),
        &["misbehave", "steal"],
    );
    stack.down();
}

#[test]
fn a_service_that_listens_elsewhere_is_found_by_either_number() {
    let stack = TestStack::new(
        "services: { api: { command: MISBEHAVE bind-elsewhere, environment: { P: $<PORT:auto> } } }",
    );
    stack.run(&["up", "-d"]).ok();
    stack.wait_for("api", "wrong port", |api| api.port_state() == "wrong_port");
    let row = &list(&stack, &[])[0];
    assert_eq!(
        (&row["state"], &row["bound_to"]),
        (&json!("wrong_port"), &json!("127.0.0.1"))
    );
    let elsewhere = row["listens_on"][0].as_u64().expect("a port");
    let elsewhere = u16::try_from(elsewhere).expect("a port");
    says(
        &ports(&stack, &[]).stdout,
        &["wrong port", &format!("127.0.0.1:{elsewhere}")],
    );
    says(
        &who(&stack, stack.port(8000)),
        &[&format!("which listens on {elsewhere} instead")],
    );
    says(
        &who(&stack, elsewhere),
        &["is taken by pid", "service `api` of instance shop-"],
    );
    stack.down();
}

#[test]
fn a_stack_whose_supervisor_is_suspended_is_listed_as_the_kernel_sees_it() {
    let world = World::new();
    let stack = TestStack::in_world(&world, "one", TWO);
    let other = TestStack::in_world(
        &world,
        "two",
        "services: { db: { command: MISBEHAVE bind $<PORT:auto> } }",
    );
    stack.up_detached();
    other.up_detached();
    let api = stack.service("api").and_then(|api| api.pid());
    let supervisor = stack.own_process("supervisor_pid");
    supervisor.signal(Signal::SIGSTOP);
    let output = ports(&stack, &["--format", "json"]).says(&[
        "warning: stack `shop`",
        &directory(&stack),
        &format!("(pid {})", supervisor.pid),
        "as the kernel sees them",
    ]);
    supervisor.signal(Signal::SIGCONT);
    let rows: Vec<Value> = serde_json::from_str(&output.stdout).expect("an array");
    let states: Vec<_> = rows
        .iter()
        .map(|row| (&row["state"], &row["is_verified"]))
        .collect();
    let [listening, yes, no] = [json!("listening"), json!(true), json!(false)];
    assert_eq!(states.len(), 3, "{output}");
    assert_eq!(states[0], (&listening, &no));
    assert_eq!(rows[0]["pid"], json!(api));
    assert_eq!(states[1], (&listening, &no));
    assert_eq!(states[2], (&listening, &yes));
    stack.down();
    other.down();
}

/// The lines of the event stream of a stack, from its control socket.
struct Events(BufReader<UnixStream>);

impl Events {
    fn of(stack: &TestStack) -> Self {
        let lock = stack.lock();
        let path = lock["socket"]
            .as_str()
            .expect("a running stack has a socket");
        let mut socket = UnixStream::connect(path).expect("it listens");
        socket
            .set_read_timeout(Some(LIMIT))
            .expect("a socket has a limit");
        // Of version 1.0, so that the body comes as it is.
        socket
            .write_all(b"GET /v1/events HTTP/1.0\r\nHost: stack\r\n\r\n")
            .expect("it reads");
        Self(BufReader::new(socket))
    }

    /// The next line that is an event and fits.
    #[track_caller]
    fn wait_for(&mut self, what: &str, mut fits: impl FnMut(&Value) -> bool) -> Value {
        let mut line = String::new();
        loop {
            line.clear();
            let length = self.0.read_line(&mut line);
            assert!(length.is_ok_and(|length| length > 0), "no event: {what}");
            if let Ok(event) = serde_json::from_str::<Value>(&line)
                && fits(&event)
            {
                return event;
            }
        }
    }
}

#[test]
fn a_theft_is_an_event_with_pid_command_and_address() {
    let stack = TestStack::new(SLOW);
    stack.run(&["up", "-d"]).ok();
    let mut events = Events::of(&stack);
    events.wait_for("the snapshot", |event| event["stack"].is_object());
    let port = stack.port_of("api");
    let mut thief = stack.helper(&["steal", &port.to_string(), "--reuseaddr"]);
    thief.wait_for_line("stole");
    let event = events.wait_for("a theft", |event| event["ports"][0]["state"] == "stolen");
    let seen = &event["ports"][0];
    assert_eq!(seen["pid"], thief.pid());
    assert_eq!(seen["bound_to"], "127.0.0.1");
    says(
        seen["command"].as_str().unwrap_or_default(),
        &["misbehave", "steal"],
    );
    // That it ends is news, too.
    drop(thief);
    events.wait_for("the end of the theft", |event| {
        event["ports"][0]["state"] == "not_listening"
    });
    stack.down();
}

/// The names in the first column of the table under a heading of the guide.
fn documented(heading: &str) -> BTreeSet<String> {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/ports.md");
    let text = fs::read_to_string(guide).expect("the guide is there");
    let (_, section) = text
        .split_once(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("no `{heading}` in the guide"));
    section
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[track_caller]
fn keys(value: &Value) -> BTreeSet<String> {
    let object = value
        .as_object()
        .unwrap_or_else(|| panic!("no object: {value}"));
    object.keys().cloned().collect()
}

#[test]
fn the_documented_fields_are_those_that_are_printed() {
    let world: Arc<World> = World::new();
    let stack = TestStack::in_world(&world, "one", TWO);
    stack.up_detached();
    let told = who_json(&stack, stack.port(8000));
    assert_eq!(
        keys(&list(&stack, &[])[0]),
        documented("### `stack ports --format json`")
    );
    assert_eq!(keys(&told["stacks"][0]), keys(&list(&stack, &[])[0]));
    assert_eq!(
        keys(&told),
        documented("### `stack ports who --format json`")
    );
    let socket = &told["sockets"][0];
    assert_eq!(keys(socket), documented("Each of `sockets`:"));
    assert_eq!(keys(&socket["process"]), documented("Its `process`:"));
    stack.down();
}
