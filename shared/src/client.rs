//! One client of the broker: how it begins, and how its end shows.

use std::time::Duration;

use anyhow::{Context as _, Result};
use async_nats::{
    Client, RequestErrorKind,
    jetstream::{Context, context::ContextBuilder},
};
use futures_util::StreamExt;
use tokio::time::timeout;

use crate::{connection::connect_options, settings::NatsSettings, subjects::STREAM};

/// How long one call of JetStream's API, or a PubAck, is waited for.
const API_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the server may take to say that nobody listens.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

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

/// Whether the server answers, by a round trip that waits in no queue of the API: it says at once that nobody listens on this
/// subject. `service` is the consumer's name, under which the user may publish.
pub(crate) async fn answers(client: &Client, service: &str) -> bool {
    let subject = format!("$JS.ACK.{STREAM}.{service}.nobody");
    let asked = timeout(ANSWER_TIMEOUT, client.request(subject, "".into())).await;
    matches!(asked, Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders)
}
