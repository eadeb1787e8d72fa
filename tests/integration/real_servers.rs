//! Servers that people really run: each gets its port by placeholder, becomes healthy, serves, and
//! comes back on the same port after SIGKILL.

use nix::sys::signal::Signal;

use crate::harness::{Process, TestStack, require};

/// Runs the whole life of a server. `answers` asks it whether it serves.
#[track_caller]
fn lives(stack: &TestStack, answers: impl Fn(&TestStack, u16) -> bool) {
    stack.up_detached();
    let port = stack.port_of("server");
    assert!(answers(stack, port), "it is healthy but does not answer");
    let before = stack.service("server").and_then(|server| server.pid());
    let process = Process::of(before.expect("it runs")).expect("it runs");
    process.signal(Signal::SIGKILL);
    stack.wait_for("server", "healthy again", |server| {
        server.phase() == "healthy" && server.pid() != before
    });
    assert_eq!(stack.port_of("server"), port);
    assert!(answers(stack, port), "it does not answer after its restart");
    stack.down();
}

/// Whether `GET /` is answered with 200.
fn serves_http(stack: &TestStack, port: u16) -> bool {
    stack
        .get(port, "/")
        .is_some_and(|(status, _)| status == 200)
}

#[test]
fn nginx_with_a_configuration_that_a_shell_string_writes() {
    if !require("nginx") {
        return;
    }
    let stack = TestStack::new(
        "
services:
  server:
    command: |
      mkdir -p site && echo hello > site/index.html
      cat > nginx.conf <<END
      daemon off;
      user root;
      pid $PWD/nginx.pid;
      error_log stderr;
      events {}
      http {
        access_log off;
        client_body_temp_path $PWD/body;
        proxy_temp_path $PWD/proxy;
        fastcgi_temp_path $PWD/fastcgi;
        uwsgi_temp_path $PWD/uwsgi;
        scgi_temp_path $PWD/scgi;
        server { listen 127.0.0.1:$<PORT:auto>; root $PWD/site; }
      }
      END
      exec nginx -e stderr -p $PWD -c nginx.conf
    healthcheck: { http: /, interval: 1s }
    restart: always
",
    );
    lives(&stack, serves_http);
}

#[test]
fn nginx_with_its_port_from_a_config() {
    if !require("nginx") {
        return;
    }
    let stack = TestStack::new(
        "
configs:
  nginx: { file: nginx.conf }
services:
  server:
    # Only its declaration is here; the number comes from the file.
    environment: { LISTEN: $<PORT:auto> }
    command: [nginx, -e, stderr, -p, '$<TEMP:dir>', -c, $<configs.nginx>]
    healthcheck: { http: /, interval: 1s }
    restart: always
",
    );
    stack.write(
        "nginx.conf",
        "
daemon off;
user root;
pid nginx.pid;
error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  server { listen 127.0.0.1:$<server.PORT>; location / { return 200 'hello from $host'; } }
}
",
    );
    lives(&stack, |stack, port| {
        let answer = stack.get(port, "/");
        answer.is_some_and(|(status, text)| status == 200 && text.contains("hello from"))
    });
}

#[test]
fn haproxy_with_its_ports_and_backends_from_a_config() {
    if !require("haproxy") || !require("python3") {
        return;
    }
    let stack = TestStack::new(
        "
configs:
  haproxy:
    content: |
      defaults
        mode http
        timeout connect 5s
        timeout client 5s
        timeout server 5s
      frontend in
        bind $<BIND>:$<server.PORT>
        default_backend out
      backend out
        server one $<web.HOST>:$<web.PORT>
services:
  server:
    environment: { LISTEN: $<PORT:auto> }
    command: haproxy -db -f $<configs.haproxy>
    healthcheck: { http: /, interval: 1s }
    restart: always
    depends_on: { web: { condition: service_healthy } }
  web:
    command: python3 -u -m http.server $<PORT:auto> --bind 127.0.0.1
",
    );
    lives(&stack, serves_http);
}

#[test]
fn redis_server_in_the_background_has_failed() {
    if !require("redis-server") {
        return;
    }
    let stack = TestStack::new(
        "services: { server: { command: redis-server --port $<PORT:auto> --save '' --daemonize yes } }",
    );
    let output = stack.run(&["up", "--wait"]).expect(1);
    output.says(&["put itself in the background", "redis-server"]);
}

#[test]
fn redis_server() {
    if !require("redis-server") {
        return;
    }
    let stack = TestStack::new(
        "
services:
  server:
    command: redis-server --port $<PORT:auto> --save ''
    healthcheck: { tcp: $<PORT>, interval: 1s }
    restart: always
",
    );
    // A healthy port is one on which the server's own process listens; it answers PING.
    lives(&stack, |stack, port| {
        use std::io::{Read, Write};
        let mut answer = [0; 7];
        stack
            .world()
            .network()
            .enter(|| {
                let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
                stream.write_all(b"PING\r\n")?;
                stream.read_exact(&mut answer)
            })
            .is_ok()
            && &answer == b"+PONG\r\n"
    });
}

#[test]
fn python_http_server() {
    if !require("python3") {
        return;
    }
    let stack = TestStack::new(
        "
services:
  server:
    command: python3 -u -m http.server $<PORT:auto> --bind 127.0.0.1
    healthcheck: { http: /, interval: 1s }
    restart: always
",
    );
    lives(&stack, serves_http);
}

#[test]
fn node_http() {
    if !require("node") {
        return;
    }
    let stack = TestStack::new(
        "
services:
  server:
    command: [node, server.js]
    environment: { LISTEN: $<PORT:auto> }
    healthcheck: { http: /, interval: 1s }
    restart: always
",
    );
    stack.write(
        "server.js",
        "require('http').createServer((_, answer) => answer.end('hello')).listen(process.env.LISTEN);\n",
    );
    lives(&stack, serves_http);
}

#[test]
fn uvicorn() {
    if !require("uvicorn") {
        return;
    }
    let stack = TestStack::new(
        "
services:
  server:
    command: uvicorn app:app --port $<PORT:auto>
    healthcheck: { http: /, interval: 1s }
    restart: always
",
    );
    stack.write(
        "app.py",
        "async def app(scope, receive, send):
    if scope['type'] != 'http':
        return
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': b'hello'})
",
    );
    lives(&stack, serves_http);
}
