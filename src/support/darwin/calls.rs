//! The system calls: bytes in, bytes out.

use std::ffi::CStr;

use nix::libc::{self, c_int, c_void};

/// `PROC_PIDFDSOCKETINFO` of `<sys/proc_info.h>`, for which `libc` has no name.
const SOCKET_INFO: c_int = 3;

/// `PROX_FDTYPE_SOCKET` of `<sys/proc_info.h>`.
const SOCKET_TYPE: u32 = 2;

/// How often a list is asked for again that has grown between two calls.
const ATTEMPTS: usize = 4;

/// Every process, by its number; zombies may be among them.
#[expect(unsafe_code, reason = "proc_listallpids, of libproc")]
pub(crate) fn all_pids() -> Vec<i32> {
    let mut pids: Vec<i32> = Vec::new();
    for _ in 0..ATTEMPTS {
        // SAFETY: without a buffer the call only says how many processes there are.
        let count = unsafe { libc::proc_listallpids(std::ptr::null_mut(), 0) };
        let Ok(count) = usize::try_from(count) else {
            return Vec::new();
        };
        // Some more, since others start meanwhile.
        pids.resize(count + 64, 0);
        let bytes = c_int::try_from(size_of_val(pids.as_slice())).unwrap_or(c_int::MAX);
        // SAFETY: the buffer is as long as is said, and any bytes are valid numbers.
        let found = unsafe { libc::proc_listallpids(pids.as_mut_ptr().cast(), bytes) };
        let found = usize::try_from(found).unwrap_or(0);
        // A full buffer may have cut the list.
        if found < pids.len() {
            pids.truncate(found);
            break;
        }
    }
    pids.retain(|&pid| pid > 0);
    pids
}

/// What is known of one process that is no zombie; `None` also for another user's.
#[expect(unsafe_code, reason = "proc_pidinfo, of libproc")]
pub(super) fn process_info(pid: i32) -> Option<libc::proc_bsdinfo> {
    let mut info = std::mem::MaybeUninit::<libc::proc_bsdinfo>::zeroed();
    let size = c_int::try_from(size_of::<libc::proc_bsdinfo>()).ok()?;
    // SAFETY: `info` has the size that is said. The argument 0 leaves zombies out.
    let written = unsafe {
        libc::proc_pidinfo(
            pid,
            libc::PROC_PIDTBSDINFO,
            0,
            info.as_mut_ptr().cast(),
            size,
        )
    };
    // SAFETY: it is all numbers, for which any bytes are valid, and all of it was zeroed before.
    (written == size).then(|| unsafe { info.assume_init() })
}

/// The path of a process's working directory; `None` for another user's process.
#[expect(unsafe_code, reason = "proc_pidinfo, of libproc")]
pub(super) fn directory(pid: i32) -> Option<Vec<u8>> {
    let mut info = std::mem::MaybeUninit::<libc::proc_vnodepathinfo>::zeroed();
    let size = c_int::try_from(size_of::<libc::proc_vnodepathinfo>()).ok()?;
    // SAFETY: `info` has the size that is said.
    let written = unsafe {
        libc::proc_pidinfo(
            pid,
            libc::PROC_PIDVNODEPATHINFO,
            0,
            info.as_mut_ptr().cast(),
            size,
        )
    };
    if written != size {
        return None;
    }
    // SAFETY: it is all numbers, for which any bytes are valid, and all of it was zeroed before.
    let info = unsafe { info.assume_init() };
    let path = info.pvi_cdir.vip_path.as_flattened().iter();
    let path: Vec<u8> = path
        .map(|byte| byte.cast_unsigned())
        .take_while(|&byte| byte != 0)
        .collect();
    (!path.is_empty()).then_some(path)
}

/// The descriptors of a process that are sockets. Fails for another user's process, unless we are
/// root, and for one that is gone.
#[expect(unsafe_code, reason = "proc_pidinfo, of libproc")]
pub(super) fn socket_descriptors(pid: i32) -> nix::Result<Vec<i32>> {
    let entry = size_of::<libc::proc_fdinfo>();
    let mut capacity = 64;
    loop {
        let mut entries: Vec<libc::proc_fdinfo> = Vec::with_capacity(capacity);
        let bytes = c_int::try_from(capacity * entry).unwrap_or(c_int::MAX);
        nix::errno::Errno::clear();
        // SAFETY: the buffer is as long as is said.
        let written = unsafe {
            libc::proc_pidinfo(
                pid,
                libc::PROC_PIDLISTFDS,
                0,
                entries.as_mut_ptr().cast(),
                bytes,
            )
        };
        // That there is no descriptor cannot be told from an error by the number alone.
        let written = usize::try_from(written).unwrap_or(0);
        if written == 0 {
            return match nix::errno::Errno::last_raw() {
                0 => Ok(Vec::new()),
                errno => Err(nix::errno::Errno::from_raw(errno)),
            };
        }
        // A full buffer may have cut the list.
        if written < capacity * entry {
            // SAFETY: the kernel has written that many whole entries, which are all numbers.
            unsafe { entries.set_len(written / entry) };
            return Ok(entries
                .into_iter()
                .filter(|entry| entry.proc_fdtype == SOCKET_TYPE)
                .map(|entry| entry.proc_fd)
                .collect());
        }
        capacity *= 4;
    }
}

/// The `struct socket_fdinfo` of one descriptor; `None` if it was closed meanwhile.
#[expect(unsafe_code, reason = "proc_pidfdinfo, of libproc")]
pub(super) fn socket_info(pid: i32, descriptor: i32) -> Option<[u8; super::socket_layout::SIZE]> {
    let mut bytes = [0_u8; super::socket_layout::SIZE];
    let size = c_int::try_from(bytes.len()).ok()?;
    // SAFETY: the buffer is as long as is said, and any bytes are valid ones.
    let written = unsafe {
        libc::proc_pidfdinfo(
            pid,
            descriptor,
            SOCKET_INFO,
            bytes.as_mut_ptr().cast::<c_void>(),
            size,
        )
    };
    (written == size).then_some(bytes)
}

/// The memory in which a process was given its arguments and environment (sysctl(3),
/// `KERN_PROCARGS2`). `None` for another user's process and for one that is gone.
#[expect(unsafe_code, reason = "sysctl(3)")]
pub(super) fn argument_memory(pid: i32) -> Option<Vec<u8>> {
    let mut name = [libc::CTL_KERN, libc::KERN_PROCARGS2, pid];
    let mut length = argument_limit()?;
    let mut bytes = vec![0_u8; length];
    // SAFETY: the name has three words, the buffer is as long as is said, nothing is set.
    let result = unsafe {
        libc::sysctl(
            name.as_mut_ptr(),
            3,
            bytes.as_mut_ptr().cast(),
            &raw mut length,
            std::ptr::null_mut(),
            0,
        )
    };
    bytes.truncate(length);
    (result == 0).then_some(bytes)
}

/// The most that arguments and environment may take together, in bytes.
fn argument_limit() -> Option<usize> {
    usize::try_from(sysctl_number(c"kern.argmax")?).ok()
}

/// A setting of the kernel that is a number.
#[expect(unsafe_code, reason = "sysctlbyname, of sysctl(3)")]
pub(crate) fn sysctl_number(name: &CStr) -> Option<i32> {
    let mut number: c_int = 0;
    let mut length = size_of::<c_int>();
    // SAFETY: the name ends with NUL, `number` is as long as is said, nothing is set.
    let result = unsafe {
        libc::sysctlbyname(
            name.as_ptr(),
            (&raw mut number).cast(),
            &raw mut length,
            std::ptr::null_mut(),
            0,
        )
    };
    (result == 0 && length == size_of::<c_int>()).then_some(number)
}

/// The random id of this boot of the machine; empty if the kernel does not say it.
#[expect(unsafe_code, reason = "sysctlbyname, of sysctl(3)")]
pub(crate) fn boot_id() -> String {
    // A UUID in text, with a NUL at its end.
    let mut bytes = [0_u8; 64];
    let mut length = bytes.len();
    // SAFETY: the name ends with NUL, the buffer is as long as is said, nothing is set.
    let result = unsafe {
        libc::sysctlbyname(
            c"kern.bootsessionuuid".as_ptr(),
            bytes.as_mut_ptr().cast(),
            &raw mut length,
            std::ptr::null_mut(),
            0,
        )
    };
    if result != 0 {
        return String::new();
    }
    let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}
