//! Output of services on the printer.

use std::path::PathBuf;
use std::sync::Arc;

use super::printer::{Delivery, Printer};
use crate::api::client::{Client, FollowError, Followed, LogFollower, Start};

/// Shows what a run of a stack prints, until it ends.
pub(super) async fn show_run(
    printer: Arc<Printer>,
    client: Client,
    log_dir: PathBuf,
    run: u64,
) -> Result<(), FollowError> {
    let mut output = LogFollower::open(&client, log_dir, &[], Start::Run(run)).await?;
    while let Some(piece) = output.next().await? {
        show(&printer, piece).await;
    }
    Ok(())
}

/// Prints a piece of output, waiting for room as long as that has a point.
pub(super) async fn show(printer: &Printer, piece: Followed) {
    match piece {
        Followed::Block(mut block) => {
            while let Delivery::Full(again) = printer.logs(block) {
                block = again;
                printer.room().await;
            }
        }
        Followed::Lost { unit, bytes } => {
            let name = unit.label(unit.replica);
            printer.line_err(format!(
                "warning: {bytes} bytes of {name} were not logged here"
            ));
        }
    }
}
