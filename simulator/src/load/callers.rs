//! The callers: each sends an order, waits for its outcome, and sends the next.
//!
//! An order whose outcome is unknown is repeated under its key until a 201 tells, with growing pauses, also
//! after the last order was sent: no other answer says what became of the first POST.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use shared::clock::now_ms;
use shared::contract::status::Status;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::plan::{Pace, PlannedOrder};
use super::schedule::{Schedule, Turn};
use super::tally::Open;
use super::target::{Load, User};
use super::watch;
use crate::answers::{Answer, Line, Outcome};
use crate::http;
use crate::http::HttpClient;

/// Pause after a refusal in a closed loop, so that refusals do not become the load.
const AFTER_REFUSAL: Duration = Duration::from_millis(50);

/// Pause before the first repetition; it doubles with each.
const REPEAT_FIRST: Duration = Duration::from_millis(50);

/// Longest pause between two repetitions.
const REPEAT_SLOWEST: Duration = Duration::from_secs(1);

/// How long an order is repeated before its outcome stays unknown.
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
    /// is known.
    ///
    /// A lost connection, a missing answer and a 5xx other than 503 are an unknown outcome: the order is
    /// repeated under its key until a 201 tells, for at most two minutes, also after `stop`.
    pub async fn send(&self, stop: &CancellationToken) -> Result<()> {
        let schedule = Arc::new(Schedule::start(&self.plan));
        self.tally.lock().started = Instant::now();
        let mut callers = JoinSet::new();
        for _ in 0..self.plan.pace.connections() {
            let mut caller = Caller { load: self.clone(), connection: None };
            let (schedule, stop) = (schedule.clone(), stop.clone());
            callers.spawn(async move {
                while let Some(turn) = schedule.next(&stop).await {
                    caller.place(turn).await?;
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

/// Places one order that is not counted and waits for its end: a broker and consumers that are just starting
/// are not what a run should measure.
pub(super) async fn warm_up(load: &Load) -> Result<()> {
    let order = load.plan.order(WARM_UP_NUMBER);
    let user = load.target.user(order.user)?;
    let mut caller = Caller { load: load.clone(), connection: None };
    let Told::Accepted(id, status) = caller.post(&order, user).await else {
        bail!("the first order was not accepted");
    };
    caller.record(&order, user, Outcome::Accepted { order_id: id.clone(), status });
    let mut client = caller.connection.context("the connection was lost")?;
    let settled = async {
        while watch::status(&mut client, user, &id).await? == Some(Status::Created) {
            sleep(Duration::from_millis(5)).await;
        }
        anyhow::Ok(())
    };
    timeout(WARM_UP, settled).await.context("the first order was not settled in time")?
}

struct Caller {
    load: Load,
    connection: Option<HttpClient>,
}

impl Caller {
    /// Places one order, however often it takes.
    async fn place(&mut self, turn: Turn) -> Result<()> {
        let order = self.load.plan.order(turn.number);
        let load = self.load.clone();
        let user = load.target.user(order.user)?;
        let give_up = Instant::now() + REPEAT_FOR;
        let (mut ambiguous, mut pause) = (false, REPEAT_FIRST);
        loop {
            match self.post(&order, user).await {
                Told::Accepted(id, status) => {
                    self.accept((&order, user), turn, (id, status), ambiguous);
                    return Ok(());
                }
                Told::Refused(status) if !ambiguous => {
                    self.refuse(&order, user, status).await;
                    return Ok(());
                }
                // This POST was not stored, and the ones before may have been.
                Told::Refused(_) | Told::NotSent => {}
                Told::Nothing if ambiguous => {}
                Told::Nothing => {
                    ambiguous = true;
                    self.load.tally.lock().totals.unknown += 1;
                    self.record(&order, user, Outcome::Unknown);
                }
            }
            if Instant::now() >= give_up {
                self.load.tally.lock().unsent += u64::from(!ambiguous);
                return Ok(());
            }
            sleep(pause).await;
            pause = REPEAT_SLOWEST.min(pause * 2);
        }
    }

    fn accept(
        &self,
        (order, user): (&PlannedOrder, &User),
        turn: Turn,
        (id, status): (String, Status),
        ambiguous: bool,
    ) {
        self.record(order, user, Outcome::Accepted { order_id: id.clone(), status });
        let open = Open { due: turn.due, accepted: Instant::now(), user: order.user };
        let mut tally = self.load.tally.lock();
        tally.accept(id, status, open);
        if ambiguous {
            tally.totals.unknown -= 1;
            tally.totals.resolved += 1;
        }
    }

    async fn refuse(&self, order: &PlannedOrder, user: &User, status: u16) {
        self.record(order, user, Outcome::Refused { status });
        self.load.tally.lock().refuse(status);
        if matches!(self.load.plan.pace, Pace::Closed { .. }) {
            sleep(AFTER_REFUSAL).await;
        }
    }

    async fn post(&mut self, order: &PlannedOrder, user: &User) -> Told {
        let client = match &mut self.connection {
            Some(client) => client,
            None => match self.load.target.connect().await {
                Ok(client) => self.connection.insert(client),
                Err(_) => return Told::NotSent,
            },
        };
        match client.post("/orders", &user.authorization, &order.key, order.body()).await {
            Ok(answer) => told(&answer),
            Err(_) => {
                self.connection = None;
                Told::Nothing
            }
        }
    }

    fn record(&self, order: &PlannedOrder, user: &User, outcome: Outcome) {
        if let Some(recorder) = &self.load.recorder {
            recorder.write(&Line::Answer(Answer {
                at_ms: now_ms(),
                user: user.name.clone(),
                key: order.key.clone(),
                product_id: order.product_id.clone(),
                quantity: order.quantity,
                outcome,
            }));
        }
    }
}

/// 503, 429 and what is wrong with the request mean *not stored*; every other failure leaves it open.
fn told(answer: &http::Answer) -> Told {
    #[derive(Deserialize)]
    struct Order {
        id: String,
        status: Status,
    }
    match answer.status.as_u16() {
        201 => match serde_json::from_slice(&answer.body) {
            Ok(Order { id, status }) => Told::Accepted(id, status),
            Err(_) => Told::Nothing,
        },
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
        assert!(matches!(told(201, r#"{"id":"a","status":"created"}"#), Told::Accepted(_, Status::Created)));
        assert!(matches!(told(201, "cut o"), Told::Nothing));
        for status in [400, 401, 422, 429, 503] {
            assert!(matches!(told(status, ""), Told::Refused(_)), "{status}");
        }
        for status in [200, 500, 502, 504] {
            assert!(matches!(told(status, ""), Told::Nothing), "{status}");
        }
    }
}
