//! A restart that brings what the stack itself has read and gives to a service: a config, a secret, an
//! env file. It is what `stack up SERVICE` does.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::Watching;
use crate::api::client::{BlockingClient, ClientError};
use crate::cli::exit::Stop;
use crate::cli::verbs::running_plan::at_home;
use crate::run::control::{Command, CommandReply};
use crate::run::proposal::{Asking, Extent};
use crate::support::name::ServiceName;

impl Watching<'_> {
    /// Has a service become what the files say. `None` where that is what it is already.
    pub(super) async fn renew(&self, service: ServiceName) -> Result<Option<CommandReply>, Stop> {
        let (invocation, instance) = self.place;
        let stack = self.client.stack().await?;
        let draft = at_home(invocation, instance, invocation.draft_of(&stack)?.draft);
        let asking = Asking {
            sources: Arc::clone(draft.sources()),
            extent: Extent {
                services: vec![service],
                no_deps: true,
                ..Extent::default()
            },
            strict_ports: false,
            fresh_ports: false,
            dry_run: false,
        };
        let client = BlockingClient::new(self.client.path());
        let renewed = spawn_blocking(move || -> Result<_, ClientError> {
            let proposal = client.propose(&asking)?;
            if proposal.changes.is_empty() {
                return Ok(None);
            }
            let proposal = proposal.id;
            client.command(&Command::Apply { proposal }).map(Some)
        });
        match renewed.await {
            Ok(renewed) => Ok(renewed?),
            Err(_) => Ok(None),
        }
    }
}
