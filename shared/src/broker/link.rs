//! The link to the broker: what the client tells of it, and the state that is known.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::clock::Instant;

/// The same complaint is logged again only after this time.
const REPEAT_LOG_AFTER: Duration = Duration::from_secs(30);

/// What the latest observation found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum BrokerState {
    /// No round trip succeeded; the client goes on trying to connect.
    #[default]
    Unreachable,
    /// The stream is there, and the service's consumer belongs to its database.
    Connected(Session),
    /// The consumer does not; the text says why, and what to do. Nothing may be consumed or published.
    Foreign(String),
}

/// One connection to one incarnation of the stream. When it changes, whatever was in flight is in doubt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Counts the connections of this process.
    pub connection: u64,
    /// The stream's creation time; another one means that the stream was wiped.
    pub stream_created: String,
}

/// Outlives the client, which is replaced when it dies.
#[derive(Default)]
pub struct Link {
    connections: AtomicU64,
    /// Told of each new connection.
    pub(super) connected: Notify,
    pub(super) complaints: Complaints,
    pub(super) state: watch::Sender<BrokerState>,
    /// Whether the consumer was another database's when it was last seen.
    pub(super) is_foreign: AtomicBool,
}

impl Link {
    /// There is a new connection.
    pub fn connected(&self) {
        self.connections.fetch_add(1, Ordering::AcqRel);
        self.connected.notify_one();
    }

    /// The connection is lost.
    ///
    /// A session ends at once with its connection. Otherwise a consumer could open a pull on the new
    /// connection under the old session, and drop it together with its messages when the new session shows,
    /// and would have to take them back at once.
    pub fn disconnected(&self) {
        self.complaints.log("disconnected");
        self.set(BrokerState::Unreachable);
    }

    /// The number of the latest connection of this process; 0 before the first.
    pub(super) fn connection(&self) -> u64 {
        self.connections.load(Ordering::Acquire)
    }

    /// Sets the state and wakes who waits for a change; the former one, if it was another.
    pub(super) fn set(&self, found: BrokerState) -> Option<BrokerState> {
        if found != BrokerState::Unreachable {
            self.is_foreign.store(matches!(found, BrokerState::Foreign(_)), Ordering::Release);
        }
        let mut former = None;
        self.state.send_if_modified(|state| {
            if *state != found {
                former = Some(std::mem::replace(state, found));
            }
            former.is_some()
        });
        former
    }
}

/// Keeps a broker that is away for hours from filling the log: attempts to connect come four times a second.
#[derive(Default)]
pub(super) struct Complaints {
    latest: Mutex<Option<(String, Instant)>>,
}

impl Complaints {
    pub fn log(&self, complaint: &str) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let repeated =
            latest.as_ref().is_some_and(|(text, at)| text == complaint && at.elapsed() < REPEAT_LOG_AFTER);
        if !repeated {
            tracing::warn!(complaint, "broker");
            *latest = Some((complaint.to_owned(), Instant::now()));
        }
    }
}
