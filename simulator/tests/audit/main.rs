//! The auditor finds what is really there: each invariant is broken on purpose in a copy of healthy
//! databases, and is reported by its name, alone, with its witness.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod broken;
mod copy;
mod healthy;
mod told_apart;
