//! What both services agree on: two events, the words in them, the names at the broker, and the trace. It
//! speaks to no database and no broker, and serves no requests.

pub mod events;
pub mod status;
pub mod subjects;
pub mod trace;
