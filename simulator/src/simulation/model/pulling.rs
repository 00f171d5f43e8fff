//! A durable consumer of the model, as the handle that one service has, and its pulls.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use async_nats::jetstream::AckKind;
use futures_util::{FutureExt, Stream, StreamExt, stream};
use shared::broker::stream::{
    Answer, ConsumerState, Delivered, Deliveries, Durable, Metadata, Outgoing, Token,
};
use shared::clock::simulated::{only_looks, park};
use shared::clock::{Instant, sleep};
use shared::contract::subjects::STREAM;

use super::deliveries::Consumer;
use super::fault::Fault;
use super::seat::{Seat, TOO_LATE};
use super::{Model, State};
use crate::simulation::mutants::Mutant;

pub(super) struct DurableSeat {
    pub seat: Seat,
    pub seen: ConsumerState,
}

impl DurableSeat {
    async fn with<T>(&self, what: &str, change: impl FnOnce(&mut Consumer) -> T) -> Result<T> {
        let name = &self.seen.name;
        let changed = self.seat.change(what, |state, _| Some(change(state.consumers.get_mut(name)?)));
        changed.await?.context("there is no such consumer")
    }
}

impl Durable for DurableSeat {
    fn seen(&self) -> &ConsumerState {
        &self.seen
    }

    fn state(&self) -> Answer<'_, ConsumerState> {
        async {
            let name = &self.seen.name;
            self.seat.look_up(name).await?.context("there is no such consumer")
        }
        .boxed()
    }

    fn update<'a>(&'a self, _: &'a str, metadata: Metadata) -> Answer<'a, ()> {
        async move {
            let mut wanted = self.seen.metadata.clone();
            wanted.extend(metadata);
            if wanted != self.seen.metadata {
                let (side, mut is_taken) = (self.seat.side, false);
                let noted = self.with("notes at its consumer whose it is", |consumer| {
                    consumer.metadata = wanted;
                    is_taken = consumer.is_anothers;
                });
                noted.await?;
                if is_taken {
                    let what = format!("the {side} takes a consumer that it has not adopted");
                    self.seat.model.state().of_another.push(what);
                }
            }
            Ok(())
        }
        .boxed()
    }

    fn reset(&self, from: Option<u64>) -> Answer<'_, ()> {
        let from = if self.seat.is(Mutant::ResetToTheBeginning) { Some(1) } else { from };
        self.with("resets its consumer", move |consumer| consumer.reset(from)).boxed()
    }

    fn pull(&self, messages: usize, expires: Duration) -> Answer<'_, Deliveries> {
        async move {
            park().await;
            let (seat, name) = (self.seat.clone(), self.seen.name.clone());
            let (connection, end) = (seat.connection(), Instant::now() + expires);
            let number = seat.model.state().consumers.get(&name).map(|consumer| consumer.number);
            let pull = Pull { seat, name, number, connection, end, left: messages, again: None };
            let model = pull.seat.model.clone();
            let arriving =
                stream::unfold(pull, |mut pull| async { pull.next().await.map(|next| (next, pull)) });
            Ok(Arriving { stream: arriving.fuse().boxed(), model, waits_since: None }.boxed())
        }
        .boxed()
    }
}

/// What arrives of a pull. Who only looks, again and again, is told at once that nothing has changed.
struct Arriving {
    stream: Deliveries,
    model: Arc<Model>,
    waits_since: Option<(u64, Instant)>,
}

impl Stream for Arriving {
    type Item = Result<Delivered>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let now = (self.model.changes.load(Ordering::Acquire), Instant::now());
        if self.waits_since == Some(now) && only_looks() {
            return Poll::Pending;
        }
        let polled = self.stream.poll_next_unpin(context);
        self.waits_since = polled.is_pending().then_some(now);
        polled
    }
}

/// A pull under way.
struct Pull {
    seat: Seat,
    name: String,
    /// Which consumer of this name.
    number: Option<u64>,
    connection: Option<u64>,
    end: Instant,
    left: usize,
    /// What arrives a second time.
    again: Option<(u64, i64)>,
}

impl Pull {
    async fn next(&mut self) -> Option<Result<Delivered>> {
        while self.left > 0 {
            // Nothing comes over a connection that is lost, not even the end.
            let stands = self.connection.is_some() && self.connection == self.seat.connection();
            if stands && (self.number.is_none() || self.number != self.number_now()) {
                self.left = 0;
                return Some(Err(anyhow!("the consumer was deleted")));
            }
            if stands && let Some(delivered) = self.arrived() {
                return Some(Ok(delivered));
            }
            let now = Instant::now();
            if stands && now >= self.end {
                return None;
            }
            let next = self.next_due().into_iter().chain(stands.then_some(self.end)).min();
            let wait = next.map_or(TOO_LATE, |next| next.since(now)).max(Duration::from_millis(1));
            tokio::select! {
                biased;
                () = self.seat.model.changed.notified() => {}
                () = sleep(wait) => {}
            }
        }
        None
    }

    fn number_now(&self) -> Option<u64> {
        self.seat.model.state().consumers.get(&self.name).map(|consumer| consumer.number)
    }

    fn next_due(&self) -> Option<Instant> {
        self.seat.model.state().consumers.get(&self.name)?.next_due()
    }

    fn arrived(&mut self) -> Option<Delivered> {
        let model = self.seat.model.clone();
        loop {
            let (sequence, attempt) = self.again.take().or_else(|| self.deliver())?;
            if model.strikes(Fault::DeliveryLost) {
                self.seat.tell(|| format!("{sequence} is delivered and does not arrive"));
                continue;
            }
            if model.strikes(Fault::DeliveredTwice) {
                self.again = Some((sequence, attempt));
            }
            self.left -= 1;
            let mut state = model.state();
            let Outgoing { subject, headers, body } =
                state.log.as_ref()?.messages.get(&sequence)?.message.clone();
            if let Some(id) = headers.get("ce-id") {
                *state.deliveries.entry(id.to_string()).or_default() += 1;
            }
            if self.seat.is(Mutant::AckBeforeCommit)
                && let Some(consumer) = state.consumers.get_mut(&self.name)
            {
                consumer.acknowledge(sequence, AckKind::Ack);
            }
            drop(state);
            self.seat.tell(|| format!("receives {sequence}, delivery {attempt}"));
            return Some(Delivered {
                subject,
                headers: Some(headers).filter(|headers| !headers.is_empty()),
                body,
                attempt,
                token: token(&self.name, sequence, attempt),
            });
        }
    }

    fn deliver(&self) -> Option<(u64, i64)> {
        let mut state = self.seat.model.state();
        let State { log, consumers, unasked, of_another, .. } = &mut *state;
        let consumer = consumers.get_mut(&self.name)?;
        let (sequence, attempt) = consumer.deliver(log.as_ref()?)?;
        if consumer.is_anothers {
            of_another.push(format!(
                "{sequence} was delivered to the {}, which had not adopted the consumer",
                self.seat.side
            ));
        }
        if consumer.is_done_with(sequence) {
            unasked.push(format!("{sequence} was delivered again to the {}", self.seat.side));
        }
        Some((sequence, attempt))
    }
}

fn token(name: &str, sequence: u64, attempt: i64) -> Token {
    format!("$JS.ACK.{STREAM}.{name}.{attempt}.{sequence}.0.0.0").into()
}
