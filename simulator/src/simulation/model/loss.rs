//! How much the broker has lost of what it had acknowledged, and how soon that heals.

use std::fmt;
use std::time::Duration;

/// What was lost. Each heals more slowly than the one before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    #[default]
    Nothing,
    /// The order that was acknowledged last, with all that came later or with all there was: the order service sees it.
    Noticed,
    /// The newest messages, without an order that was acknowledged last.
    Newest,
    /// Single messages, which nobody sees.
    Some,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "where nothing was lost",
            Self::Noticed => "after a loss that was noticed",
            Self::Newest => "after the loss of the newest",
            Self::Some => "after the loss of some",
        })
    }
}

impl Loss {
    /// The time until all is quiet again, where orders have been pending for so long.
    pub fn heals_within(self, pending_for: Duration) -> Duration {
        match self {
            Self::Nothing | Self::Noticed => Duration::from_secs(15),
            // The sweeper begins anew with the connection.
            Self::Newest => Duration::from_secs(45),
            // Its back-off doubles: the first time it is 30 s, or none for an order of long ago, then 60 s.
            Self::Some => Duration::from_secs(75) + pending_for,
        }
    }
}
