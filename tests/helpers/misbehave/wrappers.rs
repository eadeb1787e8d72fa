//! Poorer machines, for one program: each of these changes what the system gives and becomes CMD.
//!
//! ```text
//! no-ipv6 -- CMD…              the kernel has no IPv6: `socket(AF_INET6, …)` fails with EAFNOSUPPORT
//! no-processes -- CMD…         no further process or thread: `clone` fails with EAGAIN
//! no-threads -- CMD…           no further thread: a `clone` for one fails with EAGAIN
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
        "no-processes" => refuse_processes(),
        "no-threads" => refuse_threads(),
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

fn refuse_ipv6() -> Result<(), Failure> {
    filter(&mut [
        load(NUMBER),
        skip_unless(u32::try_from(libc::SYS_socket)?, 3),
        load(FIRST_ARGUMENT),
        skip_unless(libc::AF_INET6.cast_unsigned(), 1),
        answer(libc::SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT.cast_unsigned()),
        answer(libc::SECCOMP_RET_ALLOW),
    ])
}

fn refuse_processes() -> Result<(), Failure> {
    let refused = answer(libc::SECCOMP_RET_ERRNO | libc::EAGAIN.cast_unsigned());
    filter(&mut [
        load(NUMBER),
        skip_unless(u32::try_from(libc::SYS_clone)?, 1),
        refused,
        skip_unless(u32::try_from(libc::SYS_clone3)?, 1),
        refused,
        answer(libc::SECCOMP_RET_ALLOW),
    ])
}

fn refuse_threads() -> Result<(), Failure> {
    let clone_thread = u32::try_from(libc::CLONE_THREAD)?;
    filter(&mut [
        load(NUMBER),
        // Its flags are in memory, where no filter sees them: the C library goes back to `clone`.
        skip_unless(u32::try_from(libc::SYS_clone3)?, 1),
        answer(libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned()),
        skip_unless(u32::try_from(libc::SYS_clone)?, 3),
        load(FIRST_ARGUMENT),
        instruction(
            libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K,
            clone_thread,
            0,
            1,
        ),
        answer(libc::SECCOMP_RET_ERRNO | libc::EAGAIN.cast_unsigned()),
        answer(libc::SECCOMP_RET_ALLOW),
    ])
}

/// Where `struct seccomp_data` has the number of the call.
const NUMBER: u32 = 0;

/// Where it has the lower half of the first argument.
const FIRST_ARGUMENT: u32 = if cfg!(target_endian = "little") {
    16
} else {
    20
};

fn load(offset: u32) -> libc::sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0)
}

fn skip_unless(value: u32, skipped: u8) -> libc::sock_filter {
    let code = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    instruction(code, value, 0, skipped)
}

fn answer(value: u32) -> libc::sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, value, 0, 0)
}

/// Installs a filter of system calls for this process and all that come of it. It looks at the
/// number of the call alone, not at the architecture: everything here is of this machine's own.
#[expect(
    unsafe_code,
    reason = "no wrapper for seccomp filters is at hand, and a filter is a few instructions"
)]
fn filter(instructions: &mut [libc::sock_filter]) -> Result<(), Failure> {
    let program = libc::sock_fprog {
        len: u16::try_from(instructions.len())?,
        filter: instructions.as_mut_ptr(),
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
