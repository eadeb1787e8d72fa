//! The `stack` command.

fn main() -> std::process::ExitCode {
    stack::cli::main(std::env::args_os()).into()
}
