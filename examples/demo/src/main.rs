//! The demonstration: a bakery with a backend, a shop window and an office.
//!
//! One binary, three services; the root `stack.yaml` starts all of them:
//!
//! ```text
//! stack-demo backend --port 8000   the API; CLIENT_PORTS names the pages that may call it
//! stack-demo ui      --port 8001   the customers' page; calls the API at BACKEND_URL
//! stack-demo admin   --port 8002   the dashboard; calls the API at BACKEND_URL
//! ```
//!
//! None of them knows a port number of its own: each learns its port from `--port` and the others'
//! from its environment.

mod access_log;
mod backend;
mod page;
mod shop;

use std::io;
use std::process::ExitCode;

use axum::Router;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "usage: stack-demo <backend|ui|admin> --port PORT";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((service, port)) = parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let routes = match service {
        Service::Backend => Ok(backend::routes()),
        Service::Ui => page::ui(),
        Service::Admin => page::admin(),
    };
    let outcome = match routes {
        Ok(routes) => serve(routes, port).await.map_err(|error| error.to_string()),
        Err(problem) => Err(problem),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    Backend,
    Ui,
    Admin,
}

fn parse(arguments: &[String]) -> Option<(Service, u16)> {
    let [service, flag, port] = arguments else {
        return None;
    };
    let service = match service.as_str() {
        "backend" => Service::Backend,
        "ui" => Service::Ui,
        "admin" => Service::Admin,
        _ => return None,
    };
    (flag == "--port").then_some(())?;
    Some((service, port.parse().ok()?))
}

/// Serves until SIGTERM or SIGINT; requests in flight are answered first.
async fn serve(routes: Router, port: u16) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://localhost:{port}");
    axum::serve(listener, routes)
        .with_graceful_shutdown(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            println!("finishing the last requests");
        })
        .await?;
    println!("bye");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Option<(Service, u16)> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        parse(&words)
    }

    #[test]
    fn a_service_needs_its_name_and_its_port() {
        assert_eq!(
            parse_line("admin --port 8002"),
            Some((Service::Admin, 8002))
        );
        for bad in ["", "ui", "ui --port", "ui --port x", "web --port 1"] {
            assert_eq!(parse_line(bad), None, "{bad}");
        }
    }
}
