//! One batch of rows: published with all their PubAcks in flight at once.

use async_nats::jetstream::Context;
use async_nats::jetstream::context::{PublishAckFuture, PublishErrorKind};
use async_nats::jetstream::publish::PublishAck;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::message;
use crate::broker::stream_memory::Acknowledged;
use crate::contract::subjects::STREAM;
use crate::delivery::outbox::Row;
use crate::fail_point;

/// What became of the rows of one batch; what is in neither list is published again.
#[derive(Default)]
pub(super) struct Published<'a> {
    pub acknowledged: Vec<i64>,
    /// The acknowledgement with the highest sequence.
    pub latest: Acknowledged,
    /// The stream used a sequence again that it had acknowledged before, so it has lost messages.
    pub is_truncated: bool,
    /// What can never be a message, and why.
    pub unsendable: Vec<(&'a Row, String)>,
}

impl Published<'_> {
    /// Takes note of what the broker answered; the reason why a row is not acknowledged by it.
    fn note(&mut self, row: &Row, ack: &PublishAck, acked_sequence: u64) -> Result<(), String> {
        if ack.stream != STREAM {
            // Ours does not hold the event.
            return Err(format!("acknowledged by the stream {}", ack.stream));
        }
        // A duplicate has its old sequence: the stream already has this very row.
        if !ack.duplicate && ack.sequence <= acked_sequence {
            // The client reaches a broker that came back older before anybody hears of it.
            self.is_truncated = true;
            return Err(format!("acknowledged by the sequence {}, which is used again", ack.sequence));
        }
        self.acknowledged.push(row.id);
        if self.latest.sequence < ack.sequence {
            self.latest = Acknowledged { sequence: ack.sequence, message_id: row.message_id.clone() };
        }
        Ok(())
    }
}

/// Publishes these rows in their order, and waits for the PubAcks. `acked_sequence` is the highest one that
/// the stream has acknowledged so far.
pub(super) async fn publish<'a>(
    context: &Context,
    service: &str,
    acked_sequence: u64,
    rows: &'a [Row],
) -> Published<'a> {
    fail_point::reach("relay: rows read, nothing published");
    let (mut published, mut in_flight) = (Published::default(), FuturesUnordered::new());
    for row in rows {
        match send(context, service, row).await {
            Sent::InFlight(ack) => in_flight.push(async move { (row, ack.await) }),
            Sent::Never(why) => published.unsendable.push((row, why)),
            Sent::NotNow(error) => {
                tracing::warn!(order_id = row.order_id, error, "event not handed to the broker");
                break;
            }
        }
    }
    fail_point::reach("relay: published, no PubAck seen");
    let mut refused = None;
    while let Some((row, answer)) = in_flight.next().await {
        let noted = answer.map_err(|error| error.to_string());
        if let Err(error) = noted.and_then(|ack| published.note(row, &ack, acked_sequence)) {
            refused = Some((row, error));
        }
    }
    if let Some((row, error)) = refused {
        tracing::warn!(order_id = row.order_id, subject = row.subject, error, "event not acknowledged");
    }
    published
}

enum Sent {
    InFlight(PublishAckFuture),
    Never(String),
    NotNow(String),
}

async fn send(context: &Context, service: &str, row: &Row) -> Sent {
    let message = match message::build(row, service) {
        Ok(message) => message,
        Err(why) => return Sent::Never(why),
    };
    match context.send_publish(row.subject.clone(), message).await {
        Ok(ack) => Sent::InFlight(ack),
        Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => Sent::Never(error.to_string()),
        Err(error) => Sent::NotNow(error.to_string()),
    }
}
