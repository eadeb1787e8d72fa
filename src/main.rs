//! The `stack` command.

// The unwinder that `std` wants, from the archive of the compiler instead of a shared library that would
// have to be loaded at every start: a tenth of a millisecond, and memory of every process.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "names an archive, and declares nothing")]
#[link(name = "gcc_eh", kind = "static", modifiers = "-bundle")]
unsafe extern "C" {}

fn main() -> std::process::ExitCode {
    stack::cli::main(std::env::args_os()).into()
}
