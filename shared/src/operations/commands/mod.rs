//! The small tools of a service's binary.

pub mod adopt;
pub mod backup;
pub mod dead_letters;
pub mod healthcheck;
pub mod token;
