//! Supervisors of other versions, and what only pretends to be one.

use std::path::Path;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::fake::GENEROUS;
use crate::api::client::{Client, ClientError};
use crate::run::control::Command;

/// Gives every client the same answer.
fn answering(answer: &'static str) -> (TempDir, Client) {
    let directory = tempfile::tempdir().unwrap();
    let path: &Path = &directory.path().join("control.sock");
    let listener = UnixListener::bind(path).unwrap();
    let client = Client::new(path).with_deadline(GENEROUS);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (directory, client)
}

const DOWN: Command = Command::Down { grace: None };

#[tokio::test]
async fn another_version_is_named_and_down_works_all_the_same() {
    let (_directory, client) = answering(
        "HTTP/1.1 202 Accepted\r\nstack-api-version: 2\r\ncontent-length: 13\r\n\r\n{\"will\":\"do\"}",
    );
    for error in [
        client.stack().await.unwrap_err(),
        client.command(&Command::Kill {}).await.unwrap_err(),
        client.events().await.unwrap_err(),
        client.logs().await.unwrap_err(),
    ] {
        assert!(
            matches!(
                error,
                ClientError::Version {
                    ours: 1,
                    theirs: Some(2)
                }
            ),
            "{error:?}"
        );
        assert_eq!(
            error.to_string(),
            "the supervisor speaks version 2 of the protocol, this program version 1"
        );
    }
    client.command(&DOWN).await.unwrap();
}

#[tokio::test]
async fn an_answer_without_a_version_is_of_an_unknown_one() {
    let (_directory, client) = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
    let error = client.stack().await.unwrap_err();
    assert!(
        matches!(error, ClientError::Version { theirs: None, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn what_speaks_no_http_is_a_protocol_error() {
    let (_directory, client) = answering("SSH-2.0-OpenSSH_9.9\r\n");
    for error in [
        client.stack().await.unwrap_err(),
        client.command(&DOWN).await.unwrap_err(),
    ] {
        assert!(matches!(error, ClientError::Protocol(_)), "{error:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_no_state_is_a_protocol_error() {
    let (_directory, client) =
        answering("HTTP/1.1 200 OK\r\nstack-api-version: 1\r\ncontent-length: 2\r\n\r\n[]");
    let error = client.stack().await.unwrap_err();
    assert!(matches!(error, ClientError::Protocol(_)), "{error:?}");
    let (_directory, client) =
        answering("HTTP/1.1 500 No\r\nstack-api-version: 1\r\ncontent-length: 4\r\n\r\noops");
    let error = client.stack().await.unwrap_err();
    assert!(matches!(error, ClientError::Protocol(_)), "{error:?}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_taken_for_a_whole_one() {
    let (_directory, client) = answering(
        "HTTP/1.1 200 OK\r\nstack-api-version: 1\r\ncontent-length: 500\r\n\r\n{\"api\":1,",
    );
    let error = client.version().await.unwrap_err();
    assert!(matches!(error, ClientError::Closed), "{error:?}");
}
