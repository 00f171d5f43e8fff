//! What the tests of both services start and look at; each service adds only what is its own.

mod app;
mod bus;
mod caller;
mod database;
mod process;
pub mod raw;

pub use self::app::{App, refusal};
pub use self::bus::{
    Observer, Publisher, body, cancelled, confirmed, delivery, header, inventory_connection,
    inventory_consumer, order, take, until_nothing_is_owed, word,
};
pub use self::caller::{Answer, Caller, SECRET, token};
pub use self::database::{Db, WriteLock, run_sql};
pub use self::process::{Ran, ServiceProcess, VARIABLES, run};
