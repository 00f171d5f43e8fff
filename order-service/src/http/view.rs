//! Orders as they are shown: in lists, and one alone with its history.

use serde::Serialize;
use shared::clock::rfc3339;
use shared::contract::status::{Reason, Status};
use shared::contract::trace;
use utoipa::ToSchema;

use crate::orders::Order;

/// An order without its history.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Order)]
pub struct OrderView {
    /// Where a page ends; not shown.
    #[serde(skip)]
    pub number: i64,
    id: String,
    product_id: String,
    quantity: i64,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    reason: Option<Reason>,
    user_id: String,
    #[schema(format = DateTime)]
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, nullable = false)]
    settled_at: Option<String>,
}

/// An order with its trace and its history.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderDetail {
    #[serde(flatten)]
    order: OrderView,
    /// The trace id of the POST (W3C Trace Context), 32 hexadecimal digits; it is on both events, too.
    trace_id: String,
    /// What happened, in the order of the protocol.
    history: Vec<Happening>,
}

/// One event in an order's history.
#[derive(Debug, Serialize, ToSchema)]
pub struct Happening {
    event: Milestone,
    #[schema(format = DateTime)]
    at: String,
}

/// What can happen to an order, each once.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Milestone {
    /// It was accepted and stored.
    Created,
    /// The inventory decided it, by the inventory's clock. Absent when the answer did not say when.
    Decided,
    /// The answer was stored.
    Settled,
}

impl From<Order> for OrderView {
    fn from(order: Order) -> Self {
        Self {
            number: order.number,
            id: order.id,
            product_id: order.product_id,
            quantity: order.quantity,
            status: order.status,
            reason: order.reason,
            user_id: order.user_id,
            created_at: rfc3339(order.created_at),
            settled_at: order.settled_at.map(rfc3339),
        }
    }
}

impl From<Order> for OrderDetail {
    fn from(order: Order) -> Self {
        let times = [
            (Milestone::Created, Some(order.created_at)),
            (Milestone::Decided, order.decided_at),
            (Milestone::Settled, order.settled_at),
        ];
        let happening = |(event, at): (_, Option<i64>)| Some(Happening { event, at: rfc3339(at?) });
        Self {
            trace_id: trace::id(&order.traceparent).to_owned(),
            history: times.into_iter().filter_map(happening).collect(),
            order: order.into(),
        }
    }
}
