//! The connection to NATS, watched.
//!
//! A service starts, stays up and recovers without a broker: [`Broker::keep`] observes it once a second by a real
//! round trip (a client that is cut off still calls itself connected), has what is missing there provisioned by
//! [`jetstream`](crate::jetstream), and publishes the result as a [`BrokerState`].

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use async_nats::{
    Client, ConnectOptions,
    jetstream::{Context, consumer::PullConsumer, context::ContextBuilder, stream},
};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    jetstream::{consumer_settings, provision_stream, require_version},
    settings::NatsSettings,
    subjects::STREAM,
};

/// How often the broker is observed.
const OBSERVE_EVERY: Duration = Duration::from_secs(1);
/// A broker that does not answer within this time counts as unreachable.
const ROUND_TRIP_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest pause between two attempts to connect.
const RECONNECT_DELAY_MAX: Duration = Duration::from_millis(250);
/// The same complaint of the client is logged again only after this time.
const REPEAT_LOG_AFTER: Duration = Duration::from_secs(30);
/// What the latest observation found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum BrokerState {
    /// No round trip succeeded; the client goes on trying to connect.
    #[default]
    Unreachable,
    /// The stream is there.
    Connected(Session),
}

/// One unbroken connection to one incarnation of the stream. When it changes, whatever was in flight is in doubt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Counts the connections of this process.
    pub connection: u64,
    /// The stream's creation time; another one means that the stream was wiped.
    pub stream_created: String,
}

/// A handle on the broker, cheap to clone.
#[derive(Clone)]
pub struct Broker {
    client: Client,
    context: Context,
    max_bytes: i64,
    connections: Arc<AtomicU64>,
    connected: Arc<Notify>,
    complaints: Arc<Complaints>,
    state: watch::Sender<BrokerState>,
}

impl Broker {
    /// Prepares the connection and returns at once, whether or not a broker answers.
    ///
    /// Fails only on settings that can never work, such as an address that is none.
    pub async fn connect(settings: &NatsSettings, service: &str) -> Result<Self> {
        // Not left to clap, whose error would repeat the address and the password in it.
        ensure!(
            !settings.nats_url.contains('@'),
            "NATS_URL must not hold credentials; set NATS_USER and NATS_PASSWORD"
        );
        let connections = Arc::new(AtomicU64::new(0));
        let connected = Arc::new(Notify::new());
        let complaints = Arc::new(Complaints::default());
        let state = watch::Sender::new(BrokerState::Unreachable);
        let on_event =
            event_callback(connections.clone(), connected.clone(), complaints.clone(), state.clone());
        let client = connect_options(settings, service)
            .event_callback(move |event| {
                on_event(event);
                async {}
            })
            .connect(&settings.nats_url)
            .await
            .with_context(|| format!("NATS_URL {}", settings.nats_url))?;
        let context = ContextBuilder::new().timeout(Duration::from_secs(5)).build(client.clone());
        Ok(Self {
            client,
            context,
            max_bytes: settings.nats_max_bytes,
            connections,
            connected,
            complaints,
            state,
        })
    }

    /// The latest observation, and a way to wait for the next change.
    pub fn state(&self) -> watch::Receiver<BrokerState> {
        self.state.subscribe()
    }

    /// Whether the latest observation found a usable broker.
    pub fn is_connected(&self) -> bool {
        *self.state.borrow() != BrokerState::Unreachable
    }

    /// The JetStream context, for the relay and the consumer.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Waits until everything sent so far was handed to the broker. Called after the last ack of a drain.
    pub async fn flush(&self) {
        if self.is_connected() {
            let _ = timeout(ROUND_TRIP_TIMEOUT, self.client.flush()).await;
        }
    }

    /// Observes the broker until `shutdown`.
    pub async fn keep(&self, shutdown: CancellationToken) {
        loop {
            // Before the first connection there is nothing to ask, and the client itself says why there is none.
            if self.connections.load(Ordering::Acquire) > 0
                && let Err(error) = self.observe_once().await
            {
                self.complaints.log(&format!("not usable: {error:#}"));
                set_unreachable(&self.state);
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.connected.notified() => {}
                () = tokio::time::sleep(OBSERVE_EVERY) => {}
            }
        }
    }

    /// One observation: a round trip that also creates or updates the stream. The state changes accordingly.
    pub async fn observe_once(&self) -> Result<stream::Info> {
        let connection = self.connections.load(Ordering::Acquire);
        ensure!(connection > 0, "no connection to the broker yet");
        require_version(&self.client.server_info().version)?;
        let info = timeout(ROUND_TRIP_TIMEOUT, provision_stream(&self.context, self.max_bytes))
            .await
            .context("the broker did not answer in time")??;
        let session = Session { connection, stream_created: info.created.to_string() };
        let found = BrokerState::Connected(session);
        let changed = self.state.send_if_modified(|state| {
            let changed = *state != found;
            if changed {
                *state = found;
            }
            changed
        });
        if changed {
            tracing::info!(
                server = self.client.server_info().version,
                stream_created = %info.created,
                last_sequence = info.state.last_sequence,
                "broker connected"
            );
        }
        Ok(info)
    }

    /// Creates the durable pull consumer `name` on `subject` if it is missing, or updates it if it differs.
    pub async fn open_consumer(&self, name: &str, subject: &str) -> Result<PullConsumer> {
        let opening = self.context.create_consumer_on_stream(consumer_settings(name, subject), STREAM);
        timeout(ROUND_TRIP_TIMEOUT, opening)
            .await
            .context("the broker did not answer in time")?
            .with_context(|| format!("open the consumer {name}"))
    }
}

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

/// Counts connections, wakes [`Broker::keep`] on a new one, ends the session with the connection, and logs the rest.
///
/// Without the end at once, a consumer could open a pull on the new connection under the old session, and drop it
/// together with its messages when the new session shows; they would wait for
/// [`ACK_WAIT`](crate::jetstream::ACK_WAIT).
fn event_callback(
    connections: Arc<AtomicU64>,
    connected: Arc<Notify>,
    complaints: Arc<Complaints>,
    state: watch::Sender<BrokerState>,
) -> impl Fn(async_nats::Event) {
    move |event| match event {
        async_nats::Event::Connected => {
            connections.fetch_add(1, Ordering::AcqRel);
            connected.notify_one();
        }
        async_nats::Event::Disconnected => {
            complaints.log("disconnected");
            set_unreachable(&state);
        }
        other => complaints.log(&other.to_string()),
    }
}

fn set_unreachable(state: &watch::Sender<BrokerState>) {
    state.send_if_modified(|state| {
        std::mem::replace(state, BrokerState::Unreachable) != BrokerState::Unreachable
    });
}

/// Keeps a broker that is away for hours from filling the log: attempts to connect come four times a second.
#[derive(Default)]
struct Complaints {
    latest: Mutex<Option<(String, Instant)>>,
}

impl Complaints {
    fn log(&self, complaint: &str) {
        let mut latest = self.latest.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let repeated =
            latest.as_ref().is_some_and(|(text, at)| text == complaint && at.elapsed() < REPEAT_LOG_AFTER);
        if !repeated {
            tracing::warn!(complaint, "broker");
            *latest = Some((complaint.to_owned(), Instant::now()));
        }
    }
}
