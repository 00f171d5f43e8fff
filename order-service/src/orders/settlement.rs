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

/// The orders that a batch names, and the number of the newest status change.
struct Known {
    /// The number and the state of each, by its id. Unknown orders are absent.
    orders: HashMap<String, (i64, State)>,
    newest: i64,
}

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
    let Known { mut orders, newest } = known(tx, answers).await?;
    let mut settled = Vec::with_capacity(answers.len());
    let mut outcomes = Vec::with_capacity(answers.len());
    for Received { event: answer, time_ms: decided_at, .. } in answers {
        let result @ (status, reason) = (answer.status, answer.reason);
        outcomes.push(match orders.get_mut(&answer.order_id) {
            None => Outcome::Never(unknown(answer)),
            Some((number, state @ (Status::Created, _))) => {
                *state = result;
                settled.push((*number, status, reason, *decided_at));
                tracing::debug!(order_id = answer.order_id, status = status.as_str(), "order settled");
                Outcome::Done(status.as_str())
            }
            Some((_, state)) if *state == result => Outcome::Done("repeated"),
            Some((_, state)) => Outcome::Never(conflict(answer, *state)),
        });
    }
    write(tx, &settled, newest, now_ms).await?;
    Ok(outcomes)
}

async fn known(tx: &mut Tx, answers: &[Received<OrderProcessed>]) -> sqlx::Result<Known> {
    let ids: Vec<&str> = answers.iter().map(|answer| answer.event.order_id.as_str()).collect();
    // One row: each that comes alone would wake whoever waits for it.
    let (newest, orders): (i64, String) = sqlx::query_as(
        "SELECT (SELECT number FROM newest_status_change),
                json_group_array(json_array(id, number, json_array(status, reason))) FROM orders
         WHERE id IN (SELECT value FROM json_each($1))",
    )
    .bind(json(&ids))
    .fetch_one(&mut **tx)
    .await?;
    let orders: Vec<(String, i64, State)> = from_json(&orders)?;
    let orders = orders.into_iter().map(|(id, number, state)| (id, (number, state))).collect();
    Ok(Known { orders, newest })
}

/// An order's number, its new status, its reason, and when it was decided.
type Settled = (i64, Status, Option<Reason>, Option<i64>);

/// Each settlement gets the next number behind the `newest`.
async fn write(tx: &mut Tx, settled: &[Settled], newest: i64, now_ms: i64) -> Result<()> {
    let written = sqlx::query(
        "UPDATE orders
         SET status = j.value ->> 1, reason = j.value ->> 2, decided_at = j.value ->> 3, settled_at = $2,
             settled_number = $3 + 1 + j.key
         FROM json_each($1) AS j
         WHERE orders.number = j.value ->> 0 AND orders.status = 'created'",
    )
    .bind(json(&settled))
    .bind(now_ms)
    .bind(newest)
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
