//! Making the socket: modes, stale ones, and directories that are not ours.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use crate::run::socket::{SocketError, bind_listener, remove};

fn mode(path: &Path) -> u32 {
    fs_err::symlink_metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn the_socket_is_private_in_a_private_directory() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("shop");
    let path = state.join("control.sock");
    let listener = bind_listener(&path).unwrap();
    assert_eq!(mode(&state), 0o700);
    assert_eq!(mode(&path), 0o600);
    drop(listener);
    remove(&path).unwrap();
    remove(&path).unwrap();
    assert!(!path.exists());
}

#[test]
fn a_readable_directory_of_ours_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("shop");
    fs_err::create_dir(&state).unwrap();
    fs_err::set_permissions(&state, PermissionsExt::from_mode(0o755)).unwrap();
    let _listener = bind_listener(&state.join("control.sock")).unwrap();
    assert_eq!(mode(&state), 0o700);
}

#[test]
fn a_directory_that_others_may_write_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("shop");
    fs_err::create_dir(&state).unwrap();
    fs_err::set_permissions(&state, PermissionsExt::from_mode(0o770)).unwrap();
    let error = bind_listener(&state.join("control.sock")).unwrap_err();
    assert!(
        matches!(error, SocketError::NotPrivate { mode: 0o770, .. }),
        "{error:?}"
    );
    assert_eq!(fs_err::read_dir(&state).unwrap().count(), 0);
}

#[test]
fn a_directory_of_somebody_else_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("stack-0");
    fs_err::create_dir(&state).unwrap();
    fs_err::set_permissions(&state, PermissionsExt::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(&state, Some(65_534), None).unwrap();
    let error = bind_listener(&state.join("control.sock")).unwrap_err();
    assert!(
        matches!(error, SocketError::NotPrivate { owner: 65_534, .. }),
        "{error:?}"
    );
    assert_eq!(fs_err::read_dir(&state).unwrap().count(), 0);
}

#[test]
fn a_link_in_place_of_the_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = directory.path().join("elsewhere");
    fs_err::create_dir(&elsewhere).unwrap();
    fs_err::set_permissions(&elsewhere, PermissionsExt::from_mode(0o700)).unwrap();
    let link = directory.path().join("stack-0");
    for target in [elsewhere.as_path(), Path::new("/nowhere/at/all")] {
        symlink(target, &link).unwrap();
        let error = bind_listener(&link.join("control.sock")).unwrap_err();
        assert!(matches!(error, SocketError::Directory { .. }), "{error:?}");
        fs_err::remove_file(&link).unwrap();
    }
    assert_eq!(fs_err::read_dir(&elsewhere).unwrap().count(), 0);
}

#[test]
fn a_stale_socket_is_replaced_and_a_file_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("shop");
    let path = state.join("control.sock");
    drop(bind_listener(&path).unwrap());
    let listener = bind_listener(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    drop(listener);
    remove(&path).unwrap();
    fs_err::write(&path, "precious").unwrap();
    let error = bind_listener(&path).unwrap_err();
    assert!(matches!(error, SocketError::InTheWay { .. }), "{error:?}");
    assert_eq!(fs_err::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn no_child_inherits_the_socket() {
    use std::os::fd::AsFd;
    let directory = tempfile::tempdir().unwrap();
    let listener = bind_listener(&directory.path().join("shop").join("control.sock")).unwrap();
    let flags = nix::fcntl::fcntl(listener.as_fd(), nix::fcntl::FcntlArg::F_GETFD).unwrap();
    assert_eq!(flags & 1, 1, "FD_CLOEXEC");
}
