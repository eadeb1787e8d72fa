//! The socket pair between a client and the supervisor that it has started.
//!
//! Made before the fork, so that it is there whatever becomes of files and sockets. The client says
//! when services are to stand still and when to go on, and by its end that it has gone. The
//! supervisor says how it ended; without a word it was killed.

use std::io::{self, Write};
use std::os::unix::net::UnixStream as StdStream;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// The client wants services and timers to stand still; the supervisor, that they do.
const FREEZE: u8 = b'z';
/// The client wants them to go on.
const THAW: u8 = b'c';
/// The supervisor has ended in good order; its exit code follows.
const ENDED: u8 = b'e';
/// The supervisor could not begin; the reason follows, to the end.
const FAILED: u8 = b'x';

/// How long the supervisor may take to have everything stand still.
const FREEZE_LIMIT: Duration = Duration::from_secs(1);

/// How a supervisor ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LastWord {
    /// In good order, with this exit code.
    Ended(u8),
    /// It could not begin, for this reason.
    Failed(String),
    /// It was killed, or killed itself in a panic.
    Nothing,
}

impl LastWord {
    fn parse(heard: &[u8]) -> Self {
        match heard {
            // An answer for which nobody has waited any longer.
            [FREEZE, rest @ ..] => Self::parse(rest),
            [ENDED, code, ..] => Self::Ended(*code),
            [FAILED, reason @ ..] => Self::Failed(String::from_utf8_lossy(reason).into_owned()),
            _ => Self::Nothing,
        }
    }

    /// Says it, as the last thing that a supervisor does.
    pub fn say(&self, mut client: &StdStream) {
        let bytes = match self {
            Self::Ended(code) => vec![ENDED, *code],
            Self::Failed(reason) => [&[FAILED], reason.as_bytes()].concat(),
            Self::Nothing => return,
        };
        // A client that has gone wants to know nothing.
        drop(client.write_all(&bytes));
    }
}

/// The client's end.
#[derive(Debug)]
pub struct ClientEnd {
    stream: UnixStream,
    heard: Vec<u8>,
}

impl ClientEnd {
    /// Must be called within a runtime.
    pub fn new(stream: StdStream) -> io::Result<Self> {
        let stream = UnixStream::from_std(stream)?;
        let heard = Vec::new();
        Ok(Self { stream, heard })
    }

    /// Returns how the supervisor ended, once it has. Nothing is lost when the future is dropped.
    pub async fn last_word(&mut self) -> LastWord {
        while self.hear().await {}
        LastWord::parse(&self.heard)
    }

    /// Has services and timers stand still. Returns when they do, or when that takes too long.
    pub async fn freeze(&mut self) {
        drop(self.stream.write_u8(FREEZE).await);
        let answered = async { while self.heard.first() != Some(&FREEZE) && self.hear().await {} };
        if timeout(FREEZE_LIMIT, answered).await.is_ok() && self.heard.first() == Some(&FREEZE) {
            self.heard.remove(0);
        }
    }

    /// Has them go on.
    pub async fn thaw(&mut self) {
        drop(self.stream.write_u8(THAW).await);
    }

    /// Takes in some more; `false` at the end.
    async fn hear(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.heard).await, Ok(1..))
    }
}

/// What a client wants of the supervisor that it has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Services and timers are to stand still.
    Freeze,
    /// They are to go on.
    Thaw,
    /// Nothing any more: it has gone.
    Gone,
}

/// The supervisor's end.
#[derive(Debug)]
pub(crate) struct SupervisorEnd(UnixStream);

impl SupervisorEnd {
    /// Must be called within a runtime.
    pub(crate) fn new(stream: &StdStream) -> io::Result<Self> {
        UnixStream::from_std(stream.try_clone()?).map(Self)
    }

    /// The next wish. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Wish {
        loop {
            match self.0.read_u8().await {
                Ok(FREEZE) => return Wish::Freeze,
                Ok(THAW) => return Wish::Thaw,
                Ok(_) => {}
                Err(_) => return Wish::Gone,
            }
        }
    }

    /// Answers that everything stands still.
    pub(crate) fn say_frozen(&self) {
        drop(self.0.try_write(&[FREEZE]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (ClientEnd, StdStream) {
        let (client, supervisor) = StdStream::pair().unwrap();
        client.set_nonblocking(true).unwrap();
        (ClientEnd::new(client).unwrap(), supervisor)
    }

    #[tokio::test]
    async fn a_supervisor_that_says_nothing_was_killed() {
        let (mut client, supervisor) = pair();
        drop(supervisor);
        assert_eq!(client.last_word().await, LastWord::Nothing);
    }

    #[tokio::test]
    async fn the_last_word_is_heard_whatever_came_before_it() {
        for word in [
            LastWord::Ended(130),
            LastWord::Failed("error: the disk is full".to_owned()),
        ] {
            let (mut client, supervisor) = pair();
            // The answer to a wish for which nobody waited any longer.
            (&supervisor).write_all(&[FREEZE]).unwrap();
            word.say(&supervisor);
            drop(supervisor);
            assert_eq!(client.last_word().await, word);
        }
    }

    #[tokio::test]
    async fn wishes_arrive_in_order_and_are_answered() {
        let (mut client, supervisor) = pair();
        supervisor.set_nonblocking(true).unwrap();
        let mut supervisor = SupervisorEnd::new(&supervisor).unwrap();
        let answering = async {
            assert_eq!(supervisor.next().await, Wish::Freeze);
            supervisor.say_frozen();
            assert_eq!(supervisor.next().await, Wish::Thaw);
        };
        let asking = async {
            client.freeze().await;
            client.thaw().await;
        };
        tokio::join!(answering, asking);
        drop(client);
        assert_eq!(supervisor.next().await, Wish::Gone);
    }
}
