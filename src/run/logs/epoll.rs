//! epoll for systems that have kqueue: as much of `nix::sys::epoll` as the pump uses, by the same
//! names, so that the pump is written once.
//!
//! A kqueue can be waited for in another one, as an epoll set can, and without `EV_CLEAR` it tells of
//! a pipe for as long as something is in it, which is what level-triggered means.

use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::libc;
use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};

/// The most events of one call.
const MOST: usize = 64;

/// A set of pipes.
#[derive(Debug)]
pub(super) struct Epoll(pub(super) Queue);

/// The kqueue; its descriptor is asked for under the name that an `OwnedFd` would have.
#[derive(Debug)]
pub(super) struct Queue(Kqueue);

impl AsRawFd for Queue {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Epoll {
    /// A new set. A kqueue is not inherited by a fork, and exec closes it only if it is told to: the
    /// spawner sees to that for every descriptor.
    pub(super) fn new(_flags: EpollCreateFlags) -> nix::Result<Self> {
        Ok(Self(Queue(Kqueue::new()?)))
    }

    /// Adds a pipe, whose events carry `event`'s number.
    pub(super) fn add(&self, pipe: impl AsFd, event: EpollEvent) -> nix::Result<()> {
        self.change(pipe, EvFlags::EV_ADD, event.data())
    }

    /// Takes a pipe out.
    pub(super) fn delete(&self, pipe: impl AsFd) -> nix::Result<()> {
        self.change(pipe, EvFlags::EV_DELETE, 0)
    }

    fn change(&self, pipe: impl AsFd, flags: EvFlags, data: u64) -> nix::Result<()> {
        let event = event(pipe.as_fd().as_raw_fd(), flags, data);
        // Without room for events an error of the change is the call's own.
        self.0.0.kevent(&[event], &mut [], Some(NOW)).map(drop)
    }

    /// Notes which pipes have something, or have come to their end, as far as there is room in
    /// `events`. Does not wait.
    pub(super) fn wait(
        &self,
        events: &mut [EpollEvent],
        _timeout: EpollTimeout,
    ) -> nix::Result<usize> {
        let mut found = [event(-1, EvFlags::empty(), 0); MOST];
        let room = events.len().min(MOST);
        let count = self.0.0.kevent(&[], &mut found[..room], Some(NOW))?;
        for (event, found) in events.iter_mut().zip(&found[..count]) {
            *event = EpollEvent(u64::try_from(found.udata()).unwrap_or(0));
        }
        Ok(count)
    }
}

/// Do not wait.
const NOW: libc::timespec = libc::timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

fn event(descriptor: RawFd, flags: EvFlags, data: u64) -> KEvent {
    KEvent::new(
        usize::try_from(descriptor).unwrap_or(usize::MAX),
        EventFilter::EVFILT_READ,
        flags,
        FilterFlag::empty(),
        0,
        isize::try_from(data).unwrap_or(isize::MAX),
    )
}

/// Which pipe has something.
#[derive(Debug, Clone, Copy)]
pub(super) struct EpollEvent(u64);

impl EpollEvent {
    /// An event for a pipe under this number.
    pub(super) fn new(_flags: EpollFlags, data: u64) -> Self {
        Self(data)
    }

    /// Room for one.
    pub(super) fn empty() -> Self {
        Self(0)
    }

    /// The pipe's number.
    pub(super) fn data(self) -> u64 {
        self.0
    }
}

/// What is waited for: something to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct EpollFlags;

impl EpollFlags {
    pub(super) const EPOLLIN: Self = Self;
}

/// How long is waited: not at all.
#[derive(Debug, Clone, Copy)]
pub(super) struct EpollTimeout;

impl EpollTimeout {
    pub(super) const ZERO: Self = Self;
}

/// How a set is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct EpollCreateFlags;

impl EpollCreateFlags {
    pub(super) const EPOLL_CLOEXEC: Self = Self;
}
