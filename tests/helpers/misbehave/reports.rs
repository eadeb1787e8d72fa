//! What it was given, written down for a test to read.
//!
//! ```text
//! env-dump FILE      its environment, a `KEY=value` a line
//! fd-dump FILE       its open descriptors, a `NUMBER TARGET` a line
//! sig-dump FILE      its blocked and ignored signals, from /proc/self/status (SIGPIPE is ignored by
//!                    the runtime of this program itself)
//! cwd-dump FILE      its working directory
//! ```
//!
//! Each writes the whole file at once (by rename, so that a test never reads a part) and exits 0.

use std::fs::OpenOptions;
use std::io::{Read, Seek, Write};
use std::process::ExitCode;

use fs_err as fs;

use crate::words::Words;
use crate::{Failure, Outcome};

pub(crate) fn run(mode: &str, words: &mut Words) -> Option<Outcome> {
    let text = match mode {
        "env-dump" => Ok(environment()),
        "fd-dump" => descriptors(),
        "sig-dump" => signals(),
        "cwd-dump" => std::env::current_dir()
            .map(|path| path.display().to_string())
            .map_err(Into::into),
        _ => return None,
    };
    Some(text.and_then(|text| {
        let file = words.text("FILE")?;
        let part = format!("{file}.part");
        fs::write(&part, text)?;
        fs::rename(&part, &file)?;
        Ok(ExitCode::SUCCESS)
    }))
}

fn environment() -> String {
    let lines = std::env::vars_os()
        .map(|(key, value)| format!("{}={}", key.to_string_lossy(), value.to_string_lossy()));
    lines.collect::<Vec<_>>().join("\n")
}

fn descriptors() -> Result<String, Failure> {
    let mut lines = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let number: u32 = entry.file_name().to_string_lossy().parse()?;
        let target = fs::read_link(entry.path())?;
        // The descriptor through which this very list is read is none that was inherited.
        let is_this_list = target.starts_with(format!("/proc/{}/fd", std::process::id()));
        if !is_this_list {
            lines.push((number, format!("{number} {}\n", target.display())));
        }
    }
    lines.sort();
    Ok(lines.into_iter().map(|(_, line)| line).collect())
}

fn signals() -> Result<String, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let masks = status
        .lines()
        .filter(|line| line.starts_with("SigBlk") || line.starts_with("SigIgn"));
    Ok(masks.collect::<Vec<_>>().join("\n"))
}

/// Appends one line in one write, so that lines of several processes do not mix.
pub(crate) fn append_line(file: &str, line: &str) -> Result<(), Failure> {
    let mut file = OpenOptions::new().create(true).append(true).open(file)?;
    Ok(file.write_all(format!("{line}\n").as_bytes())?)
}

/// Counts one more in `file` and returns the new count.
pub(crate) fn count_up(file: &str) -> Result<u64, Failure> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(file)?;
    file.lock()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let count = text.trim().parse().unwrap_or(0) + 1;
    file.rewind()?;
    writeln!(file, "{count}")?;
    Ok(count)
}
