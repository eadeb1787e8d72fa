//! Machines that are poor, odd or busy: no IPv6, few descriptors, outgoing connections everywhere,
//! reserved ports, another user, another network.

use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use fs_err as fs;
use nix::unistd::geteuid;

use crate::harness::{
    Occupied, Output, TestStack, Up, World, binary, lacks, misbehave, wait_until,
};

const THREE: &str = "
services:
  one: { command: MISBEHAVE bind $<PORT:auto> --http }
  two: { command: MISBEHAVE bind $<PORT:auto> --http }
  three: { command: MISBEHAVE bind $<PORT:auto> --http }
";

const SERVICES: [&str; 3] = ["one", "two", "three"];

#[track_caller]
fn expect_three(stack: &TestStack, expected: [u16; 3]) {
    let ports = SERVICES.map(|service| stack.port_of(service));
    assert_eq!(ports, expected.map(|port| stack.port(port)));
    for (service, port) in SERVICES.into_iter().zip(ports) {
        let pid = stack.service(service).and_then(|service| service.pid());
        let (_, body) = stack.get(port, "/").expect("an answer");
        assert_eq!(body, format!("pid {}", pid.expect("it runs")));
    }
}

#[test]
fn ipv6_switched_off_by_sysctl_changes_nothing() {
    let stack = TestStack::new(THREE);
    if !stack.world().set_kernel("ipv6/conf/all/disable_ipv6", "1") {
        return;
    }
    let _taken = stack.occupy(8001, Occupied::AnyV4);
    stack.up_detached();
    expect_three(&stack, [8000, 8002, 8003]);
    stack.down();
}

#[test]
fn a_kernel_without_ipv6_is_served() {
    let stack = TestStack::new(THREE);
    let taken = stack.occupy(8001, Occupied::Loopback);
    let without_ipv6 = ["MISBEHAVE", "no-ipv6", "--"];
    stack
        .run_command(stack.wrapped(&without_ipv6, &["up", "--wait"]))
        .ok();
    drop(taken);
    expect_three(&stack, [8000, 8002, 8003]);
    // A crash hardens and softens the hold, which is one for IPv4 here.
    let first = stack.service("two").and_then(|two| two.pid());
    stack.run(&["restart", "two"]).ok();
    stack.wait_for("two", "healthy again", |two| {
        two.phase() == "healthy" && two.pid() != first
    });
    stack.down();
}

/// A service with 100 ports, on none of which it listens.
fn a_hundred_ports() -> String {
    let ports: Vec<String> = (0..100).map(|index| format!("$<P{index}:auto>")).collect();
    format!(
        "services: {{ hungry: {{ command: MISBEHAVE sleep, environment: {{ PORTS: '{}' }} }} }}",
        ports.join(" ")
    )
}

#[test]
fn a_soft_limit_on_open_files_is_raised() {
    let stack = TestStack::new(&format!(
        "ports: {{ range: 8000-8199 }}\n{}",
        a_hundred_ports()
    ));
    if stack.world().network().identity().is_none() {
        lacks("a network with 100 ports to give");
        return;
    }
    let poor = ["sh", "-c", "ulimit -Sn 64 && exec \"$0\" \"$@\""];
    stack.run_command(stack.wrapped(&poor, &["up", "-d"])).ok();
    let ports: BTreeSet<String> = stack.dotenv().into_values().collect();
    assert_eq!(ports.len(), 100);
    // The service has the caller's limit, not the one that the holds needed.
    let pid = stack.service("hungry").and_then(|hungry| hungry.pid());
    let limits = fs::read_to_string(format!("/proc/{}/limits", pid.expect("it runs")))
        .expect("a process has limits");
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .expect("it is listed");
    assert_eq!(files.split_whitespace().nth(3), Some("64"), "{files}");
    stack.down();
}

#[test]
fn a_hard_limit_on_open_files_is_named_and_nothing_is_written() {
    let stack = TestStack::new(&format!(
        "ports: {{ range: 8000-8199 }}\n{}",
        a_hundred_ports()
    ));
    if stack.world().network().identity().is_none() {
        lacks("a network with 100 ports to give");
        return;
    }
    stack.write(".env", "MINE=1\n");
    let poor = ["MISBEHAVE", "fd-limit", "64", "--"];
    stack
        .run_command(stack.wrapped(&poor, &["up", "-d"]))
        .expect(1)
        .says(&["100 ports", "64", "ulimit -n"]);
    assert_eq!(stack.read(".env"), "MINE=1\n");
    let _free = stack.occupy(8000, Occupied::AnyDual);
    assert!(stack.service_processes().is_empty());
}

#[test]
fn outgoing_connections_in_the_range_are_warned_about_and_skipped() {
    let stack = TestStack::new(&format!("ports: {{ range: 8040-8399 }}\n{}", twenty()));
    if !stack
        .world()
        .set_kernel("ipv4/ip_local_port_range", "8050 8399")
    {
        return;
    }
    let mut outgoing = stack.helper(&["outgoing", "9500", "250"]);
    outgoing.wait_for_line("connected 250");
    let output = stack.up_detached().says(&["8040-8399", "8050-8399"]);
    assert_eq!(output.stderr.matches("overlap").count(), 1, "{output}");
    let ports = stack.dotenv();
    assert_eq!(ports.values().collect::<BTreeSet<_>>().len(), 20);
    // Connections that come later take no port of a service, be it down or not.
    stack.run(&["stop", "s0", "s19"]).ok();
    let mut more = stack.helper(&["outgoing", "9501", "60"]);
    more.wait_for_line("connected 60");
    stack.run(&["start", "s0", "s19"]).ok();
    for service in ["s0", "s19"] {
        stack.wait_for(service, "healthy", |it| it.phase() == "healthy");
    }
    stack.down();
    stack.up_detached();
    assert_eq!(stack.dotenv(), ports, "they have stayed");
    stack.down();
}

/// Twenty services, `s0` to `s19`.
fn twenty() -> String {
    let services: Vec<String> = (0..20)
        .map(|index| format!("  s{index}: {{ command: MISBEHAVE bind $<PORT:auto> }}\n"))
        .collect();
    format!("services:\n{}", services.concat())
}

#[test]
fn ports_that_the_kernel_reserves_are_given_to_nobody() {
    let stack = TestStack::new(THREE);
    if !stack
        .world()
        .set_kernel("ipv4/ip_local_reserved_ports", "8000,8002-8003")
    {
        return;
    }
    stack.up_detached();
    expect_three(&stack, [8001, 8004, 8005]);
    stack.down();
}

#[test]
fn another_user_of_the_machine_has_other_ports_and_a_ledger_of_his_own() {
    if !geteuid().is_root() {
        lacks("root, who can be somebody else");
        return;
    }
    let world = World::new();
    let ours = TestStack::in_world(&world, "ours", THREE);
    ours.up_detached();
    // He reaches nothing but the world's directory, and has his programs there.
    fs::set_permissions(world.path(), PermissionsExt::from_mode(0o755)).expect("it is ours");
    let bin = world.path().join("bin");
    fs::create_dir(&bin).expect("it is new");
    for program in [binary(), misbehave()] {
        let name = program.file_name().expect("it has a name");
        fs::copy(&program, bin.join(name)).expect("there is room");
    }
    let yaml = THREE.replace("MISBEHAVE", &bin.join("misbehave").display().to_string());
    let mut his = TestStack::in_world(&world, "his", &yaml);
    let home = world.path().join("home");
    fs::create_dir(&home).expect("it is new");
    for path in [
        his.path(""),
        his.path("stack.yaml"),
        home.clone(),
        world.path().join("tmp"),
    ] {
        chown(path, Some(65534), Some(65534)).expect("root may");
    }
    his.set("HOME", &home.display().to_string());
    his.set("XDG_STATE_HOME", &home.join("state").display().to_string());
    his.set("ONE_PORT", &his.port(8000).to_string());
    let run = |arguments: &[&str]| -> Output {
        let mut command = Command::new(misbehave());
        let inner = his.command(arguments);
        command
            .args(["as-nobody", "--"])
            .arg(bin.join("stack"))
            .args(arguments)
            .current_dir(his.path(""));
        for (key, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        Up::start(&world, command).wait()
    };
    run(&["up", "--wait"])
        .ok()
        .says(&[&his.port(8000).to_string(), "ONE_PORT"]);
    expect_three(&ours, [8000, 8001, 8002]);
    let ports = SERVICES.map(|service| his.port_of(service));
    assert_eq!(ports, [8003, 8004, 8005].map(|port| his.port(port)));
    assert!(home.join("state/stack/ports").exists());
    run(&["down"]).ok();
    ours.down();
}

#[test]
fn a_reader_of_dotenv_never_sees_half_of_it() {
    let stack = TestStack::new(THREE);
    let yaml = |round: u32| {
        let vars: Vec<String> = (0..200)
            .map(|index| format!("    V{index}: round-{round}\n"))
            .collect();
        format!("dotenv:\n  vars:\n{}{THREE}", vars.concat())
    };
    stack.write(".env", "MINE=1\n");
    let path = stack.path(".env");
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = BTreeSet::new();
            while !is_over.load(std::sync::atomic::Ordering::SeqCst) {
                let text = fs::read_to_string(&path).expect("it is there all the time");
                assert!(text.starts_with("MINE=1\n"), "{text}");
                let values: BTreeSet<&str> = text
                    .lines()
                    .filter(|line| line.starts_with('V'))
                    .filter_map(|line| line.split_once('='))
                    .map(|(_, value)| value)
                    .collect();
                let lines = text.lines().filter(|line| line.starts_with('V')).count();
                assert!([0, 200].contains(&lines), "{text}");
                assert!(values.len() <= 1, "{text}");
                seen.extend(values.into_iter().map(str::to_owned));
            }
            seen
        });
        for round in 0..4 {
            stack.write_yaml(&yaml(round));
            stack.up_detached();
            stack.down();
        }
        is_over.store(true, std::sync::atomic::Ordering::SeqCst);
        let seen = reader.join().expect("no reader saw half a file");
        assert!(!seen.is_empty());
    });
    wait_until("the last block", || {
        stack.read(".env").contains("V199=round-3").then_some(())
    });
}
