//! What a test does to its broker.

/// What can be done to a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Stop,
    Kill,
    StartAgain,
    Wipe,
}
