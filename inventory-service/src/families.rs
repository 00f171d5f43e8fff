//! The inventory service's own metric families.

use shared::operations::families::{Family, by};

/// All of them.
pub const FAMILIES: &[Family] = &[
    by(
        "stock_adjustments_total",
        "Changes of stock that somebody asked for, by kind.",
        &[("kind", &["correction", "restock"])],
    ),
    by(
        "dead_letters_total",
        "Messages that were set aside, by reason.",
        &[
            ("consumer", &[]),
            (
                "reason",
                &[
                    "invalid_event",
                    "invalid_headers",
                    "unsendable_event",
                    "conflicting_repeat",
                    "handler_panicked",
                    "too_many_deliveries",
                ],
            ),
        ],
    ),
];
