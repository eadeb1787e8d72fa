//! The programs that misbehave do misbehave: a test that relies on one of them would otherwise pass
//! for nothing.

use std::process::Command;

use nix::sys::signal::Signal;

use crate::harness::{Occupied, TestStack, Up, misbehave, require, wait_until};

fn nothing() -> TestStack {
    TestStack::new("services: {}")
}

#[test]
fn the_adversary_takes_every_free_port_and_none_that_is_held_strictly() {
    let stack = nothing();
    let held = stack.port(8003).to_string();
    let hold = [
        "bind",
        &held,
        "--host",
        "::",
        "--no-reuseaddr",
        "--no-listen",
    ];
    let mut hold = stack.helper(&hold);
    hold.wait_for_line("bound to");
    let range = format!("{}-{}", stack.port(8000), stack.port(8007));
    let mut adversary = stack.helper(&["adversary", &range, "1500", "--seed", "7"]);
    assert_eq!(adversary.wait_for_line("seed"), "seed 7");
    adversary.wait_for_line("that is all");
    let said = adversary.stdout();
    for port in 8000..8008 {
        let line = format!("stole {} ", stack.port(port));
        assert_eq!(said.contains(&line), port != 8003, "{port}: {said}");
    }
    assert!(said.contains("let go"), "{said}");
    let kept: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("kept "))
        .collect();
    assert!(!kept.is_empty(), "{said}");
    for place in kept {
        let (port, host) = place.split_once(' ').expect("a port and an address");
        let host = match host {
            "0.0.0.0" => "127.0.0.1",
            ":: alone" | "::" => "::1",
            other => other,
        };
        let answer = stack.helper(&["http-get", host, port, "/"]).wait().ok();
        assert_eq!(answer.stdout, format!("200 pid {}\n", adversary.pid()));
    }
}

#[test]
fn a_server_whose_port_is_taken_does_as_it_is_told() {
    let stack = nothing();
    let _taken = stack.occupy(8000, Occupied::AnyDual);
    let (port, next) = (stack.port(8000).to_string(), stack.port(8001).to_string());
    let bind = |options: &[&str]| stack.helper(&[&["bind", &port], options].concat());
    let plain = bind(&[]).wait().expect(70);
    assert!(plain.stdout.contains("address already in use"), "{plain}");
    bind(&["--exit-when-taken", "0"]).wait().expect(0);
    let silent = bind(&["--silent"]).wait().expect(70);
    assert_eq!(
        (silent.stdout, silent.stderr),
        (String::new(), String::new())
    );
    bind(&["--move-on"]).wait_for_line(&format!("listening on 127.0.0.1:{next}"));
    let mut staying = bind(&["--stay-when-taken"]);
    staying.wait_for_line("address already in use");
    assert!(!staying.has_ended());
}

#[test]
fn reuseport_alone_does_not_pass_a_soft_hold() {
    let stack = nothing();
    let _soft = stack.occupy(8000, Occupied::BoundOnly);
    let port = stack.port(8000).to_string();
    let refused = stack.helper(&["bind", &port, "--reuseport-only"]).wait();
    assert_eq!(refused.code, 70, "{refused}");
    stack.helper(&["bind", &port]).wait_for_line("listening");
}

#[test]
fn a_kernel_without_ipv6_refuses_its_sockets_alone() {
    let stack = nothing();
    let port = stack.port(8000).to_string();
    let bind = |host: &str| {
        let program = misbehave().display().to_string();
        let bind = [program.as_str(), "bind", &port, "--host", host];
        stack.helper(&[&["no-ipv6", "--"], &bind[..]].concat())
    };
    bind("127.0.0.1").wait_for_line("listening");
    let refused = bind("::1").wait().expect(70);
    assert!(
        refused.stderr.contains("Address family not supported"),
        "{refused}"
    );
}

#[test]
fn where_no_process_may_be_made_none_is() {
    let shell = ["no-processes", "--", "sh", "-c", "(true) || echo alone"];
    let output = nothing().helper(&shell).wait();
    assert!(output.stderr.contains("fork"), "{output}");
}

#[test]
fn where_no_thread_may_be_made_processes_still_are() {
    // The interpreter says itself that it cannot.
    let python = "import os, threading\n\
        try: threading.Thread(target=print).start()\n\
        except RuntimeError: print('alone')\n\
        os.system('echo but with a child')";
    if !require("python3") {
        return;
    }
    let output = nothing()
        .helper(&["no-threads", "--", "python3", "-u", "-c", python])
        .wait();
    assert_eq!(output.ok().stdout, "alone\nbut with a child\n");
}

#[test]
fn a_limit_on_open_files_is_soft_and_hard() {
    let stack = nothing();
    let shell = ["fd-limit", "64", "--", "sh", "-c", "ulimit -Sn; ulimit -Hn"];
    assert_eq!(stack.helper(&shell).wait().ok().stdout, "64\n64\n");
}

#[test]
fn a_passed_socket_is_refused_that_was_meant_for_another_process() {
    let stack = nothing();
    let mut command = Command::new(misbehave());
    command
        .arg("fd-serve")
        .env("LISTEN_PID", "1")
        .env("LISTEN_FDS", "1");
    let output = Up::start(stack.world(), command).wait().expect(78);
    assert!(output.stdout.contains("LISTEN_PID is `1`"), "{output}");
}

#[test]
fn servers_that_reload_bind_again() {
    let stack = nothing();
    let port = stack.port(8000).to_string();
    let mut rebind = stack.helper(&["rebind", &port]);
    rebind.wait_for_line("(1)");
    rebind.signal(Signal::SIGHUP);
    rebind.wait_for_line("(2)");
    assert!(stack.get(stack.port(8000), "/").is_some());
    drop(rebind);

    let mut reload = stack.helper(&["reload", "--", "bind", &port, "--http"]);
    reload.wait_for_line("listening");
    reload.signal(Signal::SIGHUP);
    reload.wait_for_line("reload 1");
    wait_until("its second child", || {
        let listening = reload.stdout().matches("listening on").count();
        (listening == 2).then_some(())
    });
    reload.signal(Signal::SIGTERM);
    reload.wait().ok();
}

#[test]
fn datagrams_are_answered_by_whom_they_were_sent_to() {
    let stack = nothing();
    let port = stack.port(8000).to_string();
    let ask = || {
        stack
            .helper(&["udp-ask", "127.0.0.1", &port, "hello"])
            .wait()
    };
    let mut server = stack.helper(&["udp", &port, "--tcp"]);
    server.wait_for_line("for UDP");
    let expected = format!("pid {} hello\n", server.pid());
    assert_eq!(ask().ok().stdout, expected);
    assert!(stack.get(stack.port(8000), "/").is_some());
    drop(server);
    ask().expect(1);
}

#[test]
fn outgoing_connections_stay_open_and_clients_count_what_becomes_of_them() {
    let stack = nothing();
    let port = stack.port(8000).to_string();
    stack
        .helper(&["outgoing", &port, "200"])
        .wait_for_line("connected 200");
    let clients = stack.helper(&["clients", "127.0.0.1", &port, "2", "enough"]);
    wait_until("refusals", || {
        clients.stdout().contains("asking").then_some(())
    });
    stack.write("enough", "");
    let said = clients.wait().ok().stdout;
    assert!(
        said.contains("answered 0,") && said.contains("cut 0"),
        "{said}"
    );
}

#[test]
fn who_is_to_be_alone_notes_a_second_copy() {
    let stack = nothing();
    let first = ["alone", "--", "record", "TERM", "heard"];
    let recording = || {
        let mut up = stack.helper(&first);
        up.wait_for_line("recording");
        up
    };
    let one = recording();
    stack.helper(&first).wait().expect(70);
    assert_eq!(stack.read("twice"), "-\n");
    one.signal(Signal::SIGTERM);
    one.wait().ok();
    recording();
}
