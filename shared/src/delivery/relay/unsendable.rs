//! Rows that can never be a message: set aside, so that they do not hold up what is behind them.

use anyhow::{Context, Error, Result};

use super::message;
use crate::delivery::dead_letter::store;
use crate::delivery::handler::{Never, UNSENDABLE};
use crate::delivery::message::Delivery;
use crate::delivery::outbox;
use crate::delivery::outbox::Row;
use crate::storage::Database;

/// Moves the rows, each with the reason, from the outbox to the dead letters.
pub(super) async fn set_aside(
    database: &Database,
    service: &'static str,
    rows: &[(&Row, String)],
) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let written = database.write(|mut tx| async move {
        for (row, why) in rows {
            let never = Never { reason: UNSENDABLE, detail: why.clone() };
            store::insert(&mut tx, &letter(row, service), &never).await?;
            outbox::delete(&mut tx, &[row.id]).await?;
        }
        Ok((tx, ()))
    });
    written.await.map_err(Error::from).context("set unsendable events aside")?;
    for (row, why) in rows {
        let order_id = &row.order_id;
        tracing::error!(order_id, subject = row.subject, why, "event set aside: it can never be sent");
        metrics::counter!("dead_letters_total", "consumer" => service, "reason" => UNSENDABLE).increment(1);
    }
    Ok(())
}

fn letter(row: &Row, service: &str) -> Delivery {
    Delivery {
        subject: row.subject.clone(),
        body: row.body.clone().into(),
        headers: Some(message::headers(row, service).0),
        attempt: 1,
    }
}
