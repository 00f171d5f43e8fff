//! The routes that every service has for its operators.

pub mod adopt;
pub mod dead_letters;
