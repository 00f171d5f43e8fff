//! What the order service does with `order_processed`.

use anyhow::{Context, Result};
use shared::{
    clock::{now_ms, parse_rfc3339},
    contract::events::OrderProcessed,
    delivery::{
        handler::EventHandler,
        message::Delivery,
        outcome::{Never, Outcome},
    },
    storage::Tx,
};

use crate::orders::settlement::{self, Answer, Settlement};

/// Settles orders with the inventory's answers.
#[derive(Clone, Copy)]
pub struct SettleOrders;

impl EventHandler for SettleOrders {
    async fn handle(&self, tx: &mut Tx, batch: &[Delivery]) -> Result<Vec<Outcome>> {
        let decoded: Vec<_> = batch.iter().map(decode).collect();
        let answers: Vec<Answer> = decoded.iter().filter_map(|result| result.clone().ok()).collect();
        let mut settlements = settlement::settle(tx, &answers, now_ms()).await?.into_iter();
        let mut outcome = |decoded: Result<Answer, String>| match decoded {
            Err(detail) => Ok(Outcome::Never(Never { reason: "invalid_event", detail })),
            Ok(Answer { event: answer, .. }) => {
                Ok(match settlements.next().context("an event without a result")? {
                    Settlement::Settled => {
                        tracing::debug!(
                            order_id = answer.order_id,
                            status = answer.status.as_str(),
                            "order settled"
                        );
                        Outcome::Done(answer.status.as_str())
                    }
                    Settlement::Repeated => Outcome::Done("repeated"),
                    Settlement::Refused(never) => Outcome::Never(never),
                })
            }
        };
        decoded.into_iter().map(&mut outcome).collect()
    }
}

fn decode(delivery: &Delivery) -> Result<Answer, String> {
    let ce_time = delivery.headers.as_ref().and_then(|headers| headers.get("ce-time"));
    let decided_at = ce_time.and_then(|time| parse_rfc3339(time.as_str()));
    Ok(Answer { event: OrderProcessed::decode(&delivery.body)?, decided_at })
}
