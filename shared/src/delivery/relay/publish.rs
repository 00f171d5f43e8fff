//! One batch of rows: published with all their PubAcks in flight at once.

use async_nats::jetstream::Context;
use async_nats::jetstream::context::{PublishAckFuture, PublishErrorKind};
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
    /// What can never be a message, and why.
    pub unsendable: Vec<(&'a Row, String)>,
}

/// Publishes these rows in their order, and waits for the PubAcks.
pub(super) async fn publish<'a>(context: &Context, service: &str, rows: &'a [Row]) -> Published<'a> {
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
        match answer {
            // A PubAck of another stream would mean that ours does not hold the event. `duplicate` counts:
            // the stream already has this very row.
            Ok(ack) if ack.stream == STREAM => {
                published.acknowledged.push(row.id);
                if published.latest.sequence < ack.sequence {
                    let message_id = row.message_id.clone();
                    published.latest = Acknowledged { sequence: ack.sequence, message_id };
                }
            }
            Ok(ack) => refused = Some((row, format!("acknowledged by the stream {}", ack.stream))),
            Err(error) => refused = Some((row, error.to_string())),
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
