//! The connection to NATS, as the relay, the consumer and the sweeper use it.
//!
//! A service starts, stays up and recovers without a broker: whoever needs one waits for its [`BrokerState`].

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::{Mutex, watch};

use crate::broker::jetstream::JetStream;
use crate::broker::link::{BrokerState, Link};
use crate::broker::ownership::Ownership;
use crate::broker::stream::{Durable, Stream};
use crate::clock::timeout;
use crate::settings::NatsSettings;

/// An answer of the broker's API that takes longer is late.
pub(super) const ROUND_TRIP_TIMEOUT: Duration = Duration::from_secs(2);

/// A handle on the broker, cheap to clone.
#[derive(Clone)]
pub struct Broker {
    pub(super) stream: Arc<dyn Stream>,
    /// Which consumer must belong to which database.
    pub ownership: Ownership,
    pub(super) link: Arc<Link>,
    // One observation at a time, so that an older one never overwrites the result of a newer one.
    pub(super) observing: Arc<Mutex<()>>,
}

impl Broker {
    /// Prepares the connection and returns at once, whether or not a broker answers. It counts as connected
    /// only while the consumer belongs to the database.
    ///
    /// Fails only on settings that can never work, such as an address that is none. [`NatsSettings::check`]
    /// comes before.
    pub async fn connect(settings: &NatsSettings, ownership: Ownership) -> Result<Self> {
        let link = Arc::<Link>::default();
        let stream = JetStream::connect(settings, ownership.consumer, link.clone()).await?;
        Ok(Self::over(Arc::new(stream), link, ownership))
    }

    /// A broker with this stream, which tells `link` of its connections.
    pub fn over(stream: Arc<dyn Stream>, link: Arc<Link>, ownership: Ownership) -> Self {
        Self { stream, ownership, link, observing: Arc::default() }
    }

    /// The latest observation, and a way to wait for the next change.
    pub fn state(&self) -> watch::Receiver<BrokerState> {
        self.link.state.subscribe()
    }

    /// Whether the consumer belongs to another database, as far as anybody knows. A broker that is away changes
    /// nothing about that.
    pub fn is_foreign(&self) -> bool {
        self.link.is_foreign.load(Ordering::Acquire)
    }

    /// Whether the latest observation found a broker that this service may use.
    pub fn is_connected(&self) -> bool {
        matches!(*self.link.state.borrow(), BrokerState::Connected(_))
    }

    /// The stream, and the consumers at it.
    pub fn stream(&self) -> &dyn Stream {
        &*self.stream
    }

    /// Opens the service's durable consumer, and creates it if it is missing.
    pub async fn open_consumer(&self) -> Result<Box<dyn Durable>> {
        let opened = timeout(ROUND_TRIP_TIMEOUT, self.ownership.open(self.stream())).await;
        opened.context("the broker did not answer in time")?
    }

    /// Waits until everything sent so far was handed to the broker. Called after the last ack of a drain.
    pub async fn flush(&self) {
        if *self.link.state.borrow() != BrokerState::Unreachable {
            let _ = timeout(ROUND_TRIP_TIMEOUT, self.stream.flush()).await;
        }
    }
}
