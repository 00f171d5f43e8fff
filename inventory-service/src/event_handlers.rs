//! What the inventory service does with `order_created`.

use anyhow::{Context, Result};
use shared::{
    clock::now_ms,
    contract::events::OrderCreated,
    delivery::{
        handler::EventHandler,
        message::Delivery,
        outcome::{Never, Outcome},
    },
    storage::Tx,
};

use crate::stock::reservation::{self, Request, Reserved};

/// Decides announced orders.
#[derive(Clone, Copy)]
pub struct DecideOrders;

impl EventHandler for DecideOrders {
    async fn handle(&self, tx: &mut Tx, batch: &[Delivery]) -> Result<Vec<Outcome>> {
        let decoded: Vec<_> = batch.iter().map(decode).collect();
        let requests: Vec<Request> = decoded.iter().filter_map(|result| result.clone().ok()).collect();
        let mut reserved = reservation::reserve(tx, &requests, now_ms()).await?.into_iter();
        let mut outcome = |decoded: Result<Request, String>| match decoded {
            Err(detail) => Ok(Outcome::Never(Never { reason: "invalid_event", detail })),
            Ok(Request { order, .. }) => Ok(match reserved.next().context("an event without a result")? {
                Reserved::Decided(status) => {
                    tracing::debug!(order_id = order.order_id, status = status.as_str(), "order decided");
                    Outcome::Done(status.as_str())
                }
                Reserved::Repeated => Outcome::Done("repeated"),
                Reserved::Refused(never) => Outcome::Never(never),
            }),
        };
        decoded.into_iter().map(&mut outcome).collect()
    }
}

fn decode(delivery: &Delivery) -> Result<Request, String> {
    let order = OrderCreated::decode(&delivery.body)?;
    Ok(Request { order, traceparent: delivery.traceparent() })
}
