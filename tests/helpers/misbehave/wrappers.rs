//! Poorer machines, for one program: each of these changes what the system gives and becomes CMD.
//!
//! ```text
//! no-ipv6 -- CMD…              the kernel has no IPv6: `socket(AF_INET6, …)` fails with EAFNOSUPPORT
//! fd-limit N -- CMD…           no more than N open files, soft and hard
//! as-nobody -- CMD…            user and group 65534
//! become -- CMD…               changes nothing
//! ```

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};

use crate::words::Words;
use crate::{Failure, Outcome};

/// The id of `nobody`, whatever its name is here.
const NOBODY: u32 = 65534;

pub(crate) fn run(mode: &str, words: &mut Words) -> Option<Outcome> {
    let changed = match mode {
        "no-ipv6" => refuse_ipv6(),
        "fd-limit" => limit_files(words),
        "as-nobody" => become_nobody(),
        "become" => Ok(()),
        _ => return None,
    };
    Some(changed.and_then(|()| become_command(words)))
}

fn become_command(words: &mut Words) -> Outcome {
    let mut arguments = words.then()?.into_arguments().into_iter();
    let program = arguments.next().ok_or("CMD is missing")?;
    // What comes now lives as long as it likes.
    nix::unistd::alarm::cancel();
    let error = Command::new(&program).args(arguments).exec();
    Err(format!("cannot execute {program}: {error}").into())
}

fn limit_files(words: &mut Words) -> Result<(), Failure> {
    let limit = words.value("N")?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, limit, limit)?)
}

/// Lets this process open as many files as it may at all.
pub(crate) fn raise_file_limit() -> Result<(), Failure> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

fn become_nobody() -> Result<(), Failure> {
    setgroups(&[])?;
    setgid(Gid::from_raw(NOBODY))?;
    Ok(setuid(Uid::from_raw(NOBODY))?)
}

/// Installs a filter of system calls for this process and all that come of it. It looks at the
/// number of the call alone, not at the architecture: everything here is of this machine's own.
#[expect(
    unsafe_code,
    reason = "no wrapper for seccomp filters is at hand, and one filter is four instructions"
)]
fn refuse_ipv6() -> Result<(), Failure> {
    // Offsets in struct seccomp_data: the number of the call, and the lower half of its first argument.
    const NUMBER: u32 = 0;
    const FIRST_ARGUMENT: u32 = if cfg!(target_endian = "little") {
        16
    } else {
        20
    };
    let load = |offset| instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0);
    let skip_unless = |value, skipped| {
        instruction(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            value,
            0,
            skipped,
        )
    };
    let answer = |value| instruction(libc::BPF_RET | libc::BPF_K, value, 0, 0);
    let refused = libc::SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT.cast_unsigned();
    let mut filter = [
        load(NUMBER),
        skip_unless(u32::try_from(libc::SYS_socket)?, 3),
        load(FIRST_ARGUMENT),
        skip_unless(libc::AF_INET6.cast_unsigned(), 1),
        answer(refused),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len())?,
        filter: filter.as_mut_ptr(),
    };
    // An ordinary user may install a filter only who gives up gaining privileges.
    nix::sys::prctl::set_no_new_privs()?;
    // SAFETY: `program` and the instructions it points to live until the call returns, and the
    // kernel only reads them.
    let code = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::c_ulong::from(libc::SECCOMP_MODE_FILTER),
            &raw const program,
        )
    };
    Ok(nix::errno::Errno::result(code).map(drop)?)
}

fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter {
        code: u16::try_from(code).expect("the codes of instructions are small"),
        jt,
        jf,
        k,
    }
}
