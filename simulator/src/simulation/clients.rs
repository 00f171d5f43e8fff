//! Who uses the services, and what they know: requests, the answers to them, and what was seen.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use anyhow::Result;
use inventory_service::stock::adjustment::{Adjusted, AdjustmentKind, NewAdjustment};
use order_service::orders::placement::{NewOrder, Placed};
use shared::clock::simulated::{park, true_ms};
use shared::contract::status::Status;
use shared::contract::trace;
use shared::storage::Database;
use shared::storage::commit_queue::{CommitError, CommitQueue};

use super::timeline::Timeline;
use crate::answers::{Answer, Coverage, Line, Outcome, Recorder, Witness};

/// All clients together. Cheap to clone.
#[derive(Clone, Default)]
pub struct Clients(Rc<RefCell<Known>>);

#[derive(Default)]
struct Known {
    requests: Vec<NewOrder>,
    /// Each attempt to make a request, in the order of the attempts, with its answer.
    attempts: Vec<Attempt>,
    seen: Vec<Line>,
    answers: usize,
    changes: u32,
    /// Answers that cannot be.
    wrong: Vec<String>,
}

struct Attempt {
    request: usize,
    at_ms: i64,
    /// Which answer of all it is; `None` until there is one.
    answer: Option<usize>,
    outcome: Outcome,
}

impl Clients {
    /// A new request.
    pub fn ask(&self, user: u8, product: u8, quantity: u8) -> usize {
        let requests = &mut self.0.borrow_mut().requests;
        let user_id = format!("user {user}");
        // Keys are each user's own: others use the same.
        let earlier = requests.iter().filter(|request| request.user_id == user_id).count();
        requests.push(NewOrder {
            user_id,
            product_id: product.to_string(),
            quantity: quantity.into(),
            traceparent: trace::accept(None),
            idempotency_key: Some(format!("key {earlier}")),
        });
        requests.len() - 1
    }

    /// One of the requests so far.
    pub fn pick(&self, pick: u16) -> Option<usize> {
        usize::from(pick).checked_rem(self.0.borrow().requests.len())
    }

    /// Makes the request, perhaps once more. Until the answer is there, its client knows nothing.
    pub async fn place(self, request: usize, queue: CommitQueue<NewOrder>, timeline: impl AsRef<Timeline>) {
        let (attempt, new) = self.attempt(request);
        let answer = queue.commit(new).await;
        // The answer is on its way.
        park().await;
        let outcome = match answer {
            Ok(Placed::Created(order) | Placed::Replayed(order)) => {
                timeline.as_ref().tell("client", || {
                    let (name, status) = (timeline.as_ref().name(&order.id), order.status.as_str());
                    format!("request {request} is order {name}, {status}")
                });
                Outcome::Accepted { order_id: order.id, status: order.status }
            }
            Ok(Placed::KeyReused) => Outcome::Refused { status: 422 },
            Err(CommitError::Unknown) => Outcome::Unknown,
            Err(error) => {
                timeline.as_ref().tell("client", || format!("request {request}: {error:?}"));
                Outcome::Refused { status: 503 }
            }
        };
        let known = &mut *self.0.borrow_mut();
        let attempt = &mut known.attempts[attempt];
        (attempt.at_ms, attempt.answer, attempt.outcome) = (true_ms(), Some(known.answers), outcome);
        known.answers += 1;
    }

    fn attempt(&self, request: usize) -> (usize, NewOrder) {
        let known = &mut *self.0.borrow_mut();
        known.attempts.push(Attempt { request, at_ms: true_ms(), answer: None, outcome: Outcome::Unknown });
        (known.attempts.len() - 1, known.requests[request].clone())
    }

    /// Changes the stock of a product.
    pub async fn adjust(self, product: u8, kind: AdjustmentKind, queue: CommitQueue<NewAdjustment>) {
        let change = {
            let changes = &mut self.0.borrow_mut().changes;
            *changes += 1;
            *changes
        };
        let (user_id, reason) = ("keeper".to_owned(), "simulated".to_owned());
        let idempotency_key = Some(format!("change {change}"));
        let new = NewAdjustment { product_id: product.to_string(), kind, reason, user_id, idempotency_key };
        if let (Ok(Adjusted::Made(made)), AdjustmentKind::Correction(counted)) =
            (queue.commit(new).await, kind)
            && made.stock != counted
        {
            let wrong = format!("{counted} pieces were counted, and the stock is {}", made.stock);
            self.0.borrow_mut().wrong.push(wrong);
        }
    }

    /// Takes note of how far each order is.
    pub async fn look_at_orders(self, database: Database) {
        let settled = "SELECT id, status FROM orders WHERE status <> 'created' ORDER BY number";
        let rows: Vec<(String, String)> =
            sqlx::query_as(settled).fetch_all(database.reader()).await.unwrap_or_default();
        for (order_id, status) in rows {
            let Ok(status) = status.parse::<Status>() else { continue };
            self.0.borrow_mut().seen.push(Line::Observed { order_id, status, by: Witness::Order });
        }
    }

    /// Takes note of the stock.
    pub async fn look_at_stock(self, database: Database) {
        let stock = "SELECT id, stock FROM products";
        let rows: Vec<(String, i64)> =
            sqlx::query_as(stock).fetch_all(database.reader()).await.unwrap_or_default();
        let lines = rows.into_iter().map(|(product_id, stock)| Line::Stock { product_id, stock });
        self.0.borrow_mut().seen.extend(lines);
    }

    /// The answers that they got and that cannot be.
    pub fn wrong_answers(&self) -> Vec<String> {
        self.0.borrow().wrong.clone()
    }

    /// How many answers they have, and how much they have seen.
    pub fn known(&self) -> (usize, usize) {
        let known = self.0.borrow();
        (known.answers, known.seen.len())
    }

    /// What they were told since then is not so any more: an older state of the orders has come back.
    pub fn unlearn(&self, (answers, seen): (usize, usize)) {
        let known = &mut *self.0.borrow_mut();
        let later = known.attempts.iter_mut().filter(|attempt| attempt.answer >= Some(answers));
        later.for_each(|attempt| attempt.outcome = Outcome::Unknown);
        known.seen.truncate(seen);
    }

    /// Writes what they know, for the audit.
    pub fn record(&self, path: &Path) -> Result<()> {
        let (recorder, known) = (Recorder::create(path, Coverage::Complete)?, self.0.borrow());
        for Attempt { request, at_ms, outcome, .. } in &known.attempts {
            let NewOrder { user_id, product_id, quantity, idempotency_key, .. } = &known.requests[*request];
            recorder.write(&Line::Answer(Answer {
                at_ms: *at_ms,
                user: user_id.clone(),
                key: idempotency_key.clone().unwrap_or_default(),
                product_id: product_id.clone(),
                quantity: *quantity,
                outcome: outcome.clone(),
            }));
        }
        known.seen.iter().for_each(|line| recorder.write(line));
        recorder.finish()
    }
}
