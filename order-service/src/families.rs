//! The order service's own metric families.

use shared::operations::families::{Family, SET_ASIDE, by, gauge, total};

pub const FAMILIES: &[Family] = &[
    gauge("http_requests_waiting", "Requests that stay open until something happens."),
    gauge("orders_pending", "Orders that the inventory has not answered yet."),
    total("orders_created_total", "Orders that were stored."),
    total("orders_swept_total", "Orders whose event was sent once more because no answer came."),
    total(
        "stream_losses_total",
        "Times that the stream was found wiped or truncated, or an adoption asked to send again.",
    ),
    by(
        "dead_letters_total",
        SET_ASIDE,
        &[("consumer", &[]), ("reason", &["unknown_order", "conflicting_result"])],
    ),
];
