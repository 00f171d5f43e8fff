//! The callers: each sends an order, waits for its outcome, and sends the next.
//!
//! After a lost connection, a missing answer or a 5xx other than 503 the outcome is unknown. The order is
//! repeated under its key until a 201 tells, also after the end: nothing else says what became of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use shared::clock::now_ms;
use shared::contract::status::Status;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::order::Order;
use super::plan::{Pace, PlannedOrder};
use super::schedule::Schedule;
use super::tally::Open;
use super::target::{Load, User};
use crate::answers::{Answer, Line, Outcome};
use crate::http;
use crate::http::HttpClient;

/// Pause after a refusal in a closed loop, so that refusals do not become the load.
const AFTER_REFUSAL: Duration = Duration::from_millis(50);

/// Pause before the first repetition; it doubles with each.
const REPEAT_FIRST: Duration = Duration::from_millis(50);

const REPEAT_SLOWEST: Duration = Duration::from_secs(1);

const REPEAT_FOR: Duration = Duration::from_secs(120);

/// How long the first order may take until it is settled.
const WARM_UP: Duration = Duration::from_secs(20);

/// The number of the warm-up order, which no load reaches.
const WARM_UP_NUMBER: u64 = u64::MAX;

enum Told {
    Accepted(String, Status),
    Refused(u16),
    /// It may have been stored.
    Nothing,
    /// There was no connection, so nothing was sent.
    NotSent,
}

impl Load {
    /// Sends orders until the plan's limit or until `stop` is cancelled; returns when the last one's outcome
    /// is known, or was unknown for two minutes.
    pub async fn send(&self, stop: &CancellationToken) -> Result<()> {
        let schedule = Arc::new(Schedule::start(&self.plan));
        self.tally.lock().started = Instant::now();
        let mut callers = JoinSet::new();
        for _ in 0..self.plan.pace.connections() {
            let (load, schedule, stop) = (self.clone(), schedule.clone(), stop.clone());
            callers.spawn(async move {
                let mut connection = None;
                while let Some(turn) = schedule.next(&stop).await {
                    Call::new(&load, turn.number)?.place(&mut connection, turn.due).await;
                }
                anyhow::Ok(())
            });
        }
        while let Some(caller) = callers.join_next().await {
            caller.context("a connection's task failed")??;
        }
        Ok(())
    }
}

/// Places one order that is not counted, and waits for its end: a run should not measure how all starts.
pub(crate) async fn warm_up(load: &Load) -> Result<()> {
    let (call, mut connection) = (Call::new(load, WARM_UP_NUMBER)?, None);
    let Told::Accepted(id, status) = call.post(&mut connection).await else {
        bail!("the first order was not accepted");
    };
    call.record(Outcome::Accepted { order_id: id.clone(), status });
    let mut client = connection.context("the connection was lost")?;
    let settled = Order::settled(&mut client, call.user, &id, WARM_UP).await?;
    settled.map(drop).context("the first order was not settled in time")
}

struct Call<'a> {
    load: &'a Load,
    order: PlannedOrder,
    user: &'a User,
}

impl<'a> Call<'a> {
    fn new(load: &'a Load, number: u64) -> Result<Self> {
        let order = load.plan.order(number);
        Ok(Self { load, user: load.target.user(order.user)?, order })
    }

    /// Places the order, however often it takes.
    async fn place(&self, connection: &mut Option<HttpClient>, due: Instant) {
        let give_up = Instant::now() + REPEAT_FOR;
        let (mut ambiguous, mut pause) = (false, REPEAT_FIRST);
        loop {
            match self.post(connection).await {
                Told::Accepted(id, status) => return self.accept(due, id, status, ambiguous),
                Told::Refused(status) if !ambiguous => return self.refuse(status).await,
                // This POST was not stored, and the ones before may have been.
                Told::Refused(_) | Told::NotSent => {}
                Told::Nothing if ambiguous => {}
                Told::Nothing => {
                    ambiguous = true;
                    self.load.tally.lock().totals.unknown += 1;
                    self.record(Outcome::Unknown);
                }
            }
            if Instant::now() >= give_up {
                self.load.tally.lock().unsent += u64::from(!ambiguous);
                return;
            }
            sleep(pause).await;
            pause = REPEAT_SLOWEST.min(pause * 2);
        }
    }

    fn accept(&self, due: Instant, id: String, status: Status, ambiguous: bool) {
        self.record(Outcome::Accepted { order_id: id.clone(), status });
        let open = Open { due, accepted: Instant::now(), user: self.order.user };
        let mut tally = self.load.tally.lock();
        tally.accept(id, status, open);
        if ambiguous {
            tally.totals.unknown -= 1;
            tally.totals.resolved += 1;
        }
    }

    async fn refuse(&self, status: u16) {
        self.record(Outcome::Refused { status });
        self.load.tally.lock().refuse(status);
        if matches!(self.load.plan.pace, Pace::Closed { .. }) {
            sleep(AFTER_REFUSAL).await;
        }
    }

    async fn post(&self, connection: &mut Option<HttpClient>) -> Told {
        let client = match connection {
            Some(client) => client,
            None => match self.load.target.connect().await {
                Ok(client) => connection.insert(client),
                Err(_) => return Told::NotSent,
            },
        };
        let (authorization, key) = (&self.user.authorization, &self.order.key);
        let waits = self.load.plan.waits;
        match client.post("/orders", authorization, key, self.order.body(), waits).await {
            Ok(answer) => told(&answer),
            Err(_) => {
                *connection = None;
                Told::Nothing
            }
        }
    }

    fn record(&self, outcome: Outcome) {
        let Some(recorder) = &self.load.recorder else { return };
        let PlannedOrder { key, product_id, quantity, .. } = self.order.clone();
        let (at_ms, user) = (now_ms(), self.user.name.clone());
        recorder.write(&Line::Answer(Answer { at_ms, user, key, product_id, quantity, outcome }));
    }
}

/// 503 and what is wrong with the request mean *not stored*; every other failure leaves it open.
fn told(answer: &http::Answer) -> Told {
    match answer.status.as_u16() {
        201 => Order::of(answer).map_or(Told::Nothing, |order| Told::Accepted(order.id, order.status)),
        status @ (400..=499 | 503) => Told::Refused(status),
        _ => Told::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::StatusCode;

    #[test]
    fn only_a_503_or_a_fault_of_the_request_says_that_nothing_was_stored() {
        let told = |status: u16, body: &'static str| {
            let status = StatusCode::from_u16(status).unwrap();
            told(&http::Answer { status, body: body.into(), next: None })
        };
        let created = r#"{"id":"a","productId":"1","quantity":1,"status":"created"}"#;
        assert!(matches!(told(201, created), Told::Accepted(_, Status::Created)));
        assert!(matches!(told(201, "cut o"), Told::Nothing));
        for status in [400, 401, 422, 429, 503] {
            assert!(matches!(told(status, ""), Told::Refused(_)), "{status}");
        }
        for status in [200, 500, 502, 504] {
            assert!(matches!(told(status, ""), Told::Nothing), "{status}");
        }
    }
}
