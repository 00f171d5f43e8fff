//! One client of the broker: how it begins, and how its end shows.

use std::time::Duration;

use anyhow::{Context as _, Result};
use async_nats::{
    Client,
    jetstream::{Context, context::ContextBuilder},
};
use futures_util::StreamExt;

use crate::{connection::connect_options, settings::NatsSettings};

/// How long one call of JetStream's API, or a PubAck, is waited for.
const API_TIMEOUT: Duration = Duration::from_secs(5);

/// A client and its JetStream context, at once, whether or not a broker answers.
pub(crate) async fn dial(
    settings: &NatsSettings,
    service: &str,
    on_event: impl Fn(async_nats::Event) + Send + Sync + 'static,
) -> Result<Context> {
    let client = connect_options(settings, service)
        .event_callback(move |event| {
            on_event(event);
            async {}
        })
        .connect(&settings.nats_url)
        .await
        .with_context(|| format!("NATS_URL {}", settings.nats_url))?;
    Ok(ContextBuilder::new().timeout(API_TIMEOUT).build(client))
}

/// Ends when the client's own task does, at whatever that is. A subscription lasts as long, also over lost connections.
pub(crate) async fn death_of(client: Client) {
    if let Ok(mut canary) = client.subscribe(client.new_inbox()).await {
        while canary.next().await.is_some() {}
    }
}
