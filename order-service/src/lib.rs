//! The order service: accepts orders, announces them, and settles them with the inventory's answers.
//!
//! [`http`] and [`event_handlers`] are its two edges, [`sweeper`] heals what the broker lost. [`orders`]
//! holds the rules and the SQL, and knows neither HTTP nor NATS.

pub mod app;
pub mod event_handlers;
pub mod families;
pub mod http;
pub mod orders;
pub mod settings;
pub mod sweeper;
