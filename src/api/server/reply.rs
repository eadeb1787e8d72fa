//! Answers: JSON, the version header, and errors as [`ErrorBody`].

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use serde::Serialize;

use crate::api::messages::{ErrorBody, code};
use crate::run::control::CommandError;
use crate::support::text::{list, meant_service};

/// An answer that is not a success.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    body: ErrorBody,
}

impl Failure {
    pub(super) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            body: ErrorBody {
                code: code.to_owned(),
                message: message.into(),
                hint: None,
            },
        }
    }

    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.body.hint = Some(hint.into());
        self
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code::BAD_REQUEST, message)
    }

    pub(super) fn not_answering() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            code::NOT_ANSWERING,
            "the supervisor does not answer",
        )
    }
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Self {
        let message = error.to_string();
        match error {
            CommandError::UnknownService { name, suggestion } => {
                let failure = Self::new(StatusCode::NOT_FOUND, code::UNKNOWN_SERVICE, message);
                match suggestion {
                    Some(near) => failure.with_hint(meant_service(&name, near.as_str())),
                    None => failure.with_hint("`stack ps` lists the services"),
                }
            }
            CommandError::NoInput { unit } => {
                let hint = format!(
                    "write `tty: true` or `stdin_open: true` into it; `stack logs -f {}` shows what it \
                     prints",
                    unit.service
                );
                Self::new(StatusCode::CONFLICT, code::NO_INPUT, message).with_hint(hint)
            }
            CommandError::NotUp { unit } => {
                let hint = format!("`stack start {}` starts it", unit.service);
                Self::new(StatusCode::CONFLICT, code::NOT_UP, message).with_hint(hint)
            }
            CommandError::Draining => Self::new(StatusCode::CONFLICT, code::DRAINING, message)
                .with_hint("wait for `stack down` to end, then run `stack up`"),
            CommandError::Suspended => Self::new(StatusCode::CONFLICT, code::SUSPENDED, message)
                .with_hint("`fg` in its terminal continues it, `stack down` stops it"),
            CommandError::WouldOrphan { files, services } => {
                let names = services.iter().map(|name| format!("`{name}`"));
                let message = format!(
                    "the stack was started from {} too, and this would stop what it does not have: {}",
                    list(files.iter().map(|file| format!("`{file}`"))),
                    list(names)
                );
                Self::new(StatusCode::CONFLICT, code::WOULD_ORPHAN, message)
                    .with_hint("`--remove-orphans` stops it")
            }
            CommandError::Overtaken => Self::new(StatusCode::CONFLICT, code::OVERTAKEN, message)
                .with_hint("run the command again"),
            CommandError::Mistakes => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, code::MISTAKES, message)
            }
            CommandError::NoPorts { hint, .. } => {
                Self::new(StatusCode::CONFLICT, code::NO_PORTS, message).with_hint(hint)
            }
            CommandError::NotWritten { hint, .. } => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                Self::new(status, code::NOT_WRITTEN, message).with_hint(hint)
            }
            CommandError::LogsNotCleared { .. } => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                code::LOGS_NOT_CLEARED,
                message,
            ),
            CommandError::Gone => Self::new(StatusCode::SERVICE_UNAVAILABLE, code::GONE, message),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        json(self.status, &self.body)
    }
}

/// `value` as the whole answer.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(mut bytes) => {
            // A terminal's prompt stands on a line of its own behind it.
            bytes.push(b'\n');
            answer(status, "application/json", Body::from(bytes))
        }
        // A project directory that is not UTF-8 cannot be said in JSON.
        Err(error) => Failure::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            code::NOT_ANSWERING,
            format!("the answer cannot be written as JSON: {error}"),
        )
        .into_response(),
    }
}

/// An answer of any kind.
pub(super) fn answer(status: StatusCode, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
