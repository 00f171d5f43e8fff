//! The consumer: pulls messages, lets an event handler decide them in one transaction, then acknowledges.
//!
//! Each message ends in one of three ways. *Done*: its effect is committed, then it is acked. *Never*: a row
//! in `dead_letters` is committed, then it is terminated. *Later*: nothing was stored, and it is delivered
//! again. One bad message never blocks or fails the rest of its batch ([`handling`]), also where it never
//! arrives ([`unreadable`]). Only [`acknowledge`] acknowledges.

mod acknowledge;
mod handling;
mod pull;
mod reset;
mod run;
mod unreadable;

pub use run::{Consumed, Consumer};
