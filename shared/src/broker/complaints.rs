//! What is wrong at the broker, as lines of the log.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The same complaint is logged again only after this time.
const REPEAT_LOG_AFTER: Duration = Duration::from_secs(30);

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
