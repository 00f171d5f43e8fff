//! How much the broker has lost of what it had acknowledged.

use std::fmt;

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
