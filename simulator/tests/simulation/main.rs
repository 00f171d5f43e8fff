//! The simulation: that it is what it says, and what it has found.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod model;
mod schedules;
