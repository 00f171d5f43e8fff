//! The connection to NATS, watched.
//!
//! A service starts, stays up and recovers without a broker: [`Broker::keep`] observes it once a second by a real
//! round trip (a client that is cut off still calls itself connected), has what is missing there provisioned by
//! [`jetstream`](crate::broker::jetstream), and publishes the result as a [`BrokerState`].

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Error, Result, ensure};
use async_nats::jetstream::{Context, consumer::PullConsumer, stream};
use tokio::{
    sync::{Notify, watch},
    time::{error::Elapsed, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    broker::{
        client::{answers, death_of, dial},
        complaints::{Complaints, event_callback},
        jetstream::{create_consumer, find_consumer, provision_stream, require_version},
        ownership::{Owner, Ownership},
        state::{BrokerState, Session, set_unreachable},
    },
    settings::NatsSettings,
};

/// How often the broker is observed.
pub(crate) const OBSERVE_EVERY: Duration = Duration::from_secs(1);
/// An answer of the broker's API that takes longer is late.
const ROUND_TRIP_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause before a client that has died is replaced.
const REPLACE_PAUSE: Duration = Duration::from_millis(100);

/// A handle on the broker, cheap to clone.
#[derive(Clone)]
pub struct Broker {
    // With another client once this one has died; see `replace`.
    context: Arc<RwLock<Context>>,
    settings: NatsSettings,
    service: &'static str,
    connections: Arc<AtomicU64>,
    connected: Arc<Notify>,
    complaints: Arc<Complaints>,
    state: watch::Sender<BrokerState>,
    ownership: Arc<OnceLock<Ownership>>,
    // One observation at a time, so that an older one never overwrites the result of a newer one.
    observing: Arc<tokio::sync::Mutex<()>>,
}

impl Broker {
    /// Prepares the connection and returns at once, whether or not a broker answers.
    ///
    /// Fails only on settings that can never work, such as an address that is none.
    pub async fn connect(settings: &NatsSettings, service: &'static str) -> Result<Self> {
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
        let context = dial(settings, service, on_event).await?;
        Ok(Self {
            context: Arc::new(RwLock::new(context)),
            settings: settings.clone(),
            service,
            connections,
            connected,
            complaints,
            state,
            ownership: Arc::default(),
            observing: Arc::default(),
        })
    }

    /// From now on the broker counts as connected only while the consumer belongs to the database. Once, at the start.
    pub fn guard(&self, ownership: Ownership) {
        if self.ownership.set(ownership).is_err() {
            tracing::warn!("a second consumer of this service is not watched");
        }
    }

    /// Which consumer must belong to which database.
    pub fn ownership(&self) -> Option<&Ownership> {
        self.ownership.get()
    }

    /// The latest observation, and a way to wait for the next change.
    pub fn state(&self) -> watch::Receiver<BrokerState> {
        self.state.subscribe()
    }

    /// Whether the latest observation found a broker that this service may use.
    pub fn is_connected(&self) -> bool {
        matches!(*self.state.borrow(), BrokerState::Connected(_))
    }

    /// The JetStream context, for the relay and the consumer. Asked for anew for each step: its client may have died since.
    pub fn context(&self) -> Context {
        self.context.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until everything sent so far was handed to the broker. Called after the last ack of a drain.
    pub async fn flush(&self) {
        if *self.state.borrow() != BrokerState::Unreachable {
            let _ = timeout(ROUND_TRIP_TIMEOUT, self.context().client().flush()).await;
        }
    }

    /// Observes the broker until `shutdown`.
    pub async fn keep(&self, shutdown: CancellationToken) {
        let mut death = Box::pin(death_of(self.context().client()));
        loop {
            // Before the first connection there is nothing to ask, and the client itself says why there is none.
            if self.connections.load(Ordering::Acquire) > 0
                && let Err(error) = self.observe_once().await
            {
                self.note_failure(&error).await;
            }
            self.mark().await;
            tokio::select! {
                () = shutdown.cancelled() => return self.mark().await,
                () = self.connected.notified() => {}
                () = &mut death => {
                    self.replace().await;
                    death = Box::pin(death_of(self.context().client()));
                }
                () = tokio::time::sleep(OBSERVE_EVERY) => {}
            }
        }
    }

    /// A broker whose API is late, since somebody keeps it busy with questions, takes events and hands them out all the same: then the
    /// session stays, and only what is asked of the API waits.
    async fn note_failure(&self, error: &Error) {
        let is_late = error.is::<Elapsed>()
            && self.is_connected()
            && answers(&self.context().client(), self.service).await;
        if is_late {
            return self.complaints.log("its API is late; events flow on");
        }
        self.complaints.log(&format!("not usable: {error:#}"));
        set_unreachable(&self.state);
    }

    /// Connects anew with another client. One whose task has panicked, as it does at some malformed headers, stays dead.
    async fn replace(&self) {
        self.complaints.log("the client has died; another one connects");
        set_unreachable(&self.state);
        // Whatever made it die may do so again at once.
        tokio::time::sleep(REPLACE_PAUSE).await;
        let on_event = event_callback(
            self.connections.clone(),
            self.connected.clone(),
            self.complaints.clone(),
            self.state.clone(),
        );
        match dial(&self.settings, self.service, on_event).await {
            Ok(context) => *self.context.write().unwrap_or_else(PoisonError::into_inner) = context,
            Err(error) => self.complaints.log(&format!("no other client: {error:#}")),
        }
    }

    /// Notes at the consumer how far the database has come, if it has changed. Left for the next time if that fails.
    async fn mark(&self) {
        let Some(ownership) = self.ownership() else { return };
        if !self.is_connected() || !ownership.database.is_writable() {
            return;
        }
        let failure = match timeout(ROUND_TRIP_TIMEOUT, ownership.mark(&self.context())).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => "no answer in time".to_owned(),
        };
        tracing::debug!(failure, "the database's generation is not noted at the consumer");
    }

    /// One observation: a round trip that also creates or updates the stream and the consumer. The state changes
    /// accordingly.
    pub async fn observe_once(&self) -> Result<stream::Info> {
        let _one_at_a_time = self.observing.lock().await;
        let connection = self.connections.load(Ordering::Acquire);
        ensure!(connection > 0, "no connection to the broker yet");
        require_version(&self.server_version())?;
        let (info, owner) =
            timeout(ROUND_TRIP_TIMEOUT, self.look()).await.context("the broker did not answer in time")??;
        let found = match owner {
            Owner::Ours => {
                BrokerState::Connected(Session { connection, stream_created: info.created.to_string() })
            }
            Owner::Foreign(why) => BrokerState::Foreign(why),
        };
        if let Some(former) = self.change(found) {
            self.log_change(&former, &info);
        }
        Ok(info)
    }

    async fn look(&self) -> Result<(stream::Info, Owner)> {
        let context = self.context();
        let info = provision_stream(&context, self.settings.nats_max_bytes).await?;
        let owner = match self.ownership() {
            Some(ownership) => ownership.observe(&context).await?,
            None => Owner::Ours,
        };
        Ok((info, owner))
    }

    /// Sets the state and wakes who waits for a change; the former one, if it was another.
    fn change(&self, found: BrokerState) -> Option<BrokerState> {
        let mut former = None;
        self.state.send_if_modified(|state| {
            let changed = *state != found;
            if changed {
                former = Some(std::mem::replace(state, found));
            }
            changed
        });
        former
    }

    fn log_change(&self, former: &BrokerState, info: &stream::Info) {
        let (now, was_foreign) = (self.state.borrow(), matches!(former, BrokerState::Foreign(_)));
        match &*now {
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

    /// Opens the durable pull consumer `name` on `subject`, and creates it if it is missing.
    pub async fn open_consumer(&self, name: &str, subject: &str) -> Result<PullConsumer> {
        let context = self.context();
        let opening = async {
            match self.ownership() {
                Some(ownership) => ownership.open(&context).await,
                None => match find_consumer(&context, name).await? {
                    Some(consumer) => Ok(consumer),
                    None => create_consumer(&context, name, subject, HashMap::new()).await,
                },
            }
        };
        timeout(ROUND_TRIP_TIMEOUT, opening).await.context("the broker did not answer in time")?
    }
}
