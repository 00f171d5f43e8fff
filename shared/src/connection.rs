//! How the NATS client connects, and what becomes of its events.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_nats::ConnectOptions;
use tokio::sync::{Notify, watch};

use crate::{broker::BrokerState, settings::NatsSettings};

/// The longest pause between two attempts to connect.
const RECONNECT_DELAY_MAX: Duration = Duration::from_millis(250);
/// The same complaint of the client is logged again only after this time.
const REPEAT_LOG_AFTER: Duration = Duration::from_secs(30);

/// Options for this service's user.
pub(crate) fn connect_options(settings: &NatsSettings, service: &str) -> ConnectOptions {
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

/// Counts connections, wakes [`Broker::keep`](crate::broker::Broker::keep) on a new one, ends the session with the connection, and logs the rest.
///
/// Without the end at once, a consumer could open a pull on the new connection under the old session, and drop it
/// together with its messages when the new session shows, and would have to take them back at once.
pub(crate) fn event_callback(
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

/// Takes note that there is no broker.
pub(crate) fn set_unreachable(state: &watch::Sender<BrokerState>) {
    state.send_if_modified(|state| {
        std::mem::replace(state, BrokerState::Unreachable) != BrokerState::Unreachable
    });
}

/// Keeps a broker that is away for hours from filling the log: attempts to connect come four times a second.
#[derive(Default)]
pub(crate) struct Complaints {
    latest: Mutex<Option<(String, Instant)>>,
}

impl Complaints {
    pub fn log(&self, complaint: &str) {
        let mut latest = self.latest.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let repeated =
            latest.as_ref().is_some_and(|(text, at)| text == complaint && at.elapsed() < REPEAT_LOG_AFTER);
        if !repeated {
            tracing::warn!(complaint, "broker");
            *latest = Some((complaint.to_owned(), Instant::now()));
        }
    }
}
