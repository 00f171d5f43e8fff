//! Trouble that travels as messages: what the stream holds again, and what can never succeed.
//!
//! All of it goes through the real broker as the service's own user, so its permissions hold here, too.

use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::{Context as _, Result};
use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::Stream;
use bytes::Bytes;
use fastrand::Rng;
use futures_util::future::try_join_all;
use processes::raw_nats::{MALFORMED_HEADERS, RawConnection};
use processes::{broker, poll};
use serde_json::json;
use shared::broker::jetstream::stored;
use shared::contract::status::Status;
use shared::contract::subjects::{ORDER_CREATED, ORDER_PROCESSED, STREAM};
use uuid::Uuid;

use crate::load::Order;

/// Messages that are picked for one fault; each is published 2–5 times.
const PICKED: usize = 100;

const COPIES: RangeInclusive<usize> = 2..=5;

/// A stream that was wiped is provisioned again by the services within this time.
const STREAM_WITHIN: Duration = Duration::from_secs(10);

const PUBACK: Duration = Duration::from_secs(10);

/// So many kinds of malformed header blocks are sent; the next one takes seconds where no quiet one comes.
const KINDS_SENT: usize = 10;

/// A message that must end as a dead letter, and as nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poison {
    /// Where it is published; the service that consumes it keeps the dead letter.
    pub subject: &'static str,
    pub body: Bytes,
    pub reason: &'static str,
}

/// Publishes messages of the stream again under fresh ids, shuffled: the newest, and as many from anywhere in
/// it, which the broker's duplicate window has long forgotten. Returns how many.
pub async fn duplicate(nats_url: &str, rng: &mut Rng) -> Result<usize> {
    let [order, inventory] = [connect(nats_url, "order").await?, connect(nats_url, "inventory").await?];
    let stream = stream(&order).await?;
    let state = stream.cached_info().state.clone();
    let (first, last) = (state.first_sequence.max(1), state.last_sequence);
    if last < first {
        return Ok(0);
    }
    let newest = (first..=last).rev().take(PICKED / 2);
    let picked: Vec<u64> = newest.chain((0..PICKED / 2).map(|_| rng.u64(first..=last))).collect();
    let mut copies = Vec::new();
    for sequence in picked {
        // A malformed header block would cost this client its connection; such a message is poison anyway.
        let stored = stored::find(&order, sequence).await.context("cannot read the stream's messages")?;
        if stored.is_some_and(|message| message.check_headers().is_ok()) {
            copies.extend(vec![stream.get_raw_message(sequence).await?; rng.usize(COPIES)]);
        }
    }
    rng.shuffle(&mut copies);
    let published = copies.iter().map(|message| {
        let as_user = if message.subject.as_str() == ORDER_CREATED { &order } else { &inventory };
        let mut headers = message.headers.clone();
        headers.insert("Nats-Msg-Id", Uuid::new_v4().to_string());
        publish(as_user, message.subject.to_string(), message.payload.clone(), headers)
    });
    Ok(try_join_all(published).await?.len())
}

/// Publishes one poison message of each kind and returns them; some need a real order.
pub async fn poison(nats_url: &str, real: Option<&Order>, rng: &mut Rng) -> Result<Vec<Poison>> {
    let poison = make_poison(real, &format!("{:016x}", rng.u64(..)));
    let [order, inventory] = [connect(nats_url, "order").await?, connect(nats_url, "inventory").await?];
    // Its stream must be there: without one, there is nobody to acknowledge.
    stream(&order).await?;
    let published = poison.iter().map(|poison| {
        let as_user = if poison.subject == ORDER_CREATED { &order } else { &inventory };
        publish(as_user, poison.subject.to_owned(), poison.body.clone(), HeaderMap::new())
    });
    try_join_all(published).await?;
    Ok(poison)
}

/// Publishes a good body with each malformed header block on both subjects, and returns them: they must be
/// set aside although their bodies are sound, since nobody can tell what their headers said.
pub async fn malformed(nats_url: &str, rng: &mut Rng) -> Result<Vec<Poison>> {
    // Its stream must be there: without one, there is nobody to acknowledge.
    stream(&connect(nats_url, "order").await?).await?;
    let unique = format!("{:016x}", rng.u64(..));
    let mut sent = Vec::new();
    for (user, subject) in [("order", ORDER_CREATED), ("inventory", ORDER_PROCESSED)] {
        let mut connection = RawConnection::open(nats_url, user).await?;
        for (number, header) in MALFORMED_HEADERS[..KINDS_SENT].iter().enumerate() {
            let id = format!("malformed-{unique}-{number}");
            let body = Bytes::from(if subject == ORDER_CREATED { created(&id, 1) } else { confirmed(&id) });
            connection.publish(subject, header, &body).await?;
            sent.push(Poison { subject, body, reason: "invalid_headers" });
        }
    }
    Ok(sent)
}

fn make_poison(real: Option<&Order>, unique: &str) -> Vec<Poison> {
    let id = format!("poison-{unique}");
    let mut all = vec![
        (ORDER_CREATED, format!("garbage {unique}"), "invalid_event"),
        (ORDER_CREATED, json!({"order": {"id": id}}).to_string(), "invalid_event"),
        (ORDER_CREATED, created(&id, 1_000_000_000_000), "invalid_event"),
        (ORDER_CREATED, created(&format!("{id}\n"), 1), "invalid_event"),
        (ORDER_PROCESSED, format!("garbage {unique}"), "invalid_event"),
        (ORDER_PROCESSED, confirmed(&format!("{id}\r")), "invalid_event"),
        (ORDER_PROCESSED, confirmed(&id), "unknown_order"),
    ];
    if let Some(Order { id, product_id, quantity, status }) = real {
        let repeat =
            json!({"orderId": id, "productId": product_id, "quantity": quantity + 1, "poison": unique});
        let mut answer = json!({"orderId": id, "status": "confirmed", "poison": unique});
        if *status == Status::Confirmed {
            answer["status"] = "cancelled".into();
            answer["reason"] = "unknown_product".into();
        }
        all.push((ORDER_CREATED, repeat.to_string(), "conflicting_repeat"));
        all.push((ORDER_PROCESSED, answer.to_string(), "conflicting_result"));
    }
    all.into_iter().map(|(subject, body, reason)| Poison { subject, body: body.into(), reason }).collect()
}

fn created(id: &str, quantity: i64) -> String {
    json!({"orderId": id, "productId": "1", "quantity": quantity}).to_string()
}

fn confirmed(id: &str) -> String {
    json!({"orderId": id, "status": "confirmed"}).to_string()
}

pub(super) async fn connect(nats_url: &str, user: &str) -> Result<Context> {
    let client =
        broker::options(user).connect(nats_url).await.with_context(|| format!("cannot connect as {user}"))?;
    Ok(ContextBuilder::new().timeout(PUBACK).build(client))
}

pub(super) async fn stream(context: &Context) -> Result<Stream> {
    let mut last = None;
    let stream = poll(STREAM_WITHIN, Duration::from_millis(50), async || {
        context.get_stream(STREAM).await.map_err(|error| last = Some(error)).ok()
    });
    match stream.await {
        Some(stream) => Ok(stream),
        None => Err(last.context("it was never asked for")?).context("there is no stream"),
    }
}

async fn publish(context: &Context, subject: String, body: Bytes, headers: HeaderMap) -> Result<()> {
    let message = PublishMessage::build().headers(headers).payload(body);
    context.send_publish(subject, message).await?.await.context("no PubAck for a message of the fault")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use shared::contract::events::{EventBody, OrderCreated, OrderProcessed};

    use super::*;

    #[test]
    fn every_poison_breaks_its_rule_and_has_a_body_of_its_own() {
        let (id, product_id) = ("a".to_owned(), "1".to_owned());
        let real = Order { id, product_id, quantity: 2, status: Status::Confirmed };
        let mut bodies = Vec::new();
        for poison in make_poison(Some(&real), "1").into_iter().chain(make_poison(Some(&real), "2")) {
            let decoded = match poison.subject {
                ORDER_CREATED => OrderCreated::decode(&poison.body).map(drop),
                _ => OrderProcessed::decode(&poison.body).map(drop),
            };
            assert_eq!(decoded.is_err(), poison.reason == "invalid_event", "{poison:?}");
            bodies.push((poison.subject, poison.body));
        }
        let all = bodies.len();
        bodies.sort();
        bodies.dedup();
        assert_eq!((all, bodies.len()), (18, 18));
    }
}
