//! Dead letters: messages that can never succeed, kept with everything needed to understand and redrive them.
//!
//! [`store`] is their table, [`redrive`] handles one once more or discards it, [`routes`] are the admin routes, and
//! [`command`] is the `dead-letters` command, which calls them.

pub mod command;
pub mod redrive;
pub mod routes;
pub mod store;

pub use store::insert;

/// The reason of an event of this service's own that can never be a message; see [`relay`](crate::relay).
pub const UNSENDABLE: &str = "unsendable_event";

/// Why a message can never succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Never {
    /// One stable word, such as `conflicting_result`; it is the metric's label.
    pub reason: &'static str,
    /// The same for a person, with the values that were found.
    pub detail: String,
}
