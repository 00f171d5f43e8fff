//! The clock of the simulation: time passes when the scheduler says so, and chance follows from a seed.
//!
//! All of it belongs to one thread, and is there from [`begin`] to [`end`]; elsewhere time is the real one. What waits
//! leaves a mark, by which the scheduler tells a step that waits for time or for the broker from one that waits for
//! SQLite, whose thread goes on by itself.

mod time;
mod wait;

pub use self::time::{
    Elapsed, Instant, Mark, Marks, advance, begin, end, next_timer, set_offset_ms, true_ms,
};
pub(super) use self::time::{now_ms, random};
pub use self::wait::{at_once, only_looks, other_task, park, poll_with, sleep, timeout, timeout_at};
