//! The child as it finds itself.

use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

use super::*;

/// Runs a program and returns what it printed.
fn output(spawner: &mut Spawner, program: &str, argv: &[&str]) -> Result<String, SpawnError> {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let argv: Vec<String> = argv.iter().map(|&word| word.to_owned()).collect();
    let environment = [(OsStr::new("PATH"), OsStr::new("/usr/bin:/bin"))];
    let target = Target {
        program: Path::new(program),
        argv: &argv,
        environment: &environment,
        directory: Path::new("/"),
    };
    let stdio = Stdio {
        stdout: writer.as_fd(),
        stderr: writer.as_fd(),
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
    let mut spawner = Spawner::new((256, 256)).unwrap();
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
    let mut spawner = Spawner::new((256, 256)).unwrap();
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
