//! How long to gather before the next batch. A batch costs a commit, and so an fsync, or a round trip to the broker; a
//! larger one costs hardly more than a small one.
//!
//! Whoever comes alone is served at once. Only when others came while the last batch was under way, and still too
//! few for a good batch, is it worth to wait for more: for a time that goes by what a batch takes, so that a slow
//! disk gathers longer than a fast one.

use std::time::Duration;

/// The longest pause: what a busy system adds to the way of an order at each of its stations, at most.
const MAX: Duration = Duration::from_millis(10);

/// The pause before the next batch, when the last one `took` so long, and so many are `waiting` behind it where
/// `enough` would be a good batch.
pub fn pause(took: Duration, waiting: usize, enough: usize) -> Duration {
    if waiting == 0 || waiting >= enough { Duration::ZERO } else { MAX.min(took * 3) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_comes_in_company_too_small_for_a_batch_waits_and_never_long() {
        let took = Duration::from_millis(2);
        assert_eq!(pause(took, 0, 8), Duration::ZERO, "nobody else came");
        assert_eq!(pause(took, 1, 8), Duration::from_millis(6));
        assert_eq!(pause(took, 7, 8), Duration::from_millis(6));
        assert_eq!(pause(took, 8, 8), Duration::ZERO, "they are enough");
        assert_eq!(
            pause(Duration::from_secs(1), 1, 8),
            MAX,
            "a disk that stands still is not waited for longer"
        );
    }
}
