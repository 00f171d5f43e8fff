//! What the tests of both services start and look at; each service adds only what is its own.

mod app;
mod bus;
mod caller;
mod database;
mod process;

pub use self::app::{App, refusal};
pub use self::bus::{Observer, Publisher, cancelled, confirmed, header, inventory_connection, take};
pub use self::caller::{Answer, Caller};
pub use self::database::{Db, WriteLock};
pub use self::process::{ServiceProcess, run};
