//! Events that can never be a message: set aside, so that they do not hold up what is behind them.

use anyhow::{Context, Error, Result};

use super::message;
use crate::delivery::dead_letter::store;
use crate::delivery::handler::{Never, UNSENDABLE};
use crate::delivery::message::Delivery;
use crate::delivery::outbox::Enqueued;
use crate::storage::Database;

/// Makes dead letters of the events, each with the reason. Their batches are deleted afterwards, as what was
/// acknowledged is: a crash in between costs a repeat, which a dead letter counts.
pub(super) async fn set_aside(
    database: &Database,
    service: &'static str,
    events: &[(&Enqueued, String)],
) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let written = database.write(|mut tx| async move {
        for (event, why) in events {
            let never = Never { reason: UNSENDABLE, detail: why.clone() };
            store::insert(&mut tx, &letter(event, service), &never).await?;
        }
        Ok((tx, ()))
    });
    written.await.map_err(Error::from).context("set unsendable events aside")?;
    for (event, why) in events {
        let order_id = &event.order_id;
        tracing::error!(order_id, subject = event.subject, why, "event set aside: it can never be sent");
        metrics::counter!("dead_letters_total", "consumer" => service, "reason" => UNSENDABLE).increment(1);
    }
    Ok(())
}

fn letter(event: &Enqueued, service: &str) -> Delivery {
    Delivery {
        subject: event.subject.clone(),
        body: event.body.clone().into(),
        headers: Some(message::headers(event, service).0),
        attempt: 1,
    }
}
