//! What may go wrong at the broker, once each.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Strikes the next call that it concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// A message is published, and its PubAck does not come.
    PubAckLost,
    /// A message is not published, and nobody says so.
    PublishLost,
    /// A message is stored twice, as behind the duplicate window.
    PublishedTwice,
    /// The messages of a call are stored in the opposite order.
    Reordered,
    /// An acknowledgement does not arrive.
    AckLost,
    /// A message is delivered, and does not arrive.
    DeliveryLost,
    /// A message arrives twice in one batch.
    DeliveredTwice,
    /// A call of the API is answered by an error.
    CallFails,
    /// A call of the API is answered later than anybody waits for it.
    CallLate,
    /// A consumer is seen as it was the last time.
    StaleRead,
}

impl Fault {
    /// Nobody is told of these: a PubAck or an answer is waited for, or `ack_wait` passes. The next look is waited for after the
    /// others.
    pub const WAITED_OUT: [Self; 7] = [
        Self::PubAckLost,
        Self::PublishLost,
        Self::AckLost,
        Self::DeliveryLost,
        Self::CallFails,
        Self::CallLate,
        Self::StaleRead,
    ];
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
