//! One look at the broker by a real round trip, since a client that is cut off still calls itself connected.
//!
//! Stream and consumer are there afterwards as they must be, and the result is the [`BrokerState`].

use anyhow::{Context as _, Result, ensure};
use async_nats::jetstream::stream;
use tokio::time::timeout;

use crate::broker::connection::{Broker, ROUND_TRIP_TIMEOUT};
use crate::broker::jetstream::{provision_stream, require_version};
use crate::broker::link::{BrokerState, Session};

impl Broker {
    /// Looks once, creates or updates the stream and the consumer, and sets the state.
    pub async fn observe_once(&self) -> Result<()> {
        let _one_at_a_time = self.observing.lock().await;
        let connection = self.link.connection();
        ensure!(connection > 0, "no connection to the broker yet");
        require_version(&self.server_version())?;
        let inspected = timeout(ROUND_TRIP_TIMEOUT, self.inspect()).await;
        let (info, foreign) = inspected.context("the broker did not answer in time")??;
        let found = match foreign {
            None => BrokerState::Connected(Session { connection, stream_created: info.created.to_string() }),
            Some(why) => BrokerState::Foreign(why),
        };
        if let Some(former) = self.link.set(found.clone()) {
            self.log_change(&former, &found, &info);
        }
        Ok(())
    }

    async fn inspect(&self) -> Result<(stream::Info, Option<String>)> {
        let context = self.context();
        let info = provision_stream(&context, self.settings.nats_max_bytes).await?;
        Ok((info, self.ownership.observe(&context).await?))
    }

    fn log_change(&self, former: &BrokerState, now: &BrokerState, info: &stream::Info) {
        let was_foreign = matches!(former, BrokerState::Foreign(_));
        match now {
            BrokerState::Foreign(why) if !was_foreign => {
                tracing::error!(
                    why,
                    "not the owner of the consumer: nothing is consumed and nothing is published"
                );
            }
            BrokerState::Connected(_) if was_foreign => {
                tracing::info!(
                    "the consumer belongs to this database: it is consumed and events are published"
                );
            }
            BrokerState::Connected(_) => tracing::info!(
                server = self.server_version(),
                stream_created = %info.created,
                last_sequence = info.state.last_sequence,
                "broker connected"
            ),
            _ => {}
        }
    }

    fn server_version(&self) -> String {
        self.context().client().server_info().version
    }
}
