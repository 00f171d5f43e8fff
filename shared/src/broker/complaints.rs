//! What becomes of the NATS client's events.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Notify, watch};

use crate::broker::state::{BrokerState, set_unreachable};

/// The same complaint of the client is logged again only after this time.
const REPEAT_LOG_AFTER: Duration = Duration::from_secs(30);

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
