//! The project of a round: a random `stack.yaml`, and `stack` called in it.

use std::cell::Cell;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fs_err as fs;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

use crate::machine::MARK;
use crate::random::Random;

/// What services are made of, and what stands behind their `command`.
const MODES: [(&str, &str); 12] = [
    ("sleep", ""),
    ("ignore-term", ""),
    ("double-fork --stay --deaf", ""),
    ("double-fork", "restart: on-failure"),
    ("gc-setsid --deaf", ""),
    ("fork-tree 2", ""),
    ("bind $<PORT:auto>", ""),
    ("bind $<PORT:auto> --http", "healthcheck: { http: / }"),
    ("one-shot 1 40", "restart: always"),
    ("one-shot 0 20", ""),
    ("one-shot 1 150", "schedule: { every: 100ms }"),
    (
        "sleep",
        "healthcheck: { test: 'sleep 0.05; exit 1', interval: 50ms }",
    ),
];

/// How large a disk is that may fill up.
const DISK: &str = "size=4m";

pub(crate) struct Project {
    directory: TempDir,
    /// Whether it lies on a disk of its own.
    has_disk: bool,
    /// The names of its services.
    pub(crate) services: Vec<String>,
    /// The sum of all grace periods: what a stop takes if each waits for the one before.
    pub(crate) graces: Cell<Duration>,
    /// Whether the file was changed: then not every service is known to what runs.
    pub(crate) is_edited: Cell<bool>,
}

/// A random `stack.yaml`.
struct File {
    yaml: String,
    services: Vec<String>,
    graces: Duration,
}

impl File {
    fn new(random: &mut Random) -> std::io::Result<Self> {
        let misbehave = beside("examples/misbehave")?;
        let mut yaml = String::from("ports: { range: 21000-23999 }\nservices:\n");
        let (mut services, mut graces): (Vec<String>, _) = (Vec::new(), Duration::ZERO);
        for number in 0..=random.below(4) {
            let name = format!("s{number}");
            let (mode, more) = random.one(&MODES);
            let grace = 100 + 100 * random.below(8);
            let command = format!("{} {mode}", misbehave.display());
            let _ = writeln!(
                yaml,
                "  {name}:\n    command: '{command}'\n    stop_grace_period: {grace}ms"
            );
            if !more.is_empty() {
                let _ = writeln!(yaml, "    {more}");
            }
            if !services.is_empty() && random.once_in(2) {
                let _ = writeln!(yaml, "    depends_on: [{}]", random.one(&services));
            }
            graces += Duration::from_millis(grace);
            services.push(name);
        }
        Ok(Self {
            yaml,
            services,
            graces,
        })
    }
}

impl Project {
    /// One that may lie on a disk of its own where this program has `own_mounts`.
    pub(crate) fn new(random: &mut Random, own_mounts: bool) -> std::io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("stack-chaos-").tempdir()?;
        let disk = directory.path().join("disk");
        fs::create_dir(&disk)?;
        let has_disk = random.once_in(3) && own_mounts;
        if has_disk {
            mount(
                Some("tmpfs"),
                &disk,
                Some("tmpfs"),
                MsFlags::empty(),
                Some(DISK),
            )?;
        }
        let file = File::new(random)?;
        fs::create_dir(disk.join("p"))?;
        fs::write(disk.join("p/stack.yaml"), &file.yaml)?;
        fs::write(disk.join("p/.env"), "MINE=1\n")?;
        Ok(Self {
            directory,
            has_disk,
            services: file.services,
            graces: Cell::new(file.graces),
            is_edited: Cell::new(false),
        })
    }

    /// Changes the file, in one step. Whether there was room for that.
    pub(crate) fn edit(&self, random: &mut Random) -> std::io::Result<bool> {
        let file = File::new(random)?;
        let (new, place) = (self.path().join("new"), self.path().join("stack.yaml"));
        let is_written = fs::write(&new, file.yaml).and_then(|()| fs::rename(&new, place));
        if is_written.is_ok() {
            self.is_edited.set(true);
            self.graces.set(self.graces.get() + file.graces);
        } else {
            drop(fs::remove_file(new));
        }
        Ok(is_written.is_ok())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.disk().join("p")
    }

    fn disk(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    /// Fills its disk to the last byte, or makes room on it again. Whether it has one.
    pub(crate) fn fill(&self, is_full: bool) -> bool {
        if !self.has_disk {
            return false;
        }
        let ballast = self.disk().join("ballast");
        if is_full {
            if let Ok(mut file) = fs::File::create(ballast) {
                while file.write_all(&[0; 4096]).is_ok() {}
            }
        } else {
            // Nobody may have filled it.
            drop(fs::remove_file(ballast));
        }
        true
    }

    /// Calls `stack`, without waiting.
    pub(crate) fn stack(&self, arguments: &[&str]) -> std::io::Result<Child> {
        let output = fs::File::options()
            .append(true)
            .create(true)
            .open(self.directory.path().join("said"))?;
        let mut command = Command::new(beside("stack")?);
        command
            .args(arguments)
            .current_dir(self.path())
            .env(MARK, self.path())
            .env("XDG_STATE_HOME", self.disk().join("state"))
            .stdin(Stdio::null())
            .stdout(output.file().try_clone()?)
            .stderr(output.file().try_clone()?);
        command.spawn()
    }

    /// What all clients have said.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.directory.path().join("said")).unwrap_or_default()
    }

    /// A number that the lock file gives, while there is one.
    pub(crate) fn holder(&self, key: &str) -> Option<i32> {
        self.lock()?[key].as_i64()?.try_into().ok()
    }

    fn lock(&self) -> Option<serde_json::Value> {
        let text = fs::read_to_string(self.path().join(".stack/p/lock")).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// The control group of its processes, if there is one.
    pub(crate) fn group(&self) -> Option<PathBuf> {
        let instance = self.lock()?["instance"].as_str()?.to_owned();
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
        let places = roots.map(|root| Path::new(root).join(own)).into_iter();
        let groups = places.flat_map(|place| fs::read_dir(place).into_iter().flatten().flatten());
        let mut groups = groups.map(|group| group.path());
        let prefix = format!("stack-{instance}-");
        groups.find(|group| {
            let name = group.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&prefix)
        })
    }

    /// What is wrong with `.env`, should it not be whole.
    pub(crate) fn fault_in_dotenv(&self) -> Option<String> {
        let text = match fs::read_to_string(self.path().join(".env")) {
            Ok(text) => text,
            Err(error) => return Some(error.to_string()),
        };
        let count = |part| text.matches(part).count();
        let fences = (count("# >>> stack >>>"), count("# <<< stack <<<"));
        let is_whole = text.starts_with("MINE=1\n") && matches!(fences, (0, 0) | (1, 1));
        (!is_whole).then(|| format!(".env is not whole: {text}"))
    }

    /// Keeps the directory, for somebody who wants to look; of a disk of its own, which ends with this
    /// program, a copy.
    pub(crate) fn keep(mut self) -> PathBuf {
        self.directory.disable_cleanup(true);
        if self.has_disk {
            let mut copy = Command::new("cp");
            copy.arg("-a").arg(self.path()).arg(self.directory.path());
            drop(copy.status());
        }
        self.directory.path().to_path_buf()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if self.has_disk {
            // What is mounted in a namespace of our own is in nobody's way.
            let _ = umount2(&self.disk(), MntFlags::MNT_DETACH);
        }
    }
}

/// A program that was built with this one.
fn beside(name: &str) -> std::io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let built = own.parent().and_then(Path::parent);
    Ok(built.unwrap_or(Path::new(".")).join(name))
}
