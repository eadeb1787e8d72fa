//! An HTTP GET whose status code is looked at.

use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;

use super::tcp::connect;
use crate::plan::model::HttpProbePlan;
use crate::run::reason::CheckFailure;

/// Passes when the answer's status lies in one of the plan's ranges. `host` is where to connect,
/// which may differ from the plan's: a server on `::1` alone is not reached at `127.0.0.1`.
pub(crate) async fn check_http(plan: &HttpProbePlan, host: &str) -> Result<(), CheckFailure> {
    let stream = connect(host, plan.port).await?;
    let failed = |error: String| CheckFailure::NoHttp {
        port: plan.port,
        error,
    };
    let broken = |error: hyper::Error| failed(error.to_string());
    let (mut sender, connection) = http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let mut request = Request::get(&plan.path)
        .header(HOST, format!("{}:{}", plan.host, plan.port))
        .header(USER_AGENT, concat!("stack/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close");
    for (name, value) in &plan.headers {
        request = request.header(name, value);
    }
    let request = request
        .body(Empty::new())
        .map_err(|error| failed(error.to_string()))?;
    // The answer and the connection are driven together: a task of its own would outlive a check
    // that is cancelled. The connection may end first, with the answer already on its way.
    let mut asking = std::pin::pin!(sender.send_request(request));
    let mut connection = std::pin::pin!(connection);
    let mut is_open = true;
    let status = loop {
        tokio::select! {
            biased;
            answer = &mut asking => break answer.map_err(broken)?.status(),
            ended = &mut connection, if is_open => {
                ended.map_err(broken)?;
                is_open = false;
            }
        }
    };
    let code = status.as_u16();
    if plan
        .status
        .iter()
        .any(|&(low, high)| (low..=high).contains(&code))
    {
        Ok(())
    } else {
        Err(CheckFailure::Status {
            status: code,
            path: plan.path.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one request with `answer` and returns what was asked.
    async fn ask(answer: &'static str) -> (Result<(), CheckFailure>, String) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let plan = HttpProbePlan {
            host: "localhost".to_owned(),
            port,
            path: "/health?deep=1".to_owned(),
            status: vec![(200, 399)],
            headers: vec![("X-Probe".to_owned(), "yes".to_owned())],
        };
        (check_http(&plan, "127.0.0.1").await, server.await.unwrap())
    }

    #[tokio::test]
    async fn two_and_three_hundreds_pass() {
        let (outcome, request) = ask("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(outcome, Ok(()));
        assert!(
            request.starts_with("GET /health?deep=1 HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(request.to_lowercase().contains("x-probe: yes"), "{request}");
        let (redirect, _) = ask("HTTP/1.1 302 Found\r\nlocation: /\r\n\r\n").await;
        assert_eq!(redirect, Ok(()));
    }

    #[tokio::test]
    async fn another_status_fails_with_its_number() {
        let (outcome, _) =
            ask("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(
            outcome,
            Err(CheckFailure::Status {
                status: 503,
                path: "/health?deep=1".to_owned(),
            })
        );
    }

    #[tokio::test]
    async fn what_is_no_http_fails() {
        let (outcome, _) = ask("SSH-2.0-OpenSSH\r\n").await;
        assert!(matches!(outcome, Err(CheckFailure::NoHttp { .. })));
    }
}
