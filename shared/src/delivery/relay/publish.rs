//! Batches of the outbox: published with all their PubAcks in flight at once.

use async_nats::client::PublishErrorKind;
use async_nats::jetstream::publish::PublishAck;

use super::message;
use super::pub_acks::PubAcks;
use super::unsendable::Unsendable;
use crate::broker::stream_memory::Acknowledged;
use crate::contract::subjects::STREAM;
use crate::delivery::outbox::{Batch, Enqueued};
use crate::fail_point;

/// What became of some batches. A batch of which one event was not acknowledged is published again as a whole.
#[derive(Default)]
pub(super) struct Published<'a> {
    /// The batches that ended, of which every event was acknowledged or can never be a message.
    pub ended: Vec<i64>,
    /// Events in them that can never be a message, and why.
    pub unsendable: Vec<Unsendable<'a>>,
    /// How many events were acknowledged.
    pub sent: usize,
    /// How many were not, and may still be sent.
    pub kept: usize,
    /// The acknowledgement with the highest sequence.
    pub latest: Acknowledged,
    /// The stream used a sequence again that it had acknowledged before, so it has lost messages.
    pub is_truncated: bool,
}

impl Published<'_> {
    /// Takes note of what the broker answered; the reason why an event is not acknowledged by it.
    fn note(&mut self, event: &Enqueued, ack: &PublishAck, acked_sequence: u64) -> Result<(), String> {
        if ack.stream != STREAM {
            // Ours does not hold the event.
            return Err(format!("acknowledged by the stream {}", ack.stream));
        }
        // A duplicate has its old sequence: the stream already has this very event of this batch.
        if !ack.duplicate && ack.sequence <= acked_sequence {
            // The client reaches a broker that came back older before anybody hears of it.
            self.is_truncated = true;
            return Err(format!("acknowledged by the sequence {}, which is used again", ack.sequence));
        }
        self.sent += 1;
        if self.latest.sequence < ack.sequence {
            self.latest = Acknowledged { sequence: ack.sequence, message_id: event.message_id.clone() };
        }
        Ok(())
    }
}

/// Publishes these batches in their order, and waits for the PubAcks. `acked_sequence` is the highest one that
/// the stream has acknowledged so far.
pub(super) async fn publish<'a>(
    pub_acks: &mut PubAcks,
    service: &str,
    acked_sequence: u64,
    batches: &'a [Batch],
) -> Published<'a> {
    fail_point::reach("relay: rows read, nothing published");
    let mut published = Published::default();
    let mut sent = send(pub_acks, service, batches).await;
    fail_point::reach("relay: published, no PubAck seen");
    sent.receive(pub_acks, |event, ack| published.note(event, ack, acked_sequence)).await;
    let Sent { left, unsendable, .. } = sent;
    published.kept = left.iter().sum();
    let ended = batches.iter().zip(&left).filter(|(_, left)| **left == 0);
    published.ended = ended.map(|(batch, _)| batch.id).collect();
    // In a batch that is published again they are found again.
    let ended = unsendable.into_iter().filter(|(place, ..)| left[*place] == 0);
    published.unsendable = ended.map(|(_, event, why)| (event, why)).collect();
    published
}

/// The events of some batches, each with the place of its batch.
struct Sent<'a> {
    /// The number of the first event in flight.
    first: u64,
    /// Those that the client has, in the order of their numbers, until they are answered.
    in_flight: Vec<Option<(usize, &'a Enqueued)>>,
    /// Those that can never be a message, and why.
    unsendable: Vec<(usize, &'a Enqueued, String)>,
    /// How many of each batch are neither acknowledged nor unsendable.
    left: Vec<usize>,
}

/// Hands the events to the client, up to the first that it does not take at present.
async fn send<'a>(pub_acks: &mut PubAcks, service: &str, batches: &'a [Batch]) -> Sent<'a> {
    let left = batches.iter().map(|batch| batch.events.len()).collect();
    let mut sent = Sent { first: pub_acks.next, in_flight: Vec::new(), unsendable: Vec::new(), left };
    for (place, batch) in batches.iter().enumerate() {
        for event in &batch.events {
            match hand_over(pub_acks, service, event).await {
                Ok(()) => sent.in_flight.push(Some((place, event))),
                Err(NotSent::Never(why)) => {
                    sent.left[place] -= 1;
                    sent.unsendable.push((place, event, why));
                }
                Err(NotSent::Now(error)) => {
                    tracing::warn!(order_id = event.order_id, error, "event not handed to the broker");
                    return sent;
                }
            }
        }
    }
    sent
}

impl<'a> Sent<'a> {
    /// Waits for the PubAcks, as long as any come. `note` says why one does not acknowledge its event.
    async fn receive(
        &mut self,
        pub_acks: &mut PubAcks,
        mut note: impl FnMut(&Enqueued, &PublishAck) -> Result<(), String>,
    ) {
        let (mut waiting, mut refused) = (self.in_flight.len(), None);
        while waiting > 0 {
            let Some((number, answer)) = pub_acks.answer().await else { break };
            let Some((place, event)) = self.take(number) else { continue };
            waiting -= 1;
            match answer.and_then(|ack| note(event, &ack)) {
                Ok(()) => self.left[place] -= 1,
                Err(error) => refused = Some((event, error)),
            }
        }
        let unanswered = || Some((self.in_flight.iter().flatten().next()?.1, "no answer".to_owned()));
        if let Some((event, error)) = refused.or_else(unanswered) {
            let Enqueued { order_id, subject, .. } = event;
            tracing::warn!(order_id, subject, error, "event not acknowledged");
        }
    }

    /// The event in flight with this number; `None` for one that was answered, or was in flight before.
    fn take(&mut self, number: u64) -> Option<(usize, &'a Enqueued)> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.in_flight.get_mut(index)?.take()
    }
}

enum NotSent {
    Never(String),
    Now(String),
}

async fn hand_over(pub_acks: &mut PubAcks, service: &str, event: &Enqueued) -> Result<(), NotSent> {
    let (headers, why) = message::headers(event, service);
    if let Some(why) = why {
        return Err(NotSent::Never(why));
    }
    let handed = pub_acks.publish(event.subject.clone(), headers, event.body.clone().into()).await;
    handed.map_err(|error| match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => NotSent::Never(error.to_string()),
        _ => NotSent::Now(error.to_string()),
    })
}
