//! The stream at a NATS server, by its client.
//!
//! No message is asked for in a form whose headers the client would parse, except by a consumer's pull.

mod client;
mod durable;
mod pub_acks;
mod settings;
pub mod stored;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use async_nats::jetstream::{AckKind, Context, stream};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryFutureExt};
use tokio::sync::watch;

use self::durable::JetStreamConsumer;
pub use self::pub_acks::ANSWERED_WITHIN;
use self::pub_acks::PubAcks;
pub use self::settings::{ACK_WAIT, DUPLICATE_WINDOW, MAX_AGE};
use crate::broker::link::Link;
use crate::broker::stored_message::StoredMessage;
use crate::broker::stream::{Answer, Durable, Metadata, Publisher, Stream, StreamState, Token};
use crate::contract::subjects::STREAM;
use crate::settings::NatsSettings;

/// The pause before a client that has died is replaced: whatever made it die may do so again at once.
const REPLACE_PAUSE: Duration = Duration::from_millis(100);

/// A NATS server as one service's user sees it.
pub struct JetStream {
    // With another client once this one has died.
    context: watch::Sender<Context>,
    settings: NatsSettings,
    /// The name of the service's consumer.
    service: &'static str,
    link: Arc<Link>,
}

impl JetStream {
    /// Connects in the background, and tells `link` of each connection.
    pub async fn connect(settings: &NatsSettings, service: &'static str, link: Arc<Link>) -> Result<Self> {
        let context = watch::Sender::new(client::dial(settings, service, link.clone()).await?);
        Ok(Self { context, settings: settings.clone(), service, link })
    }

    /// The context of the client that is in use now.
    pub fn context(&self) -> Context {
        self.context.borrow().clone()
    }
}

impl Stream for JetStream {
    fn server_version(&self) -> String {
        self.context().client().server_info().version
    }

    fn provision(&self) -> Answer<'_, StreamState> {
        async {
            settings::require_version(&self.server_version())?;
            let info = settings::provision_stream(&self.context(), self.settings.nats_max_bytes).await?;
            Ok(state(&info))
        }
        .boxed()
    }

    fn state(&self) -> Answer<'_, StreamState> {
        async {
            let stream = self.context().get_stream(STREAM).await.context("look up the stream ORDERS")?;
            Ok(state(stream.cached_info()))
        }
        .boxed()
    }

    fn message(&self, sequence: u64) -> Answer<'_, Option<StoredMessage>> {
        async move { stored::find(&self.context(), sequence).await }.boxed()
    }

    fn next_of<'a>(&'a self, subject: &'a str, sequence: u64) -> Answer<'a, Option<StoredMessage>> {
        async move { stored::next_of(&self.context(), subject, sequence).await }.boxed()
    }

    fn consumer<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Box<dyn Durable>>> {
        async move {
            let context = self.context();
            let found = settings::find_consumer(&context, name).await?;
            Ok(found.map(|consumer| JetStreamConsumer::boxed(consumer, context)))
        }
        .boxed()
    }

    fn create_consumer<'a>(
        &'a self,
        name: &'a str,
        subject: &'a str,
        metadata: Metadata,
    ) -> Answer<'a, Box<dyn Durable>> {
        async move {
            let context = self.context();
            let created = settings::create_consumer(&context, name, subject, metadata).await?;
            Ok(JetStreamConsumer::boxed(created, context))
        }
        .boxed()
    }

    fn publisher(&self) -> Answer<'_, Box<dyn Publisher>> {
        let opened = PubAcks::open(self.context().client());
        opened.map_ok(|pub_acks| Box::new(pub_acks) as Box<dyn Publisher>).boxed()
    }

    fn acknowledge(&self, ends: Vec<(Token, AckKind)>) -> Answer<'_, ()> {
        async move {
            let client = self.context().client();
            for (token, kind) in ends {
                client.publish(token, kind.into()).await.context("acknowledge a message")?;
            }
            Ok(())
        }
        .boxed()
    }

    fn flush(&self) -> Answer<'_, ()> {
        async { self.context().client().flush().await.context("flush") }.boxed()
    }

    fn answers(&self) -> BoxFuture<'_, bool> {
        async { client::answers(&self.context().client(), self.service).await }.boxed()
    }

    fn death(&self) -> BoxFuture<'static, ()> {
        client::death_of(self.context().client()).boxed()
    }

    fn replace_client(&self) -> Answer<'_, ()> {
        async {
            tokio::time::sleep(REPLACE_PAUSE).await;
            let context = client::dial(&self.settings, self.service, self.link.clone()).await?;
            self.context.send_replace(context);
            Ok(())
        }
        .boxed()
    }
}

fn state(info: &stream::Info) -> StreamState {
    StreamState {
        created: info.created.to_string(),
        first_sequence: info.state.first_sequence,
        last_sequence: info.state.last_sequence,
    }
}
