//! Dead letters: messages that can never succeed, kept with everything needed to understand and redrive them.
//!
//! [`store`] is their table, and [`redrive`] handles one once more or discards it. Who may ask for that is not
//! known here.

pub mod redrive;
pub mod store;
