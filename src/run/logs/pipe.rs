//! The pipes between a service and the pump.

use std::io;
use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

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
}
