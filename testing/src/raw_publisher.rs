//! A publisher below any client, for tests: what the broker refuses is a panic.

use processes::raw_nats::RawConnection;

use crate::{Broker, expect};

/// One connection with the rights of a user of `nats.conf`.
pub struct RawPublisher(RawConnection);

impl RawPublisher {
    /// Connects, and returns when the broker has taken the user's name and password.
    pub async fn connect(broker: &Broker, user: &str) -> Self {
        Self(expect("connect", RawConnection::open(&broker.url(), user).await))
    }

    /// Publishes one message whose header block is these very bytes.
    pub async fn publish(&mut self, subject: &str, headers: &[u8], body: &str) {
        expect("publish", self.0.send_message(subject, "", headers, body.as_bytes()).await);
    }

    /// Waits until the broker has taken everything sent so far.
    pub async fn until_taken(&mut self) {
        let complaints = expect("reach the broker", self.0.round_trip().await);
        assert!(complaints.is_empty(), "{complaints:?}");
    }
}
