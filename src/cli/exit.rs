//! How a command ends early: the exit code, and what is said with it.
//!
//! Every error of the rooms below becomes a [`Stop`] by `?`. Only here does an error get its exit
//! code, its `error:` and its `hint:`.

use std::error::Error;
use std::io;
use std::process;

use crate::api::client::{ClientError, FollowError};
use crate::api::messages::code;
use crate::dotenv::{DotenvError, EntryError};
use crate::ports::PortError;
use crate::run::snapshot::Exit;
use crate::run::socket::SocketError;
use crate::support::escape::plain;
use crate::support::text;

/// The exit codes of `stack`. Scripts rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// 0: done.
    Done,
    /// 1: the stack failed: a service failed, never became healthy, no port was to be had, or
    /// something was left over.
    Failed,
    /// 2: wrong usage or an invalid `stack.yaml`; nothing was started.
    Usage,
    /// 3: another operation holds the project, or what runs cannot be reconciled with the file.
    Busy,
    /// 4: nothing is running here, for commands that need it.
    NotRunning,
    /// 5: the supervisor does not answer.
    NotAnswering,
    /// 130: a foreground run was ended by SIGINT.
    Interrupted,
    /// 143: a foreground run was ended by SIGTERM.
    Terminated,
    /// A service's or a command's own code (`run`, `exec`, `--exit-code-from`); 128+N for signal N.
    Own(u8),
}

impl ExitCode {
    /// The number.
    pub fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Busy => 3,
            Self::NotRunning => 4,
            Self::NotAnswering => 5,
            Self::Interrupted => 130,
            Self::Terminated => 143,
            Self::Own(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::Own(match exit {
            Exit::Code(code) => u8::try_from(code).unwrap_or(1),
            Exit::Signal(signal) => u8::try_from(128 + signal).unwrap_or(1),
        })
    }
}

impl From<ExitCode> for process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.number())
    }
}

/// Why a command goes no further: what to say on stderr, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// The exit code.
    pub code: ExitCode,
    /// The message, several lines perhaps, without the last line's end.
    pub message: String,
}

impl Stop {
    /// A message in the usual form: `error: …` and `hint: …`, without what others have put into it
    /// that is not text.
    pub fn new(code: ExitCode, message: impl AsRef<str>, hint: Option<&str>) -> Self {
        let mut text = format!("error: {}", message.as_ref());
        if let Some(hint) = hint {
            text.push_str("\nhint: ");
            text.push_str(hint);
        }
        Self {
            code,
            message: plain(text),
        }
    }

    /// The same for a mistake on the command line.
    pub fn usage(message: impl AsRef<str>, hint: impl AsRef<str>) -> Self {
        Self::new(ExitCode::Usage, message, Some(hint.as_ref()))
    }

    /// An error with everything that caused it.
    pub fn failed(error: &dyn Error, hint: Option<&str>) -> Self {
        Self::new(ExitCode::Failed, text::chain(error), hint)
    }
}

impl From<ClientError> for Stop {
    fn from(error: ClientError) -> Self {
        let code = match &error {
            ClientError::NotRunning => ExitCode::NotRunning,
            ClientError::NotAnswering { .. } | ClientError::Version { .. } => {
                ExitCode::NotAnswering
            }
            ClientError::Refused(body) => match body.code.as_str() {
                code::UNKNOWN_SERVICE | code::BAD_REQUEST | code::MISTAKES => ExitCode::Usage,
                code::DRAINING
                | code::SUSPENDED
                | code::OVERTAKEN
                | code::WOULD_ORPHAN
                | code::TOO_MANY_STREAMS => ExitCode::Busy,
                code::GONE => ExitCode::NotRunning,
                code::NOT_ANSWERING => ExitCode::NotAnswering,
                _ => ExitCode::Failed,
            },
            ClientError::Closed
            | ClientError::ForeignServer { .. }
            | ClientError::Protocol(_)
            | ClientError::Io(_) => ExitCode::Failed,
        };
        Self::new(code, text::chain(&error), error.hint())
    }
}

impl From<FollowError> for Stop {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::Client(error) => error.into(),
            FollowError::Logs(_) => Self::failed(&error, None),
        }
    }
}

/// Errors that end a command with exit code 1, each with its hint.
macro_rules! failures {
    ($($error:ty => $hint:expr;)*) => {$(
        impl From<$error> for Stop {
            fn from(error: $error) -> Self {
                let hint: fn(&$error) -> Option<String> = $hint;
                Self::failed(&error, hint(&error).as_deref())
            }
        }
    )*};
}

failures! {
    io::Error => |_| None;
    serde_json::Error => |_| None;
    SocketError => |_| None;
    EntryError => |error| Some(error.hint().to_owned());
    PortError => |error| Some(error.hint());
}

impl From<DotenvError> for Stop {
    fn from(error: DotenvError) -> Self {
        let code = match error {
            DotenvError::OtherStack { .. } => ExitCode::Usage,
            DotenvError::Entry(_) | DotenvError::NotAFile { .. } | DotenvError::Io(_) => {
                ExitCode::Failed
            }
        };
        Self::new(code, text::chain(&error), Some(error.hint()))
    }
}
