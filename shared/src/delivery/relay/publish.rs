//! Batches of the outbox: published with all their PubAcks in flight at once.

use super::message;
use super::unsendable::Unsendable;
use crate::broker::stream::{NotPublished, Outgoing, PubAck, Publisher};
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
    fn note(&mut self, event: &Enqueued, ack: &PubAck, acked_sequence: u64) -> Result<(), NotPublished> {
        if ack.stream != STREAM {
            // Ours does not hold the event.
            return Err(NotPublished::Now(format!("acknowledged by the stream {}", ack.stream)));
        }
        // A duplicate has its old sequence: the stream already has this very event of this batch.
        if !ack.is_duplicate && ack.sequence <= acked_sequence {
            // The client reaches a broker that came back older before anybody hears of it.
            self.is_truncated = true;
            let why = format!("acknowledged by the sequence {}, which is used again", ack.sequence);
            return Err(NotPublished::Now(why));
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
    publisher: &mut dyn Publisher,
    service: &str,
    acked_sequence: u64,
    batches: &'a [Batch],
) -> Published<'a> {
    fail_point::reach("relay: rows read, nothing published");
    let mut published = Published::default();
    let Sent { messages, in_flight, mut unsendable } = messages(service, batches);
    let (mut left, mut refused) = (vec![0; batches.len()], None);
    for ((place, event), answer) in in_flight.into_iter().zip(publisher.publish(messages).await) {
        match answer.and_then(|ack| published.note(event, &ack, acked_sequence)) {
            Ok(()) => {}
            Err(NotPublished::Never(why)) => unsendable.push((place, event, why)),
            Err(NotPublished::Now(why)) => {
                left[place] += 1;
                refused = Some((event, why));
            }
        }
    }
    if let Some((Enqueued { order_id, subject, .. }, error)) = refused {
        tracing::warn!(order_id, subject, error, "event not acknowledged");
    }
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
    messages: Vec<Outgoing>,
    /// What `messages` are made of.
    in_flight: Vec<(usize, &'a Enqueued)>,
    /// Those that can never be a message, and why.
    unsendable: Vec<(usize, &'a Enqueued, String)>,
}

fn messages<'a>(service: &str, batches: &'a [Batch]) -> Sent<'a> {
    let (mut messages, mut in_flight, mut unsendable) = (Vec::new(), Vec::new(), Vec::new());
    let places = batches.iter().enumerate();
    for (place, event) in places.flat_map(|(place, batch)| batch.events.iter().map(move |one| (place, one))) {
        let (headers, why) = message::headers(event, service);
        if let Some(why) = why {
            unsendable.push((place, event, why));
            continue;
        }
        let (subject, body) = (event.subject.clone(), event.body.clone().into());
        messages.push(Outgoing { subject, headers, body });
        in_flight.push((place, event));
    }
    Sent { messages, in_flight, unsendable }
}
