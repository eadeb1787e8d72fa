//! A program on a terminal of its own, whose keyboard and screen are the test's.
//!
//! `setsid --ctty` makes the terminal the controlling one, so that no code of ours has to run
//! between fork and exec.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{Termios, tcgetattr};

use super::program::binary;
use super::project::TestStack;
use super::waiting::wait_until;
use super::world::World;

/// Ctrl-C at the keyboard.
pub(crate) const CTRL_C: &[u8] = &[3];

/// Ctrl-Z at the keyboard.
pub(crate) const CTRL_Z: &[u8] = &[26];

/// A terminal with a program on it. Dropped, it is closed and the program is killed.
pub(crate) struct Terminal {
    child: Child,
    master: PtyMaster,
    /// The other side, so that what was set there can be looked at when the program has gone.
    slave: File,
    screen: RefCell<Vec<u8>>,
}

impl Terminal {
    /// Starts `command` as the leader of a session with a new terminal. The command's environment is
    /// the caller's business.
    #[track_caller]
    pub(crate) fn start(world: &World, command: &Command) -> Self {
        // Closed on exec from the first moment: other tests start programs at the same time.
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let master = posix_openpt(flags).expect("the system has terminals");
        grantpt(&master).expect("a new terminal is ours");
        unlockpt(&master).expect("a new terminal is ours");
        fcntl(
            &master,
            FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK),
        )
        .expect("a terminal can be read without waiting");
        let name = ptsname_r(&master).expect("a terminal has a name");
        let slave = File::options()
            .read(true)
            .write(true)
            .custom_flags(OFlag::O_NOCTTY.bits())
            .open(name)
            .expect("the terminal is there");
        let side = || Stdio::from(slave.try_clone().expect("a descriptor is to be had"));
        let mut wrapper = Command::new("setsid");
        wrapper
            .arg("--ctty")
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(side())
            .stdout(side())
            .stderr(side());
        if let Some(directory) = command.get_current_dir() {
            wrapper.current_dir(directory);
        }
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => wrapper.env(key, value),
                None => wrapper.env_remove(key),
            };
        }
        wrapper.env("TERM", "xterm");
        let child = world
            .network()
            .enter(|| wrapper.spawn())
            .expect("setsid can be run");
        Self {
            child,
            master,
            slave,
            screen: RefCell::default(),
        }
    }

    /// The program's pid.
    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Presses keys.
    #[track_caller]
    pub(crate) fn press(&self, keys: &[u8]) {
        let mut master = &self.master;
        master.write_all(keys).expect("the terminal is open");
    }

    /// Pastes more than a terminal holds, while what comes back is read.
    #[track_caller]
    pub(crate) fn paste(&self, mut text: &[u8]) {
        wait_until("the paste is taken", || {
            self.screen();
            while let Ok(length) = (&self.master).write(text) {
                text = &text[length..];
                if text.is_empty() {
                    return Some(());
                }
            }
            None
        });
    }

    /// Everything that was shown so far, escape sequences included.
    pub(crate) fn screen(&self) -> String {
        let mut screen = self.screen.borrow_mut();
        let mut buffer = [0; 4096];
        // An error: nothing more at the moment, or nobody on the other side any more.
        while let Ok(length @ 1..) = (&self.master).read(&mut buffer) {
            screen.extend_from_slice(&buffer[..length]);
        }
        String::from_utf8_lossy(&screen).into_owned()
    }

    /// Waits until `part` has been shown.
    #[track_caller]
    pub(crate) fn wait_for(&self, part: &str) {
        wait_until(&format!("`{part}` on the terminal"), || {
            self.screen().contains(part).then_some(())
        });
    }

    /// Makes it another size, as a window that is dragged.
    #[track_caller]
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        let size = rustix::termios::Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(&self.master, size).expect("the terminal is open");
    }

    /// Its settings: echo, line mode, special characters.
    pub(crate) fn settings(&self) -> Termios {
        tcgetattr(&self.slave).expect("the terminal is open")
    }

    /// Waits for the program's end: its exit code, 128 + N for signal N, and the screen.
    #[track_caller]
    pub(crate) fn wait(mut self) -> (i32, String) {
        let status = wait_until("the program on the terminal to end", || {
            // A screen that nobody reads would keep it from ending.
            self.screen();
            self.child.try_wait().expect("a child can be waited for")
        });
        let code = status.code().or(status.signal().map(|signal| 128 + signal));
        (code.expect("it has ended"), self.screen())
    }

    /// Closes the terminal, as a window is closed.
    pub(crate) fn hang_up(self) {
        // All that Drop does: the terminal goes with the last descriptor.
        drop(self);
    }
}

/// `stack up` as the job of a shell, which says `job stopped` when it has stopped and continues it
/// when a line is entered.
#[track_caller]
pub(crate) fn up_as_a_job(stack: &TestStack) -> Terminal {
    let script = "set -m; \"$0\" up; echo job stopped; read line; fg; echo \"job ended with $?\"";
    let mut command = stack.command(&[]);
    let mut shell = Command::new("bash");
    shell.args(["-c", script]).arg(binary());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(key, value),
            None => shell.env_remove(key),
        };
    }
    shell.current_dir(
        command
            .current_dir(stack.path(""))
            .get_current_dir()
            .expect("set"),
    );
    Terminal::start(stack.world(), &shell)
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // What it leaves is found by its world; the child itself is waited for there as well, since
        // a zombie does not count.
        drop(self.child.try_wait());
    }
}
