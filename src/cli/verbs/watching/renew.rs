//! A restart that brings what the stack itself has read and gives to services: a config, a secret, an
//! env file.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::Watching;
use crate::api::client::{BlockingClient, ClientError};
use crate::cli::exit::Stop;
use crate::cli::verbs::running_plan::at_home;
use crate::run::control::CommandReply;
use crate::run::proposal::{Asking, Extent, Recreate};
use crate::support::name::ServiceName;

impl Watching<'_> {
    /// Restarts services as what the files say that they are.
    pub(super) async fn renew(&self, services: Vec<ServiceName>) -> Result<CommandReply, Stop> {
        let (invocation, instance) = self.place;
        let stack = self.client.stack().await?;
        let draft = at_home(invocation, instance, invocation.draft_of(&stack)?.draft);
        let asking = Asking {
            sources: Arc::clone(draft.sources()),
            extent: Extent {
                services,
                no_deps: true,
                recreate: Recreate::Named,
                ..Extent::default()
            },
            strict_ports: false,
            fresh_ports: false,
            dry_run: false,
        };
        let client = BlockingClient::new(self.client.path());
        let renewed = spawn_blocking(move || {
            client.apply(|| -> Result<u64, ClientError> { Ok(client.propose(&asking)?.id) })
        });
        Ok(renewed.await.unwrap_or(Err(ClientError::Closed))?)
    }
}
