//! Events that can never be a message: set aside, so that they do not hold up what is behind them.

use super::message;
use crate::delivery::dead_letter::store;
use crate::delivery::handler::{Never, UNSENDABLE};
use crate::delivery::message::Delivery;
use crate::delivery::outbox::Enqueued;
use crate::storage::Tx;

/// An event that can never be a message, and why.
pub(super) type Unsendable<'a> = (&'a Enqueued, String);

/// Makes dead letters of the events, in the transaction that deletes their batches.
pub(super) async fn set_aside(tx: &mut Tx, service: &str, events: &[Unsendable<'_>]) -> sqlx::Result<()> {
    for (event, why) in events {
        let never = Never { reason: UNSENDABLE, detail: why.clone() };
        store::insert(tx, &letter(event, service), &never).await?;
    }
    Ok(())
}

/// Tells of them, once that is committed.
pub(super) fn report(service: &'static str, events: &[Unsendable<'_>]) {
    for (event, why) in events {
        let Enqueued { order_id, subject, .. } = event;
        tracing::error!(order_id, subject, why, "event set aside: it can never be sent");
        metrics::counter!("dead_letters_total", "consumer" => service, "reason" => UNSENDABLE).increment(1);
    }
}

fn letter(event: &Enqueued, service: &str) -> Delivery {
    Delivery {
        subject: event.subject.clone(),
        body: event.body.clone().into(),
        headers: Some(message::headers(event, service).0),
        attempt: 1,
    }
}
