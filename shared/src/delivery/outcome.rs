//! How a message ends: done, or never.

/// How an event handler decided one message.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Its effect is in the transaction, or it was a repeat and needs none. The word is the metric's label.
    Done(&'static str),
    /// It can never succeed; it becomes a dead letter in the same transaction.
    Never(Never),
}

/// The reason of an event of this service's own that can never be a message.
pub const UNSENDABLE: &str = "unsendable_event";

/// Why a message can never succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Never {
    /// One stable word, such as `conflicting_result`; it is the metric's label.
    pub reason: &'static str,
    /// The same for a person, with the values that were found.
    pub detail: String,
}
