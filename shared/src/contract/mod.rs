//! What both services agree on: two events, the words in them, the names at the broker, and the trace. It
//! knows no HTTP, no SQL and no broker.

pub mod events;
pub mod status;
pub mod subjects;
pub mod trace;
