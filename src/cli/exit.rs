//! What `stack` says with its exit code.

use std::process;

use crate::api::client::ClientError;
use crate::api::messages::code;

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

impl From<ExitCode> for process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.number())
    }
}

impl From<&ClientError> for ExitCode {
    /// The code of a command whose call to the supervisor failed.
    fn from(error: &ClientError) -> Self {
        match error {
            ClientError::NotRunning => Self::NotRunning,
            ClientError::NotAnswering { .. } | ClientError::Version { .. } => Self::NotAnswering,
            ClientError::Refused(body) => match body.code.as_str() {
                code::UNKNOWN_SERVICE | code::BAD_REQUEST => Self::Usage,
                code::DRAINING | code::TOO_MANY_STREAMS => Self::Busy,
                code::GONE => Self::NotRunning,
                code::NOT_ANSWERING => Self::NotAnswering,
                _ => Self::Failed,
            },
            ClientError::Closed
            | ClientError::ForeignServer { .. }
            | ClientError::Protocol(_)
            | ClientError::Frame(_)
            | ClientError::Io(_) => Self::Failed,
        }
    }
}
