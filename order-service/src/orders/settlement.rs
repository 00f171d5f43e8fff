//! Settling a batch of answers: each order goes from `created` to one final status, once.
//!
//! Decided in memory inside the transaction: a batch may hold repeats and conflicts, and one set-based UPDATE
//! would let the second answer win without a word.

use std::collections::HashMap;

use anyhow::{Result, ensure};
use shared::{
    contract::{
        events::OrderProcessed,
        status::{Reason, Status},
    },
    delivery::outcome::Never,
    storage::{Tx, json},
};

/// The inventory's answer, and when it decided.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What the event says.
    pub event: OrderProcessed,
    /// The `ce-time` of the event, in Unix milliseconds; `None` when the message has none that can be read.
    pub decided_at: Option<i64>,
}

/// What became of an answer.
#[derive(Debug, Clone)]
pub enum Settlement {
    /// The order is settled by this answer.
    Settled,
    /// The order already has this very result.
    Repeated,
    /// The answer breaks the protocol; nothing changed.
    Refused(Never),
}

type State = (Status, Option<Reason>);

/// Decides the batch and writes it. One settlement per answer, in the same order.
pub async fn settle(tx: &mut Tx, answers: &[Answer], now_ms: i64) -> Result<Vec<Settlement>> {
    let mut states = states(tx, answers).await?;
    let mut changes = Vec::with_capacity(answers.len());
    let mut settlements = Vec::with_capacity(answers.len());
    for Answer { event: answer, decided_at } in answers {
        let settlement = match states.get_mut(&answer.order_id) {
            None => Settlement::Refused(unknown(answer)),
            Some(state @ (Status::Created, _)) => {
                *state = (answer.status, answer.reason);
                changes.push((&answer.order_id, answer.status, answer.reason, *decided_at));
                Settlement::Settled
            }
            Some(state) if *state == (answer.status, answer.reason) => Settlement::Repeated,
            Some(state) => Settlement::Refused(conflict(answer, *state)),
        };
        settlements.push(settlement);
    }
    write(tx, &changes, now_ms).await?;
    Ok(settlements)
}

/// The state of each order that the batch names. Unknown orders are absent.
async fn states(tx: &mut Tx, answers: &[Answer]) -> sqlx::Result<HashMap<String, State>> {
    let ids: Vec<&str> = answers.iter().map(|answer| answer.event.order_id.as_str()).collect();
    let rows: Vec<(String, Status, Option<Reason>)> =
        sqlx::query_as("SELECT id, status, reason FROM orders WHERE id IN (SELECT value FROM json_each($1))")
            .bind(json(&ids))
            .fetch_all(&mut **tx)
            .await?;
    Ok(rows.into_iter().map(|(id, status, reason)| (id, (status, reason))).collect())
}

/// An order's new status, its reason, and when it was decided.
type Change<'a> = (&'a String, Status, Option<Reason>, Option<i64>);

async fn write(tx: &mut Tx, changes: &[Change<'_>], now_ms: i64) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let written = sqlx::query(
        "UPDATE orders
         SET status = j.value ->> 1, reason = j.value ->> 2, decided_at = j.value ->> 3, settled_at = $2
         FROM json_each($1) AS j
         WHERE orders.id = j.value ->> 0 AND orders.status = 'created'",
    )
    .bind(json(&changes))
    .bind(now_ms)
    .execute(&mut **tx)
    .await?
    .rows_affected();
    ensure!(written == changes.len() as u64, "settled {written} orders instead of {}", changes.len());
    Ok(())
}

fn unknown(answer: &OrderProcessed) -> Never {
    Never { reason: "unknown_order", detail: format!("there is no order {}", answer.order_id) }
}

fn conflict(answer: &OrderProcessed, (status, reason): (Status, Option<Reason>)) -> Never {
    let words = |status: Status, reason: Option<Reason>| match reason {
        Some(reason) => format!("{status} ({reason})"),
        None => status.to_string(),
    };
    let detail = format!(
        "order {} is {}, the answer says {}",
        answer.order_id,
        words(status, reason),
        words(answer.status, answer.reason)
    );
    Never { reason: "conflicting_result", detail }
}
