//! The inventory service: takes stock for orders or refuses, and answers.
//!
//! [`http`] and [`event_handlers`] are its two edges. [`stock`] holds the rules and the SQL, and knows
//! neither HTTP nor NATS.

pub mod app;
pub mod event_handlers;
pub mod families;
pub mod http;
pub mod settings;
pub mod stock;
