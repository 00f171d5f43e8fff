//! One client of the broker: how it begins, and how its end shows.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::{Client, ConnectOptions, Event, RequestErrorKind};
use futures_util::StreamExt;
use tokio::time::timeout;

use crate::broker::link::Link;
use crate::contract::subjects::STREAM;
use crate::settings::NatsSettings;

/// The longest pause between two attempts to connect.
const RECONNECT_DELAY_MAX: Duration = Duration::from_millis(250);
/// How long one call of JetStream's API, or a PubAck, is waited for.
const API_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the server may take to say that nobody listens.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// Options for this service's user.
fn connect_options(settings: &NatsSettings, service: &str) -> ConnectOptions {
    let options = ConnectOptions::new()
        .name(service)
        .retry_on_initial_connect()
        .connection_timeout(Duration::from_secs(2))
        .ping_interval(Duration::from_secs(5))
        .reconnect_delay_callback(|attempt| {
            RECONNECT_DELAY_MAX.min(Duration::from_millis(10 * attempt as u64))
        });
    if settings.nats_user.is_empty() {
        return options;
    }
    // Each user may subscribe only to replies under a prefix of its own; see nats.conf.
    options
        .custom_inbox_prefix(format!("_INBOX_{}", settings.nats_user))
        .user_and_password(settings.nats_user.clone(), settings.nats_password.expose().to_owned())
}

/// A client that tells `link` of its events, at once, whether or not a broker answers.
pub(super) async fn dial(settings: &NatsSettings, service: &str, link: Arc<Link>) -> Result<Context> {
    let client = connect_options(settings, service)
        .event_callback(move |event| {
            match event {
                Event::Connected => link.connected(),
                Event::Disconnected => link.disconnected(),
                other => link.complaints.log(&other.to_string()),
            }
            async {}
        })
        .connect(&settings.nats_url)
        .await
        .with_context(|| format!("NATS_URL {}", settings.nats_url))?;
    Ok(ContextBuilder::new().timeout(API_TIMEOUT).build(client))
}

/// Ends when the client's own task does. A subscription lasts as long, also over lost connections.
pub(super) async fn death_of(client: Client) {
    if let Ok(mut canary) = client.subscribe(client.new_inbox()).await {
        while canary.next().await.is_some() {}
    }
}

/// Whether the server answers, by a round trip that waits in no queue of the API: it says at once that nobody
/// listens on this subject. `service` is the consumer's name, under which the user may publish.
pub(super) async fn answers(client: &Client, service: &str) -> bool {
    let subject = format!("$JS.ACK.{STREAM}.{service}.nobody");
    let asked = timeout(ANSWER_TIMEOUT, client.request(subject, "".into())).await;
    matches!(asked, Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders)
}
