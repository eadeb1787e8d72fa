use super::*;

/// What servers print when their port, 8003, is taken: whole outputs, and what each of the lines names
/// that say so.
const MESSAGES: &[(&str, &str, &[&str])] = &[
    (
        "python",
        "  File \"/usr/lib/python3.11/socketserver.py\", line 466, in server_bind\n    \
         self.socket.bind(self.server_address)\nOSError: [Errno 98] Address already in use\n",
        &[""],
    ),
    (
        "uvicorn",
        "INFO:     Started server process [4711]\nERROR:    [Errno 98] error while attempting to \
         bind on address ('127.0.0.1', 8003): address already in use\n",
        &["127.0.0.1:8003"],
    ),
    (
        "flask",
        "Address already in use\nPort 8003 is in use by another program. Either identify and stop \
         that program, or start the server with a different port.\n",
        &["", "8003"],
    ),
    ("django", "Error: That port is already in use.\n", &[""]),
    (
        "node",
        "node:events:495\n      throw er; // Unhandled 'error' event\n      ^\n\nError: listen \
         EADDRINUSE: address already in use :::8003\n    at Server.setupListenHandle [as _listen2] \
         (node:net:1817:16)\n  code: 'EADDRINUSE',\n  errno: -98,\n",
        &[":::8003", ""],
    ),
    (
        "next",
        " \u{1b}[31m\u{1b}[1m⨯\u{1b}[22m\u{1b}[39m Failed to start server\nError: listen \
         EADDRINUSE: address already in use 0.0.0.0:8003\n",
        &["0.0.0.0:8003"],
    ),
    (
        "next dev",
        " \u{1b}[33m\u{1b}[1m⚠\u{1b}[22m\u{1b}[39m Port 8003 is in use, trying 8004 instead.\n",
        &["8003"],
    ),
    (
        "vite",
        "error when starting dev server:\nError: Port \u{1b}[1m8003\u{1b}[22m is already in use\n",
        &["8003"],
    ),
    (
        "java",
        "Exception in thread \"main\" java.net.BindException: Address already in use\n\tat \
         java.base/sun.nio.ch.Net.bind0(Native Method)\n\tat \
         java.base/sun.nio.ch.Net.bind(Net.java:555)\n",
        &[""],
    ),
    (
        "spring",
        "Description:\n\nWeb server failed to start. Port 8003 was already in use.\n",
        &["8003"],
    ),
    (
        "go",
        "2026/11/03 15:04:05 listen tcp :8003: bind: address already in use\nexit status 1\n",
        &["8003"],
    ),
    (
        "rust",
        "thread 'main' panicked at src/main.rs:10:45:\ncalled `Result::unwrap()` on an `Err` \
         value: Os { code: 98, kind: AddrInUse, message: \"Address already in use\" }\n",
        &[""],
    ),
    (
        "rust on one line",
        "thread 'main' panicked at 'bind: Os { code: 98, kind: AddrInUse, message: \"Address \
         already in use\" }', src/main.rs:10:45\n",
        &[""],
    ),
    (
        "rust with anyhow",
        "Error: Address already in use (os error 98)\n",
        &[""],
    ),
    (
        "perl",
        "Cannot bind: Address already in use at ./server.pl line 12.\n",
        &[""],
    ),
    (
        "erlang",
        "=CRASH REPORT==== 3-Nov-2026::15:04:05.123456 ===\n** exception error: no match of right \
         hand side value {error,eaddrinuse}\n",
        &[""],
    ),
    (
        "elixir",
        "15:04:05.123 [error] Failed to start Ranch listener Web.Endpoint.HTTP in \
         :ranch_tcp:listen([cacerts: :..., port: 8003]) for reason :eaddrinuse (address already \
         in use)\n",
        &["8003"],
    ),
    (
        "socat",
        "2026/11/03 15:04:05 socat[4711] E bind(5, {AF=2 0.0.0.0:8003}, 16): Address already in \
         use\n",
        &["0.0.0.0:8003"],
    ),
    (
        "nginx",
        "2026/11/03 15:04:05 [emerg] 4711#4711: bind() to 0.0.0.0:8003 failed (98: Address \
         already in use)\n",
        &["0.0.0.0:8003"],
    ),
    (
        "php",
        "[Tue Nov  3 15:04:05 2026] Failed to listen on localhost:8003 (reason: Address already \
         in use)\n",
        &["8003"],
    ),
    (
        "ruby",
        "/usr/lib/ruby/3.1.0/socket.rb:201:in `bind': Address already in use - bind(2) for \
         127.0.0.1:8003 (Errno::EADDRINUSE)\n\tfrom /usr/lib/ruby/3.1.0/socket.rb:201:in `listen'\n",
        &["127.0.0.1:8003"],
    ),
    (
        "ruby without a port",
        "server.rb:3:in `initialize': Address already in use - bind(2) for nil (Errno::EADDRINUSE)",
        &[""],
    ),
    (
        "a program for Windows",
        "Only one usage of each socket address (protocol/network address/port) is normally \
         permitted.\r\n",
        &[""],
    ),
    (
        "a time and no port",
        "[15:04:05] main.c:45: bind: Address already in use\n",
        &[""],
    ),
];

/// What the complaints of an output name, each in one text.
fn named(output: &str, ports: &[u16]) -> Vec<String> {
    let found = find(output.as_bytes(), ports);
    let texts = found.iter().map(|named| {
        let texts = named.iter().map(|named| match named.address {
            Some(address) => format!("{address}:{}", named.port),
            None => named.port.to_string(),
        });
        texts.collect::<Vec<_>>().join(" ")
    });
    texts.collect()
}

#[test]
fn servers_of_all_languages_are_understood() {
    for (name, output, expected) in MESSAGES {
        assert_eq!(named(output, &[8003]), *expected, "{name}");
        let between = format!("used to start\n{output}\nand more\n");
        assert_eq!(named(&between, &[8003]), *expected, "{name}");
    }
}

#[test]
fn a_complaint_about_another_port_says_which() {
    let others = [
        (
            "2026/11/03 15:04:05 listen tcp :5432: bind: address already in use",
            "5432",
        ),
        (
            "Error: listen EADDRINUSE: address already in use 127.0.0.1:80",
            "127.0.0.1:80",
        ),
        (
            "Error: listen EADDRINUSE: address already in use :::18003",
            ":::18003",
        ),
        (
            "nginx: [emerg] bind() to [::]:443 failed (98: Address already in use)",
            ":::443",
        ),
        ("Port 5173 is in use, trying another one...", "5173"),
        (
            "[Errno 98] error while attempting to bind on address ('0.0.0.0', 9090): address already \
             in use",
            "0.0.0.0:9090",
        ),
        (
            "Address already in use - bind(2) for \"127.0.0.1\" port 9292 (Errno::EADDRINUSE)",
            "9292",
        ),
    ];
    for (line, other) in others {
        assert_eq!(named(line, &[8003]), [other], "{line}");
    }
    // With its own port beside the other one it is about that.
    let both = "bind: address already in use: 0.0.0.0:5432 for localhost:8003";
    assert_eq!(named(both, &[9000, 8003]), ["8003"]);
    // Node prints its error twice, and only one of the lines has the number.
    let node = "Error: listen EADDRINUSE: address already in use 127.0.0.1:8790\n  code: \
                'EADDRINUSE',\n  port: 8790\n";
    assert_eq!(named(node, &[8003]), ["127.0.0.1:8790", ""]);
}

#[test]
fn other_words_are_no_complaint() {
    let others = [
        "user 98 used the address in a useful way",
        "connection pool: 98 connections in use",
        "the ports in use are 8003 and 8004",
        "export is in user space",
        "errno 98",
        "took 98 ms",
        "\u{1b}[",
        "",
    ];
    for line in others {
        assert_eq!(named(line, &[8003]), [""; 0], "{line}");
    }
}

#[test]
fn any_bytes_are_searched() {
    let mut bytes = b"\xff\xfe EADDRINUSE ".to_vec();
    bytes.extend("ü".repeat(10_000).bytes());
    assert_eq!(find(&bytes, &[8003]), [[]]);
}
