//! `-v`: what `stack` itself decides, through `tracing`.

use std::io::{self, Write};
use std::sync::{Arc, Weak};

use tracing_subscriber::fmt::MakeWriter;

use super::printer::Printer;

/// Sends our own log lines to the printer. Without `-v` there are none.
pub(super) fn to_printer(is_verbose: bool, printer: &Arc<Printer>) {
    if is_verbose {
        install(ToPrinter(Arc::downgrade(printer)));
    }
}

/// Sends our own log lines to stderr: the supervisor's log, in the background.
pub(super) fn to_stderr(is_verbose: bool) {
    if is_verbose {
        install(io::stderr);
    }
}

fn install<W>(writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let subscriber = tracing_subscriber::fmt()
        .with_writer(writer)
        .with_ansi(false)
        .with_target(false)
        .with_max_level(tracing::Level::DEBUG)
        .without_time()
        .finish();
    // A second one in a process is a mistake of ours, and no reason to end.
    drop(tracing::subscriber::set_global_default(subscriber));
}

/// Weak, so that the last line does not keep the printer from ending.
struct ToPrinter(Weak<Printer>);

/// One line on its way.
struct Line(Weak<Printer>);

impl<'a> MakeWriter<'a> for ToPrinter {
    type Writer = Line;

    fn make_writer(&'a self) -> Self::Writer {
        Line(self.0.clone())
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(printer) = self.0.upgrade() {
            printer.line_err(String::from_utf8_lossy(bytes).trim_end().to_owned());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
