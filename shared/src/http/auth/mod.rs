//! Who is calling: bearer tokens, verified against one key that pins one algorithm.
//!
//! Sources: RFC 6750 (bearer tokens), RFC 7519 (claims), RFC 8725 (pinning the algorithm).

mod claims;
mod extractors;
mod keys;
mod numeric_date;
mod public_key;
mod signatures;
mod tokens;
mod verified;

pub use claims::{Audience, Claims};
pub use extractors::{ADMIN_SCOPE, Admin, INVENTORY_WRITE_SCOPE, StockKeeper, User};
pub use numeric_date::NumericDate;
pub use tokens::Tokens;
