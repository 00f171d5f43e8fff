//! The watch over the connection: observes the broker once a second, and replaces a client that has died.
//!
//! Observed by a real round trip, since a client that is cut off still calls itself connected.

use std::time::Duration;

use anyhow::{Context as _, Error, Result, ensure};
use tokio_util::sync::CancellationToken;

use crate::broker::connection::{Broker, ROUND_TRIP_TIMEOUT};
use crate::broker::link::{BrokerState, Session};
use crate::broker::stream::StreamState;
use crate::clock::{Elapsed, other_task, sleep, timeout};

/// How often the broker is observed.
pub(super) const OBSERVE_EVERY: Duration = Duration::from_secs(1);

impl Broker {
    /// Watches until `shutdown`.
    pub async fn watch(&self, shutdown: CancellationToken) {
        let mut death = self.stream.death();
        while !shutdown.is_cancelled() {
            // Before the first connection there is nothing to ask; the client itself says why.
            if self.link.connection() > 0
                && let Err(error) = self.observe_once().await
            {
                self.note_failure(&error).await;
            }
            self.record_generation().await;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => {}
                () = self.link.connected.notified() => {}
                () = &mut death => {
                    self.replace_client().await;
                    death = self.stream.death();
                }
                () = sleep(OBSERVE_EVERY) => {}
            }
        }
        self.record_generation().await;
    }

    /// Looks once: stream and consumer are there afterwards as they must be, and the state is set.
    pub async fn observe_once(&self) -> Result<()> {
        let _one_at_a_time = other_task(self.observing.lock()).await;
        let connection = self.link.connection();
        ensure!(connection > 0, "no connection to the broker yet");
        let inspected = timeout(ROUND_TRIP_TIMEOUT, self.inspect()).await;
        let (stream, foreign) = inspected.context("the broker did not answer in time")??;
        let found = match foreign {
            None => BrokerState::Connected(Session { connection, stream_created: stream.created.clone() }),
            Some(why) => BrokerState::Foreign(why),
        };
        if let Some(former) = self.link.set(found.clone()) {
            self.log_change(&former, &found, &stream);
        }
        Ok(())
    }

    async fn inspect(&self) -> Result<(StreamState, Option<String>)> {
        let stream = self.stream.provision().await?;
        Ok((stream, self.ownership.observe(self.stream()).await?))
    }

    fn log_change(&self, former: &BrokerState, now: &BrokerState, stream: &StreamState) {
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
                server = self.stream.server_version(),
                stream_created = stream.created,
                last_sequence = stream.last_sequence,
                "broker connected"
            ),
            _ => {}
        }
    }

    /// A broker whose API is late, since somebody keeps it busy with questions, takes events and hands them
    /// out all the same: then the session stays, and only what is asked of the API waits.
    async fn note_failure(&self, error: &Error) {
        let is_late = error.is::<Elapsed>() && self.is_connected() && self.stream.answers().await;
        if is_late {
            return self.link.complaints.log("its API is late; events flow on");
        }
        self.link.complaints.log(&format!("not usable: {error:#}"));
        self.link.set(BrokerState::Unreachable);
    }

    /// Connects with another client. One whose task has panicked, as at some malformed headers, stays dead.
    async fn replace_client(&self) {
        self.link.complaints.log("the client has died; another one connects");
        self.link.set(BrokerState::Unreachable);
        if let Err(error) = self.stream.replace_client().await {
            self.link.complaints.log(&format!("no other client: {error:#}"));
        }
    }

    /// Records at the consumer how far the database has come. If that fails, the next time.
    async fn record_generation(&self) {
        let ownership = &self.ownership;
        if !self.is_connected() || !ownership.database.is_writable() {
            return;
        }
        let recorded = timeout(ROUND_TRIP_TIMEOUT, ownership.record_generation(self.stream())).await;
        let failure = match recorded {
            Ok(Ok(())) => return,
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => "no answer in time".to_owned(),
        };
        tracing::debug!(failure, "the database's generation is not noted at the consumer");
    }
}
