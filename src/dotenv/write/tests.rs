use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use super::*;
use crate::dotenv::tests::skip;

fn entries() -> Vec<(String, String)> {
    vec![("API_PORT".to_owned(), "8000".to_owned())]
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_new_file_is_private_and_is_removed_with_its_last_entry() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(".env");
    assert!(!write(&path, &[]).unwrap().changed);
    assert!(!path.exists());
    assert!(write(&path, &entries()).unwrap().changed);
    assert_eq!(mode(&path), 0o600);
    assert!(write(&path, &[]).unwrap().changed);
    assert!(!path.exists());
}

#[test]
fn the_users_file_keeps_its_mode_and_its_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(".env");
    fs::write(&path, b"A=\xff").unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    write(&path, &entries()).unwrap();
    assert_eq!(mode(&path), 0o644);
    write(&path, &[]).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"A=\xff");
}

#[test]
fn nothing_is_written_when_nothing_changes() {
    use std::os::unix::fs::MetadataExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(".env");
    write(&path, &entries()).unwrap();
    let before = fs::metadata(&path).unwrap();
    assert!(!write(&path, &entries()).unwrap().changed);
    let after = fs::metadata(&path).unwrap();
    assert_eq!(
        (before.ino(), before.mtime_nsec()),
        (after.ino(), after.mtime_nsec())
    );
}

#[test]
fn a_link_is_followed_and_never_removed() {
    let directory = tempfile::tempdir().unwrap();
    let (path, target) = (directory.path().join(".env"), directory.path().join("real"));
    symlink("real", &path).unwrap();
    write(&path, &entries()).unwrap();
    assert!(
        fs::read_to_string(&target)
            .unwrap()
            .contains("API_PORT=8000")
    );
    write(&path, &[]).unwrap();
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    assert_eq!(fs::read(&target).unwrap(), b"");
}

#[test]
fn a_link_into_another_stack_is_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let of = |name: &str| directory.path().join(name);
    for (name, sign) in [("main", "stack.yaml"), ("old", ".stack")] {
        fs::create_dir_all(of(name).join(sign)).unwrap();
        fs::create_dir_all(of("tree")).unwrap();
        write(&of(name).join(".env"), &entries()).unwrap();
        let path = of("tree").join(name);
        symlink(of(name).join(".env"), &path).unwrap();
        let before = fs::read(&path).unwrap();
        let error = write(&path, &entries()).unwrap_err();
        assert!(matches!(error, DotenvError::OtherStack { .. }), "{error}");
        assert!(!write(&path, &[]).unwrap().changed);
        assert_eq!(fs::read(&path).unwrap(), before);
    }
    // A place that several share without a stack of its own is followed.
    fs::create_dir_all(of("shared")).unwrap();
    let path = of("tree").join(".env");
    symlink(of("shared").join("env"), &path).unwrap();
    fs::write(of("shared").join("env"), "A=1\n").unwrap();
    assert!(write(&path, &entries()).unwrap().changed);
}

#[test]
fn what_is_no_file_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(".env");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let error = write(&path, &entries()).unwrap_err();
    assert!(matches!(error, DotenvError::NotAFile { .. }), "{error}");
}

#[test]
fn a_value_that_cannot_be_written_leaves_the_file_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(".env");
    fs::write(&path, "A=1").unwrap();
    let bad = vec![("X".to_owned(), "$(id)".to_owned())];
    let error = write(&path, &bad).unwrap_err();
    assert!(matches!(error, DotenvError::Entry(_)), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"A=1");
}

#[test]
fn warnings_name_keys_lines_and_readers() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(".env");
    fs::write(&path, "# mine\nexport API_PORT=9000\nB='\n").unwrap();
    let mut all = entries();
    all.push(("NOTE".to_owned(), "two\nlines".to_owned()));
    let warnings = write(&path, &all).unwrap().warnings;
    assert_eq!(
        warnings,
        [
            WriteWarning::Value {
                key: "NOTE".to_owned(),
                warning: QuoteWarning::Newline
            },
            WriteWarning::KeyOutside {
                key: "API_PORT".to_owned(),
                line: 2
            },
        ]
    );
    let hints = warnings.iter().map(|warning| warning.hint().unwrap());
    let readers = ["docker --env-file, make", "dotenvy, deno and uv"];
    assert!(
        hints
            .zip(readers)
            .all(|(hint, reader)| hint.contains(reader))
    );
    // The warnings are about the file, not about the change.
    assert_eq!(write(&path, &all).unwrap().warnings, warnings);
}

#[test]
fn a_wish_that_was_granted_is_no_warning_and_another_one_has_a_hint() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(".env");
    for same in ["API_PORT=8000\n", "export API_PORT='8000' # mine\n"] {
        fs::write(&path, same).unwrap();
        assert_eq!(write(&path, &entries()).unwrap().warnings, [], "{same}");
    }
    for other in [
        "API_PORT=8001\n",
        "API_PORT=\n",
        "API_PORT\n",
        "API_PORT=$P\n",
    ] {
        fs::write(&path, other).unwrap();
        let warnings = write(&path, &entries()).unwrap().warnings;
        assert_eq!(warnings.len(), 1, "{other}");
        let hint = warnings[0].hint().unwrap();
        assert!(hint.contains("dotenvy, deno and uv"), "{hint}");
    }
}

#[test]
fn an_edited_block_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(".env");
    write(&path, &entries()).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("API_PORT", "MINE=1\nAPI_PORT")).unwrap();
    let written = write(&path, &entries()).unwrap();
    assert_eq!(written.warnings, [WriteWarning::BlockDamaged]);
    assert!(
        fs::read_to_string(&path)
            .unwrap()
            .starts_with("MINE=1\n# >>> stack")
    );
}

/// A file system of `size` bytes, gone with the value.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let directory = tempfile::tempdir().ok()?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size={size}"))
            .arg("stack-test")
            .arg(directory.path())
            .stderr(std::process::Stdio::null())
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then_some(Self(directory))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.0.path()).status());
    }
}

#[test]
fn a_full_disk_leaves_the_old_file_and_nothing_else() {
    if !nix::unistd::geteuid().is_root() {
        return skip("root, to mount a small disk");
    }
    let Some(disk) = SmallDisk::mount("64k") else {
        return skip("a mount that is allowed");
    };
    let path = disk.0.path().join(".env");
    fs::write(&path, "A=1").unwrap();
    write(&path, &entries()).unwrap();
    let before = fs::read(&path).unwrap();
    // One value that does not fit, and then a disk without a single free block.
    let big = vec![("BIG".to_owned(), "x".repeat(100_000))];
    assert!(matches!(write(&path, &big), Err(DotenvError::Io(_))));
    assert_eq!(fs::read(&path).unwrap(), before);
    let filler = disk.0.path().join("filler");
    assert!(fs::write(&filler, vec![0; 100_000]).is_err());
    let other = vec![("API_PORT".to_owned(), "8001".to_owned())];
    assert!(matches!(write(&path, &other), Err(DotenvError::Io(_))));
    assert_eq!(fs::read(&path).unwrap(), before);
    let names = fs::read_dir(disk.0.path()).unwrap().count();
    assert_eq!(names, 2, "only the file and the filler are left");
}
