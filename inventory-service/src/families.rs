//! The inventory service's own metric families.

use shared::operations::families::{Family, SET_ASIDE, by};

pub const FAMILIES: &[Family] = &[
    by(
        "stock_adjustments_total",
        "Changes of stock that somebody asked for, by kind.",
        &[("kind", &["correction", "restock"])],
    ),
    by("dead_letters_total", SET_ASIDE, &[("consumer", &[]), ("reason", &["conflicting_repeat"])]),
];
