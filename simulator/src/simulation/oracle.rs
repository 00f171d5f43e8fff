//! What must hold when all is quiet again, beside what the audit finds.
//!
//! The audit knows the databases and the clients. This knows the broker, too: what was lost there and what was not, and so
//! what need not have been done.

use std::collections::BTreeSet;

use anyhow::Result;
use order_service::orders::pending;
use shared::contract::subjects::{ORDER_CREATED, ORDER_PROCESSED};
use shared::delivery::outbox;
use shared::storage::Database;

use super::model::State;
use super::model::fault::Fault;
use super::timeline::Side;

/// What happened in the world and at the broker that the oracle must know of.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// Bodies that nobody can handle, by whom they were for.
    pub poison: BTreeSet<(Side, String)>,
    /// Bodies that were made dead letters by hand.
    pub set_aside: BTreeSet<String>,
    /// Dead letters that were handled after all.
    pub redriven: BTreeSet<(Side, i64)>,
    /// Bodies of dead letters that were discarded, or were to be.
    pub discarded: BTreeSet<(Side, String)>,
    /// Some disk was full.
    pub was_full: bool,
    /// Some clock was wrong.
    pub has_jumped: bool,
    /// Orders were forgotten: an older state of their database has come back.
    pub has_forgotten: bool,
    /// A database has taken over its consumer, or has begun to.
    pub has_adopted: bool,
}

/// Dead letters of one service that should not be there, or should.
pub async fn dead_letters(
    side: Side,
    database: &Database,
    memory: &Memory,
    is_silent: bool,
) -> Result<Vec<String>> {
    let rows: Vec<(i64, Vec<u8>, String)> =
        sqlx::query_as("SELECT id, body, reason FROM dead_letters").fetch_all(database.reader()).await?;
    let (mut found, mut failures) = (BTreeSet::new(), Vec::new());
    for (id, body, reason) in rows {
        let body = String::from_utf8_lossy(&body).into_owned();
        if memory.redriven.contains(&(side, id)) {
            failures.push(format!("a dead letter that was redriven is still there: {body}"));
        }
        let is_ours = !memory.has_forgotten
            && !memory.poison.contains(&(side, body.clone()))
            && !body.contains("by-hand");
        if is_ours && !memory.set_aside.contains(&body) {
            failures.push(format!("a good message is the dead letter {reason} of the {side}: {body}"));
        }
        found.insert(body);
    }
    if !is_silent {
        let of_side = memory.poison.iter().filter(|letter| {
            letter.0 == side && !found.contains(&letter.1) && !memory.discarded.contains(letter)
        });
        failures.extend(
            of_side.map(|(_, body)| format!("what the {side} cannot handle is no dead letter: {body}")),
        );
    }
    Ok(failures)
}

/// Messages that came again though nobody needed them, and orders that were sent again before their back-off had passed.
pub fn needless_repeats(state: &State, memory: &Memory) -> Vec<String> {
    let mut failures = if memory.has_adopted { Vec::new() } else { state.unasked.clone() };
    if memory.has_adopted || memory.has_jumped || state.was_harmed {
        return failures;
    }
    for (event, ids) in state.sendings.iter().filter(|(event, _)| event.starts_with(ORDER_CREATED)) {
        let mut sent: Vec<i64> = ids.iter().filter_map(|id| outbox::enqueued_ms(id)).collect();
        sent.sort_unstable();
        let soonest = sent.windows(2).map(|pair| pair[1] - pair[0]).min();
        if let Some(after_ms) = soonest.filter(|after_ms| *after_ms < pending::BACKOFF_START_MS) {
            failures.push(format!("{event} was sent again after {after_ms} ms"));
        }
    }
    failures
}

/// What a database that was restored took of its consumer, or from it, before anybody adopted it.
pub fn taken_unadopted(state: &State) -> Vec<String> {
    // Whoever is told an older state of the consumer cannot know.
    if state.struck.contains_key(&Fault::StaleRead) {
        return Vec::new();
    }
    state.of_another.clone()
}

/// Events that were sent again although nothing was lost: an order while its message waits, an answer more often than the
/// order was delivered.
pub fn needless_sendings(state: &State, memory: &Memory) -> Vec<String> {
    if state.may_need_sweeps() || memory.has_jumped {
        return Vec::new();
    }
    let waits = |event: &String| format!("{event} was sent again while its message was still to be handled");
    let mut failures: Vec<String> = state.needless.iter().map(waits).collect();
    for (event, ids) in &state.sendings {
        let Some((subject, order)) = event.split_once(':') else { continue };
        if subject != ORDER_PROCESSED {
            continue;
        }
        let allowed = state.deliveries.get(&format!("{ORDER_CREATED}:{order}")).copied().unwrap_or(0);
        if ids.len() as u64 > allowed && order != "by-hand" {
            failures.push(format!("{event} was sent under {} ids, and {allowed} are enough", ids.len()));
        }
    }
    failures
}
