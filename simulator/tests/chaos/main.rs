//! Faults are real, the verdict is right, and a run that meets every kind of fault loses no order.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod run;
