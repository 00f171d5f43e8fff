//! The invariants I1–I10, each a pure function from a snapshot to what violates it.
//!
//! What one of them says is left to it: a user that differs is I8 only, a pending order I4 only.

mod placing;
mod settling;
mod stock;

pub use self::placing::{accepted_is_stored, one_key_one_order, own_orders_only, placed_by_a_client};
pub use self::settling::{outboxes_empty, services_agree, settled_in_the_end, settled_once};
pub use self::stock::{stock_equation, stock_not_negative};
