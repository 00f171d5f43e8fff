//! The link to the broker: what the NATS client tells of it, and the state that is known.

use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::Event;
use tokio::sync::{Notify, watch};

use crate::broker::complaints::Complaints;
use crate::broker::state::BrokerState;

/// Outlives the client, which is replaced when it dies.
#[derive(Default)]
pub(super) struct Link {
    connections: AtomicU64,
    /// Told of each new connection.
    pub connected: Notify,
    pub complaints: Complaints,
    pub state: watch::Sender<BrokerState>,
}

impl Link {
    /// Takes note of an event of the client.
    ///
    /// A session ends at once with its connection. Otherwise a consumer could open a pull on the new
    /// connection under the old session, and drop it together with its messages when the new session shows,
    /// and would have to take them back at once.
    pub fn note(&self, event: &Event) {
        match event {
            Event::Connected => {
                self.connections.fetch_add(1, Ordering::AcqRel);
                self.connected.notify_one();
            }
            Event::Disconnected => {
                self.complaints.log("disconnected");
                self.set(BrokerState::Unreachable);
            }
            other => self.complaints.log(&other.to_string()),
        }
    }

    /// The number of the latest connection of this process; 0 before the first.
    pub fn connection(&self) -> u64 {
        self.connections.load(Ordering::Acquire)
    }

    /// Sets the state and wakes who waits for a change; the former one, if it was another.
    pub fn set(&self, found: BrokerState) -> Option<BrokerState> {
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
}
