//! The endpoints.

use std::future::Future;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::header::HeaderValue;
use hyper::{Method, StatusCode, Uri};
use tokio::sync::watch;
use tokio::time::timeout;

use super::reply::{Failure, json};
use super::streams::{self, StreamPlace, take_place};
use super::{ANSWER_DEADLINE, BODY_DEADLINE, MAX_COMMAND, MAX_SOURCES, Shared, Step};
use crate::api::messages::{API_VERSION, VERSION_HEADER, VersionInfo, code};
use crate::run::control::{Command, CommandError};
use crate::run::proposal::Asking;

/// Every endpoint of `/v1`; all else gets an error body too.
pub(super) fn router(shared: Shared) -> Router {
    Router::new()
        .route("/v1/version", get(version))
        .route("/v1/stack", get(stack))
        .route("/v1/commands", post(command))
        .route("/v1/proposals", post(proposal))
        .route("/v1/events", get(events))
        .route("/v1/logs", get(logs))
        .fallback(unknown_endpoint)
        .method_not_allowed_fallback(wrong_method)
        .layer(map_response(add_version))
        .with_state(shared)
}

async fn add_version(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(VERSION_HEADER, HeaderValue::from(API_VERSION));
    response
}

async fn version() -> Response {
    json(StatusCode::OK, &VersionInfo::current())
}

async fn stack(State(shared): State<Shared>) -> Result<Response, Failure> {
    let snapshot = answered(shared.controller.snapshot()).await?;
    Ok(json(StatusCode::OK, &snapshot))
}

async fn command(State(shared): State<Shared>, request: Request) -> Result<Response, Failure> {
    let body = read_body(request.into_body(), MAX_COMMAND).await?;
    let command: Command = serde_json::from_slice(&body)
        .map_err(|error| Failure::bad_request(format!("the command cannot be read: {error}")))?;
    let reply = answered(shared.controller.command(command)).await?;
    Ok(json(StatusCode::OK, &reply))
}

async fn proposal(State(shared): State<Shared>, request: Request) -> Result<Response, Failure> {
    let body = read_body(request.into_body(), MAX_SOURCES).await?;
    let asking: Asking = serde_json::from_slice(&body)
        .map_err(|error| Failure::bad_request(format!("the files cannot be read: {error}")))?;
    let reply = answered(shared.controller.propose(asking)).await?;
    Ok(json(StatusCode::OK, &reply))
}

async fn events(
    State(shared): State<Shared>,
    Extension(step): Extension<watch::Sender<Step>>,
    uri: Uri,
) -> Result<Response, Failure> {
    let place = stream_place(&shared, &uri)?;
    let (snapshot, events, older) = answered(shared.controller.events()).await?;
    step.send_replace(Step::Streaming);
    Ok(streams::events(shared, snapshot, (events, older), place))
}

async fn logs(
    State(shared): State<Shared>,
    Extension(step): Extension<watch::Sender<Step>>,
    uri: Uri,
) -> Result<Response, Failure> {
    let place = stream_place(&shared, &uri)?;
    step.send_replace(Step::Streaming);
    Ok(streams::logs(shared, place))
}

/// A place for a stream, among those of its kind.
fn stream_place(shared: &Shared, uri: &Uri) -> Result<StreamPlace, Failure> {
    match uri.query() {
        None => take_place(&shared.viewers),
        Some("for=command") => take_place(&shared.waiters),
        Some(query) => Err(Failure::bad_request(format!(
            "`?{query}` means nothing here"
        ))),
    }
}

async fn unknown_endpoint(uri: Uri) -> Failure {
    let path = uri.path();
    let version = path.trim_start_matches('/').split('/').next();
    let number = version.and_then(|text| text.strip_prefix('v')?.parse::<u32>().ok());
    match number {
        Some(number) if number != API_VERSION => Failure::new(
            StatusCode::NOT_FOUND,
            code::UNKNOWN_VERSION,
            format!("this supervisor speaks version {API_VERSION} of the protocol, not {number}"),
        )
        .with_hint("`stack down` works across versions"),
        Some(_) | None => Failure::new(
            StatusCode::NOT_FOUND,
            code::UNKNOWN_ENDPOINT,
            format!("there is no endpoint `{path}`"),
        ),
    }
}

async fn wrong_method(method: Method, uri: Uri) -> Failure {
    Failure::new(
        StatusCode::METHOD_NOT_ALLOWED,
        code::WRONG_METHOD,
        format!("`{}` does not answer to {method}", uri.path()),
    )
}

/// The supervisor's answer, within [`ANSWER_DEADLINE`].
async fn answered<T>(answer: impl Future<Output = Result<T, CommandError>>) -> Result<T, Failure> {
    match timeout(ANSWER_DEADLINE, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Failure::not_answering()),
    }
}

/// The whole body, of at most `limit` bytes and within [`BODY_DEADLINE`].
async fn read_body(body: Body, limit: usize) -> Result<Bytes, Failure> {
    let too_large = || {
        Failure::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            code::TOO_LARGE,
            format!("the body is over {} MiB", limit / 1024 / 1024),
        )
    };
    // An announced length is believed before a byte of it is read.
    if usize::try_from(body.size_hint().lower()).map_or(true, |length| length > limit) {
        return Err(too_large());
    }
    let whole = Limited::new(body, limit).collect();
    match timeout(BODY_DEADLINE, whole).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Failure::bad_request(format!("the body broke off: {error}"))),
        Err(_) => Err(Failure::new(
            StatusCode::REQUEST_TIMEOUT,
            code::TOO_SLOW,
            "the body did not arrive in time",
        )),
    }
}
