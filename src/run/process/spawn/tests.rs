//! The child as it finds itself.

use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use super::super::group::FoundGroup;
use super::*;

/// Runs a program and returns what it printed.
fn output(spawner: &mut Spawner, program: &str, argv: &[&str]) -> Result<String, SpawnError> {
    output_with(spawner, program, argv, &[])
}

/// The same for a program that takes sockets over.
fn output_with(
    spawner: &mut Spawner,
    program: &str,
    argv: &[&str],
    passed: &[(BorrowedFd<'_>, &str)],
) -> Result<String, SpawnError> {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let argv: Vec<String> = argv.iter().map(|&word| word.to_owned()).collect();
    let environment = [
        ("PATH", "/usr/bin:/bin"),
        // A caller that was itself given sockets.
        ("LISTEN_PID", "1"),
        ("LISTEN_FDS", "7"),
    ]
    .map(|(key, value)| (OsStr::new(key), OsStr::new(value)));
    let target = Target {
        program: Path::new(program),
        argv: &argv,
        environment: &environment,
        directory: Path::new("/"),
        rights: &Rights::default(),
    };
    let stdio = Stdio {
        stdin: None,
        has_terminal: false,
        stdout: writer.as_fd(),
        stderr: writer.as_fd(),
        passed,
    };
    let pid = spawner.spawn(&target, stdio, None)?;
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None).unwrap();
    Ok(text)
}

#[test]
fn a_child_leads_its_own_session_with_three_descriptors_and_a_clean_mask() {
    let mut spawner = Spawner::new((256, 256), None).unwrap();
    spawner.note_signals();
    let text = output(
        &mut spawner,
        "/bin/sh",
        &["sh", "-c", "ls /proc/self/fd | wc -l; grep -E '^Sig(Blk|Ign)' /proc/self/status; ulimit -n; echo $$; cut -d' ' -f6 /proc/$$/stat; pwd"],
    )
    .unwrap();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    // `ls` itself has the directory open: 0, 1, 2 and that one.
    assert_eq!(lines[0], "4");
    assert_eq!(lines[1], "SigBlk:\t0000000000000000");
    assert_eq!(lines[2], "SigIgn:\t0000000000000000");
    assert_eq!(lines[3], "256");
    assert_eq!(lines[4], lines[5], "the shell's pid is its session's id");
    assert_eq!(lines[6], "/");
}

#[test]
fn a_failed_exec_is_told_with_its_step_and_leaves_no_child() {
    let mut spawner = Spawner::new((256, 256), None).unwrap();
    let missing = output(&mut spawner, "/no/such/program", &["x"]).unwrap_err();
    assert_eq!(
        (missing.step, missing.errno),
        (SpawnStep::Exec, Errno::ENOENT)
    );
    let directory = output(&mut spawner, "/", &["x"]).unwrap_err();
    assert_eq!(
        (directory.step, directory.errno),
        (SpawnStep::Exec, Errno::EACCES)
    );
    assert!(!missing.is_temporary());
}

/// What `LISTEN_…` says, the shell's pid, and where the descriptors from 3 on lead.
const LISTEN: [&str; 3] = [
    "sh",
    "-c",
    "echo $LISTEN_FDS $LISTEN_FDNAMES; echo $LISTEN_PID; echo $$; readlink /proc/$$/fd/3 /proc/$$/fd/4 /proc/$$/fd/5",
];

#[test]
fn sockets_are_passed_as_socket_activation_has_it() {
    let mut spawner = Spawner::new((256, 256), None).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let link = |descriptor: BorrowedFd<'_>| {
        let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
        std::fs::read_link(path)
            .unwrap()
            .to_string_lossy()
            .into_owned()
    };
    let passed = [(listener.as_fd(), "PORT"), (datagrams.as_fd(), "DNS")];
    // Also where a descriptor to be passed has a number that is still to be given.
    for passed in [passed, [passed[1], passed[0]]] {
        let text = output_with(&mut spawner, "/bin/sh", &LISTEN, &passed).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], format!("2 {}:{}", passed[0].1, passed[1].1));
        assert_eq!(lines[1], lines[2], "the child's own pid");
        let links = passed.map(|(descriptor, _)| link(descriptor));
        assert_eq!(lines[3..], links, "and nothing behind them");
    }
}

#[test]
fn what_the_caller_was_given_is_not_said_to_a_child_that_gets_nothing() {
    let mut spawner = Spawner::new((256, 256), None).unwrap();
    let text = output(&mut spawner, "/bin/sh", &["sh", "-c", "env"]).unwrap();
    assert!(!text.contains("LISTEN_"), "{text}");
}

#[test]
fn a_child_is_born_in_the_group_and_outside_of_it_once_that_is_gone() {
    let (instance, run) = ("unit-00000000000000ab", "00000000000000cd");
    let Some(place) = Group::place(instance, run) else {
        return;
    };
    // Where one cannot be made, there is nothing to be shown.
    let Some(group) = Group::make(instance, run) else {
        let is_refused = std::fs::create_dir(&place).is_err();
        assert!(
            is_refused || !place.join("cgroup.kill").exists() || cfg!(not(target_arch = "x86_64"))
        );
        return;
    };
    let mut spawner = Spawner::new((256, 256), Some(group)).unwrap();
    let show = [
        "sh",
        "-c",
        "grep ^0:: /proc/self/cgroup; ulimit -n; echo $$; cut -d' ' -f6 /proc/$$/stat",
    ];
    let text = output(&mut spawner, "/bin/sh", &show).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].ends_with("stack-unit-00000000000000ab-00000000000000cd"),
        "{text}"
    );
    assert_eq!((lines[1], lines[2]), ("256", lines[3]));
    let missing = output(&mut spawner, "/no/such/program", &["x"]).unwrap_err();
    assert_eq!(
        (missing.step, missing.errno),
        (SpawnStep::Exec, Errno::ENOENT)
    );
    assert!(spawner.group().is_some());
    assert_eq!(FoundGroup::of(instance).len(), 1);
    spawner.group().unwrap().remove();
    assert_eq!(FoundGroup::of(instance), []);
    let text = output(&mut spawner, "/bin/sh", &show).unwrap();
    assert!(!text.contains("stack-unit-"), "{text}");
    assert!(spawner.group().is_none());
}

#[test]
fn a_child_gets_no_copy_of_all_that_its_parent_has_open() {
    let mut spawner = Spawner::new((256, 256), None).unwrap();
    crate::ports::ensure_descriptors(2000);
    let many: Vec<_> = (0..700).map(|_| std::io::pipe().unwrap()).collect();
    let link = |end: BorrowedFd<'_>| {
        std::fs::read_link(format!("/proc/self/fd/{}", end.as_raw_fd())).unwrap()
    };
    let links = || -> Vec<_> {
        let ends = many
            .iter()
            .flat_map(|(reader, writer)| [reader.as_fd(), writer.as_fd()]);
        ends.map(link).collect()
    };
    let before = links();
    let size = ["grep", "FDSize", "/proc/self/status"];
    let size = output(&mut spawner, "/bin/grep", &size).unwrap();
    // A table for 1,400 has room for 2,048 (proc_pid_status(5)).
    let size: usize = size["FDSize:".len()..].trim().parse().unwrap();
    assert!(size <= 1024, "{size}");
    // Nor does one that fails take any of them away.
    output(&mut spawner, "/no/such/program", &["x"]).unwrap_err();
    assert_eq!(links(), before);
}

#[test]
fn more_sockets_are_passed_than_there_are_slots() {
    let mut spawner = Spawner::new((256, 256), None).unwrap();
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let passed: Vec<_> = (0..20).map(|_| (socket.as_fd(), "web")).collect();
    let list = ["sh", "-c", "ls /proc/self/fd | wc -l"];
    let count = output_with(&mut spawner, "/bin/sh", &list, &passed).unwrap();
    // Those, 0, 1, 2, and the directory itself.
    assert_eq!(count.trim(), "24");
}
