//! The order service: accepts orders, announces them, and settles them with the inventory's answers.
//!
//! [`app`] puts the parts together. [`http`] is its edge, [`families`] tells what it counts, [`sweeper`]
//! heals what the broker lost. [`orders`] holds the rules and the SQL, and knows neither HTTP nor NATS.

pub mod app;
pub mod families;
pub mod http;
pub mod migrations;
pub mod orders;
pub mod settings;
pub mod sweeper;
