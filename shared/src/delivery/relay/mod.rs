//! The relay: publishes outbox rows and deletes each only after the stream's PubAck.
//!
//! No PubAck, for whatever reason, means *not sent*: the row stays and is published again with the same
//! `Nats-Msg-Id`. Delivery is therefore at least once; a row is never lost and never skipped. One that can never be a message becomes
//! a dead letter `unsendable_event`.

mod message;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Error, Result};
use async_nats::jetstream::context::PublishErrorKind;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    broker::{
        Broker, BrokerState, Session,
        stream_memory::{self, Acknowledged},
    },
    contract::subjects::STREAM,
    delivery::{
        dead_letter::store,
        message::Delivery,
        outbox,
        outcome::{Never, UNSENDABLE},
    },
    fail_point,
    storage::Database,
};

/// Rows published in one step, with all their PubAcks in flight at once.
const BATCH: i64 = 1_000;
/// Steps follow each other at least this far apart: a larger batch costs hardly more than a small one. The first
/// event after a quiet time is published at once.
const GATHER: Duration = Duration::from_millis(10);
/// Acknowledged rows are deleted at this number…
const DELETE_AT_ROWS: usize = 4_000;
/// … and at the latest after this time.
const DELETE_AFTER: Duration = Duration::from_millis(50);
/// The outbox is looked at this often even when nobody wakes the relay.
const TICK: Duration = Duration::from_secs(1);
/// The pause after a first failed step; it doubles up to [`BACKOFF_MAX`].
const BACKOFF_START: Duration = Duration::from_millis(100);
/// The longest pause between two failed steps.
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Publishes one service's outbox.
#[derive(Clone)]
pub struct Relay {
    database: Database,
    broker: Broker,
    service: &'static str,
    wake: Arc<Notify>,
}

/// What one step did.
#[derive(Debug, PartialEq, Eq)]
pub enum Relayed {
    /// There was nothing to publish.
    Idle,
    /// All rows of the batch were acknowledged.
    Sent(usize),
    /// Some rows were not acknowledged; they are published again.
    Unacknowledged {
        /// Rows that were acknowledged.
        sent: usize,
        /// Rows that were not.
        kept: usize,
    },
}

/// Rows that the stream acknowledged and that are not deleted yet.
///
/// Deleting costs a commit, and so an fsync of the one writer that new orders wait for, too. So rows of several
/// steps are deleted together, soon. A crash in between costs a repeat and nothing else.
#[derive(Debug, Default)]
struct Acked {
    ids: Vec<i64>,
    latest: Acknowledged,
    since: Option<Instant>,
    /// Rows up to this id are published; the next step starts behind it.
    cursor: i64,
    /// The session in which they were acknowledged.
    by: Option<Session>,
}

impl Acked {
    fn is_due(&self) -> bool {
        self.ids.len() >= DELETE_AT_ROWS || self.since.is_some_and(|since| since.elapsed() >= DELETE_AFTER)
    }
}

impl Relay {
    /// A relay whose events carry `/service` as their `ce-source`.
    pub fn new(database: Database, broker: Broker, service: &'static str) -> Self {
        Self { database, broker, service, wake: Arc::new(Notify::new()) }
    }

    /// Wakes the relay. Called after each commit that enqueued something.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Relays until `last_call`, then until the outbox is empty or the broker fails.
    ///
    /// `last_call` comes when nothing enqueues any more.
    pub async fn run(&self, last_call: CancellationToken) {
        let (mut acked, mut backoff) = (Acked::default(), BACKOFF_START);
        while !last_call.is_cancelled() {
            match self.step(&mut acked).await {
                Ok(Relayed::Sent(_)) => {
                    backoff = BACKOFF_START;
                    self.pause(&last_call, GATHER, false).await;
                }
                Ok(Relayed::Idle) if acked.ids.is_empty() => self.pause(&last_call, TICK, true).await,
                Ok(Relayed::Idle) => self.pause(&last_call, DELETE_AFTER, true).await,
                failed => {
                    if let Err(error) = &failed {
                        self.database.note_failure(error.as_ref());
                    }
                    let cause =
                        failed.map_or_else(|error| format!("{error:#}"), |relayed| format!("{relayed:?}"));
                    tracing::warn!(cause, "not all events relayed; they are published again");
                    self.pause(&last_call, backoff, false).await;
                    backoff = BACKOFF_MAX.min(backoff * 2);
                }
            }
        }
        if let Err(error) = self.empty(&mut acked).await {
            tracing::warn!(
                error = format!("{error:#}"),
                "outbox not emptied; it is relayed after the next start"
            );
        }
    }

    /// Publishes while the broker is connected (otherwise it would only fill buffers), and deletes what is due.
    ///
    /// Another session may be another, empty stream: what was in flight or acknowledged in the former one is
    /// published again.
    async fn step(&self, acked: &mut Acked) -> Result<Relayed> {
        let mut state = self.broker.state();
        let now = state.borrow_and_update().clone();
        let BrokerState::Connected(session) = &now else { return Ok(Relayed::Idle) };
        let relayed = tokio::select! {
            relayed = self.publish_in(session, acked) => relayed?,
            _ = state.wait_for(|state| *state != now) => return Ok(Relayed::Idle),
        };
        let due = acked.is_due() || matches!(relayed, Relayed::Unacknowledged { .. });
        // While the disk is full, acknowledged rows are kept in mind instead of being sent again.
        if due && self.database.is_writable() {
            self.delete(acked).await?;
        }
        Ok(relayed)
    }

    /// Publishes the next rows in this session, which begins with a look at what its stream still holds.
    async fn publish_in(&self, session: &Session, acked: &mut Acked) -> Result<Relayed> {
        if acked.by.as_ref() != Some(session) {
            stream_memory::begin_session(&self.database, &self.broker, session).await?;
            fail_point::reach("relay: stream noted, nothing published");
            *acked = Acked { by: Some(session.clone()), ..Acked::default() };
        }
        self.publish_next(acked).await
    }

    async fn empty(&self, acked: &mut Acked) -> Result<()> {
        self.delete(acked).await?;
        while matches!(self.relay_once().await?, Relayed::Sent(_)) {}
        Ok(())
    }

    /// Publishes one batch of the oldest rows, and deletes what was acknowledged at once. [`Relayed::Idle`] while the
    /// broker is unreachable.
    pub async fn relay_once(&self) -> Result<Relayed> {
        let mut acked = Acked::default();
        let relayed = self.step(&mut acked).await?;
        self.delete(&mut acked).await?;
        Ok(relayed)
    }

    async fn pause(&self, last_call: &CancellationToken, longest: Duration, wakeable: bool) {
        let mut broker = self.broker.state();
        broker.mark_unchanged();
        tokio::select! {
            () = self.wake.notified(), if wakeable => {}
            _ = broker.changed() => {}
            () = last_call.cancelled() => {}
            () = tokio::time::sleep(longest) => {}
        }
    }

    /// Publishes the oldest rows that are not published yet and waits for their PubAcks.
    async fn publish_next(&self, acked: &mut Acked) -> Result<Relayed> {
        let rows = outbox::oldest_after(self.database.reader(), acked.cursor, BATCH)
            .await
            .context("read the outbox")?;
        let Some(last) = rows.last() else { return Ok(Relayed::Idle) };
        let Published { acked: ids, latest, unsendable } = self.publish(&rows).await;
        let (sent, kept) = (ids.len(), rows.len() - ids.len() - unsendable.len());
        let set_aside = self.set_aside(&unsendable).await.context("set unsendable events aside");
        acked.cursor = if kept == 0 && set_aside.is_ok() { last.id } else { 0 };
        if latest.sequence > acked.latest.sequence {
            acked.latest = latest;
        }
        acked.since.get_or_insert_with(Instant::now);
        acked.ids.extend(ids);
        set_aside?;
        tracing::debug!(sent, kept, "outbox relayed");
        Ok(if kept == 0 { Relayed::Sent(sent) } else { Relayed::Unacknowledged { sent, kept } })
    }

    /// Moves what can never be a message from the outbox to the dead letters, so that it does not hold up what is behind it.
    async fn set_aside(&self, unsendable: &[(&outbox::Row, String)]) -> Result<()> {
        if unsendable.is_empty() {
            return Ok(());
        }
        let written = self.database.write(|mut tx| async move {
            for (row, why) in unsendable {
                let (subject, body) = (row.subject.clone(), row.body.clone().into());
                let headers = Some(message::headers(row, self.service).0);
                let never = Never { reason: UNSENDABLE, detail: why.clone() };
                let letter = Delivery { subject, body, headers, attempt: 1 };
                store::insert(&mut tx, &letter, &never).await?;
                outbox::delete(&mut tx, &[row.id]).await?;
            }
            Ok((tx, ()))
        });
        written.await?;
        for (row, why) in unsendable {
            let order_id = &row.order_id;
            tracing::error!(order_id, subject = row.subject, why, "event set aside: it can never be sent");
            metrics::counter!("dead_letters_total", "consumer" => self.service, "reason" => UNSENDABLE)
                .increment(1);
        }
        Ok(())
    }

    /// Deletes the acknowledged rows and remembers the latest acknowledgement.
    async fn delete(&self, acked: &mut Acked) -> Result<()> {
        if !acked.ids.is_empty() {
            let (ids, latest) = (&acked.ids, &acked.latest);
            let deleted = self.database.write(|mut tx| async move {
                fail_point::reach("relay: PubAcks seen, rows not deleted");
                outbox::delete(&mut tx, ids).await?;
                stream_memory::remember(&mut tx, latest).await?;
                fail_point::reach("relay: rows deleted, not committed");
                Ok((tx, ()))
            });
            deleted.await.map_err(Error::from).context("delete relayed rows")?;
            fail_point::reach("relay: delete committed");
        }
        *acked = Acked { cursor: acked.cursor, by: acked.by.take(), ..Acked::default() };
        Ok(())
    }

    /// Publishes these rows with all their PubAcks in flight at once.
    async fn publish<'a>(&self, rows: &'a [outbox::Row]) -> Published<'a> {
        fail_point::reach("relay: rows read, nothing published");
        let (context, mut in_flight, mut unsendable) =
            (self.broker.context(), FuturesUnordered::new(), Vec::new());
        for row in rows {
            let message = match message::build(row, self.service) {
                Ok(message) => message,
                Err(why) => {
                    unsendable.push((row, why));
                    continue;
                }
            };
            match context.send_publish(row.subject.clone(), message).await {
                Ok(ack) => in_flight.push(async move { (row, ack.await) }),
                Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                    unsendable.push((row, error.to_string()));
                }
                Err(error) => {
                    tracing::warn!(order_id = row.order_id, %error, "event not handed to the broker");
                    break;
                }
            }
        }
        fail_point::reach("relay: published, no PubAck seen");
        let (mut acked, mut latest, mut refused) =
            (Vec::with_capacity(rows.len()), Acknowledged::default(), None);
        while let Some((row, answer)) = in_flight.next().await {
            match answer {
                // A PubAck of another stream would mean that ours does not hold the event. `duplicate` counts:
                // the stream already has this very row.
                Ok(ack) if ack.stream == STREAM => {
                    acked.push(row.id);
                    if latest.sequence < ack.sequence {
                        latest = Acknowledged { sequence: ack.sequence, message_id: row.message_id.clone() };
                    }
                }
                Ok(ack) => refused = Some((row, format!("acknowledged by the stream {}", ack.stream))),
                Err(error) => refused = Some((row, error.to_string())),
            }
        }
        if let Some((row, error)) = refused {
            tracing::warn!(order_id = row.order_id, subject = row.subject, error, "event not acknowledged");
        }
        Published { acked, latest, unsendable }
    }
}

/// What became of the rows of one batch; what is in neither list is published again.
struct Published<'a> {
    acked: Vec<i64>,
    latest: Acknowledged,
    /// What can never be a message, and why.
    unsendable: Vec<(&'a outbox::Row, String)>,
}
