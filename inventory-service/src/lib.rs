//! The inventory service: takes stock for orders or refuses, and answers.
//!
//! [`app`] puts the parts together. [`http`] is its edge, [`families`] tells what it counts. [`stock`] holds
//! the rules and the SQL, and knows neither HTTP nor NATS.

pub mod app;
pub mod families;
pub mod http;
pub mod migrations;
pub mod settings;
pub mod stock;
