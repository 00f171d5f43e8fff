//! What is known of the broker at present.

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
