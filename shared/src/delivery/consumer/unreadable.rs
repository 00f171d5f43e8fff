//! Messages that were delivered and never arrived, because the client cannot read their headers.
//!
//! The client gives up the connection at such a message, or ends the pull, before anybody could acknowledge
//! it. So once deliveries were lost, what the consumer still owes is inspected where it is stored. What is
//! unreadable becomes a dead letter `invalid_headers`, terminated by its sequence; all else stays as it is.

use std::time::Duration;

use anyhow::{Context as _, Error, Result};
use async_nats::HeaderMap;
use async_nats::jetstream::AckKind;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::acknowledge::{acknowledge_by_sequence, report_dead_letter};
use super::pull::PULL_EXPIRES;
use crate::broker::Broker;
use crate::broker::stored_message::StoredMessage;
use crate::broker::stream::{ConsumerState, Durable};
use crate::clock::{Instant, sleep, timeout};
use crate::delivery::dead_letter::store;
use crate::delivery::handler::Never;
use crate::delivery::message::Delivery;
use crate::storage::Database;

/// The one header of such a dead letter, also in a redrive: the whole block that could not be read.
const UNREADABLE_HEADERS: &str = "unreadable-headers-base64";
/// Messages inspected, and set aside in one transaction, at most.
const WINDOW: u64 = 1_000;
/// How long the broker may take to say what is owed.
pub(super) const ANSWERED_WITHIN: Duration = Duration::from_millis(200);
/// The broker takes note of an acknowledgement in this time.
const NOTED_WITHIN: Duration = Duration::from_millis(5);
/// Requests for stored messages under way at once.
const IN_FLIGHT: usize = 64;

/// Sets unreadable messages of a durable consumer aside.
pub(super) struct Unreadable<'a> {
    pub database: &'a Database,
    pub broker: &'a Broker,
}

/// An unreadable message, and why it is.
type Found = (StoredMessage, String);

impl Unreadable<'_> {
    /// Sets aside what is unreadable of what was delivered and is not acknowledged as `consumer` was seen, as far as it
    /// is `behind` this sequence. Whether there was any; what was lost with it is then delivered again at
    /// once, and the broker goes on counting its deliveries.
    pub async fn set_aside_owed(&self, consumer: &ConsumerState, behind: u64) -> Result<bool> {
        let last = consumer.delivered;
        let (mut from, mut found, mut lost) = (consumer.ack_floor.max(behind) + 1, false, Vec::new());
        while from <= last {
            let to = last.min(from + WINDOW - 1);
            let (unreadable, readable) = self.inspect(from, to).await?;
            self.store(&unreadable).await?;
            let sequences = unreadable.iter().map(|(message, _)| message.sequence);
            acknowledge_by_sequence(self.broker, consumer, sequences, AckKind::Term).await?;
            found |= !unreadable.is_empty();
            lost.extend(readable);
            from = to + 1;
        }
        if found {
            acknowledge_by_sequence(self.broker, consumer, lost.into_iter(), AckKind::Nak(None)).await?;
        }
        Ok(found)
    }

    /// Sets aside the unreadable messages that hold the ack floor back, up to the first that can be read, which
    /// comes again by itself. Needs no quiet moment: what is readable behind the floor may be long handled.
    ///
    /// Takes no longer than a pull. A broker whose answers are late is asked again another time.
    pub async fn set_aside_at_the_floor(&self, durable: &dyn Durable) -> Result<()> {
        let (started, mut behind) = (Instant::now(), 0);
        while started.elapsed() < PULL_EXPIRES {
            let Ok(found) = timeout(ANSWERED_WITHIN, self.unreadable_at_the_floor(durable, behind)).await
            else {
                break;
            };
            let Some((consumer, unreadable)) = found? else { break };
            behind = unreadable.0.sequence;
            self.store(&[unreadable]).await?;
            acknowledge_by_sequence(self.broker, &consumer, [behind].into_iter(), AckKind::Term).await?;
            // The floor moves once the broker has taken note.
            sleep(NOTED_WITHIN).await;
        }
        Ok(())
    }

    /// The first message that is owed and `behind` this sequence, if it cannot be read, with the reason.
    async fn unreadable_at_the_floor(
        &self,
        durable: &dyn Durable,
        behind: u64,
    ) -> Result<Option<(ConsumerState, Found)>> {
        let consumer = durable.state().await?;
        if consumer.unacknowledged == 0 {
            return Ok(None);
        }
        let (stream, from) = (self.broker.stream(), consumer.ack_floor.max(behind) + 1);
        let found = stream.next_of(self.broker.ownership.subject, from).await?;
        Ok(found.filter(|message| message.sequence <= consumer.delivered).and_then(|message| {
            let why = message.check_headers().err()?;
            Some((consumer, (message, why)))
        }))
    }

    /// The messages of this subject in a range of sequences: the unreadable ones, and the others' sequences.
    async fn inspect(&self, from: u64, to: u64) -> Result<(Vec<Found>, Vec<u64>)> {
        let (broker, subject) = (self.broker.stream(), self.broker.ownership.subject);
        let stored: Vec<Option<StoredMessage>> = stream::iter(from..=to)
            .map(|sequence| broker.message(sequence))
            .buffered(IN_FLIGHT)
            .try_collect()
            .await?;
        let (mut unreadable, mut readable) = (Vec::new(), Vec::new());
        for message in stored.into_iter().flatten().filter(|message| message.subject == subject) {
            match message.check_headers() {
                Ok(()) => readable.push(message.sequence),
                Err(why) => unreadable.push((message, why)),
            }
        }
        Ok((unreadable, readable))
    }

    async fn store(&self, messages: &[Found]) -> Result<()> {
        if messages.is_empty() {
            return Ok(());
        }
        let letters: Vec<_> = messages.iter().map(|(message, why)| dead_letter_of(message, why)).collect();
        let stored = self.database.write(|mut tx| async {
            for (delivery, never) in &letters {
                store::insert(&mut tx, delivery, never).await?;
            }
            Ok((tx, ()))
        });
        stored.await.map_err(Error::from).context("set unreadable messages aside")?;
        for (delivery, never) in &letters {
            report_dead_letter(self.broker.ownership.consumer, delivery, never);
        }
        Ok(())
    }
}

fn dead_letter_of(message: &StoredMessage, why: &str) -> (Delivery, Never) {
    let mut headers = HeaderMap::new();
    headers.insert(UNREADABLE_HEADERS, BASE64_STANDARD.encode(&message.headers));
    let delivery = Delivery {
        subject: message.subject.clone(),
        body: message.body.clone().into(),
        headers: Some(headers),
        attempt: 1,
    };
    (delivery, Never { reason: "invalid_headers", detail: why.to_owned() })
}
