//! Settling a batch of answers: each order goes from `created` to one final status, once.
//!
//! Decided in memory inside the transaction: a batch may hold repeats and conflicts, and one set-based UPDATE
//! would let the second answer win without a word.

use std::collections::HashMap;

use anyhow::{Result, ensure};
use shared::clock::now_ms;
use shared::contract::events::{OrderProcessed, Received};
use shared::contract::status::{Reason, Status};
use shared::delivery::handler::{EventHandler, Never, Outcome};
use shared::storage::{Tx, from_json, json};

type State = (Status, Option<Reason>);

/// Settles orders with the inventory's answers.
#[derive(Clone, Copy)]
pub struct SettleOrders;

impl EventHandler for SettleOrders {
    type Event = OrderProcessed;

    async fn handle(&self, tx: &mut Tx, answers: &[Received<OrderProcessed>]) -> Result<Vec<Outcome>> {
        settle(tx, answers, now_ms()).await
    }
}

/// Decides the batch and writes it. One outcome per answer, in the same order.
pub async fn settle(tx: &mut Tx, answers: &[Received<OrderProcessed>], now_ms: i64) -> Result<Vec<Outcome>> {
    let mut states = states(tx, answers).await?;
    let mut settled = Vec::with_capacity(answers.len());
    let mut outcomes = Vec::with_capacity(answers.len());
    for Received { event: answer, time_ms: decided_at, .. } in answers {
        let result @ (status, reason) = (answer.status, answer.reason);
        outcomes.push(match states.get_mut(&answer.order_id) {
            None => Outcome::Never(unknown(answer)),
            Some(state @ (Status::Created, _)) => {
                *state = result;
                settled.push((&answer.order_id, status, reason, *decided_at));
                Outcome::Done(status.as_str())
            }
            Some(state) if *state == result => Outcome::Done("repeated"),
            Some(state) => Outcome::Never(conflict(answer, *state)),
        });
    }
    write(tx, &settled, now_ms).await?;
    for (order_id, status, ..) in settled {
        tracing::debug!(order_id, status = status.as_str(), "order settled");
    }
    Ok(outcomes)
}

/// The state of each order that the batch names. Unknown orders are absent.
async fn states(tx: &mut Tx, answers: &[Received<OrderProcessed>]) -> sqlx::Result<HashMap<String, State>> {
    let ids: Vec<&str> = answers.iter().map(|answer| answer.event.order_id.as_str()).collect();
    // One row: each that comes alone wakes whoever waits for it.
    let rows: String = sqlx::query_scalar(
        "SELECT json_group_array(json_array(id, status, reason)) FROM orders
         WHERE id IN (SELECT value FROM json_each($1))",
    )
    .bind(json(&ids))
    .fetch_one(&mut **tx)
    .await?;
    let rows: Vec<(String, Status, Option<Reason>)> = from_json(&rows)?;
    Ok(rows.into_iter().map(|(id, status, reason)| (id, (status, reason))).collect())
}

/// An order's new status, its reason, and when it was decided.
type Settled<'a> = (&'a String, Status, Option<Reason>, Option<i64>);

async fn write(tx: &mut Tx, settled: &[Settled<'_>], now_ms: i64) -> Result<()> {
    let written = sqlx::query(
        "UPDATE orders
         SET status = j.value ->> 1, reason = j.value ->> 2, decided_at = j.value ->> 3, settled_at = $2
         FROM json_each($1) AS j
         WHERE orders.id = j.value ->> 0 AND orders.status = 'created'",
    )
    .bind(json(&settled))
    .bind(now_ms)
    .execute(&mut **tx)
    .await?
    .rows_affected();
    ensure!(written == settled.len() as u64, "settled {written} orders instead of {}", settled.len());
    Ok(())
}

fn unknown(answer: &OrderProcessed) -> Never {
    Never { reason: "unknown_order", detail: format!("there is no order {}", answer.order_id) }
}

fn conflict(answer: &OrderProcessed, state: State) -> Never {
    let words = |(status, reason): State| match reason {
        Some(reason) => format!("{status} ({reason})"),
        None => status.to_string(),
    };
    let (is, says) = (words(state), words((answer.status, answer.reason)));
    let detail = format!("order {} is {is}, the answer says {says}", answer.order_id);
    Never { reason: "conflicting_result", detail }
}
