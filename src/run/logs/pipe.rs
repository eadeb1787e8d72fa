//! The pipes between a service and the pump.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::Mode;

/// How much a pipe holds when there are few services. Four reads' worth: a flooding service is
/// woken once for each round of the pump instead of once for each read.
const LARGE_PIPE: i32 = 256 * 1024;

/// Up to this many services get large pipes. Two a service make 32 MiB, half of what the kernel
/// grants one ordinary user (`pipe-user-pages-soft`), so that a second stack gets them too.
const LARGE_PIPE_SERVICES: usize = 64;

/// A pipe for one stream of one of `services` services: `(read end, write end)`.
///
/// Both ends are closed by exec. The read end never blocks; the write end does, as programs expect
/// of their standard output.
pub fn pipe_pair(services: usize) -> io::Result<(OwnedFd, OwnedFd)> {
    let (read_end, write_end) = io::pipe()?;
    let (read_end, write_end) = (OwnedFd::from(read_end), OwnedFd::from(write_end));
    // The flag belongs to the open file, and each end is one of its own.
    fcntl(&read_end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    if services <= LARGE_PIPE_SERVICES {
        enlarge(&read_end);
    }
    Ok((read_end, write_end))
}

/// The same for a service, which may outlive whoever reads. Its end can be read as well, as a terminal can:
/// so there is always somebody who could read (pipe(7)), and what it says while it stops costs it neither
/// its life nor an error, although the supervisor was killed.
pub fn lasting_pipe_pair(services: usize) -> io::Result<(OwnedFd, OwnedFd)> {
    let (read_end, write_end) = pipe_pair(services)?;
    let path = format!("/proc/self/fd/{}", write_end.as_raw_fd());
    // Opening a pipe for both does not wait (fifo(7)). Without /proc it is as it was.
    let both = open(
        path.as_str(),
        OFlag::O_RDWR | OFlag::O_CLOEXEC,
        Mode::empty(),
    );
    Ok((read_end, both.unwrap_or(write_end)))
}

/// Makes a pipe large. Refused where the user's quota is used up; the usual 64 KiB do as well.
fn enlarge(pipe: &OwnedFd) {
    let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(LARGE_PIPE));
}

/// How much a pipe holds; `None` where that cannot be asked.
pub(super) fn capacity(pipe: &OwnedFd) -> Option<usize> {
    let size = fcntl(pipe, FcntlArg::F_GETPIPE_SZ).ok()?;
    usize::try_from(size).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;

    #[test]
    fn only_the_read_end_never_blocks_and_exec_closes_both() {
        let (read_end, write_end) = pipe_pair(1).unwrap();
        assert_eq!(
            nix::unistd::read(&read_end, &mut [0; 1]),
            Err(Errno::EAGAIN)
        );
        let flags = |fd: &OwnedFd, what| fcntl(fd, what).unwrap();
        assert_eq!(
            flags(&write_end, FcntlArg::F_GETFL) & OFlag::O_NONBLOCK.bits(),
            0
        );
        for end in [&read_end, &write_end] {
            assert_eq!(flags(end, FcntlArg::F_GETFD), 1, "FD_CLOEXEC");
        }
    }

    #[test]
    fn a_service_can_write_although_nobody_reads_and_its_end_is_the_end_all_the_same() {
        let (read_end, write_end) = lasting_pipe_pair(1).unwrap();
        assert_eq!(
            fcntl(&write_end, FcntlArg::F_GETFD).unwrap(),
            1,
            "FD_CLOEXEC"
        );
        nix::unistd::write(&write_end, b"x").unwrap();
        let mut bytes = [0; 2];
        assert_eq!(nix::unistd::read(&read_end, &mut bytes), Ok(1));
        drop(read_end);
        assert_eq!(nix::unistd::write(&write_end, b"x"), Ok(1));
        let (read_end, write_end) = lasting_pipe_pair(1).unwrap();
        drop(write_end);
        assert_eq!(nix::unistd::read(&read_end, &mut bytes), Ok(0));
    }
}
