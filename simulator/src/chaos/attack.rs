//! The observer with bad intentions: requests that it may send, whose answers it sends where it may not.
//!
//! The broker checks the subject of a request, not its reply subject, and answers with its own rights.

use anyhow::{Result, ensure};
use async_nats::jetstream::Context;
use async_nats::jetstream::stream::Info;
use processes::raw_nats::RawConnection;
use shared::contract::subjects::{INVENTORY_CONSUMER, ORDER_CONSUMER, ORDER_CREATED, ORDER_PROCESSED};

use super::messages;

/// What the observer may ask, or could think of, with a body that has an answer.
const REQUESTS: [(&str, &str); 7] = [
    ("$JS.API.DIRECT.GET.ORDERS", r#"{"seq":999999999}"#),
    ("$JS.API.STREAM.MSG.GET.ORDERS", r#"{"last_by_subj":"order_created"}"#),
    ("$JS.API.STREAM.MSG.GET.ORDERS", r#"{"seq":999999999}"#),
    ("$JS.API.STREAM.INFO.ORDERS", ""),
    ("$JS.API.STREAM.NAMES", ""),
    ("$JS.API.CONSUMER.INFO.ORDERS.inventory-service", ""),
    ("$JS.API.INFO", ""),
];

/// Where an answer would do harm: it would change the stream or a consumer, or become an event.
fn harmful_replies() -> Vec<String> {
    let stream = ["PURGE", "DELETE"].map(|verb| format!("$JS.API.STREAM.{verb}.ORDERS"));
    let consumers = [ORDER_CONSUMER, INVENTORY_CONSUMER].into_iter().flat_map(|consumer| {
        ["DELETE", "RESET", "MSG.NEXT"].map(|verb| format!("$JS.API.CONSUMER.{verb}.ORDERS.{consumer}"))
    });
    let events = [ORDER_CREATED, ORDER_PROCESSED].map(str::to_owned);
    stream.into_iter().chain(consumers).chain(events).collect()
}

/// Sends every request with every reply subject, and checks that stream and consumers are the same as before.
/// An event that came of it would be found by the audit. Returns how many requests were sent.
pub async fn attack(nats_url: &str) -> Result<usize> {
    let operator = messages::connect(nats_url, "operator").await?;
    let (before, consumers_before) = state(&operator).await?;
    let mut observer = RawConnection::open(nats_url, "observer").await?;
    let replies = harmful_replies();
    for (request, body) in REQUESTS {
        for reply in &replies {
            observer.request_for(request, reply, body).await?;
        }
    }
    observer.round_trip().await?;
    let (after, consumers) = state(&operator).await?;
    ensure!(before.created == after.created, "the observer deleted the stream");
    let (first, last) = (before.state.first_sequence, before.state.last_sequence);
    ensure!(after.state.first_sequence == first, "the observer removed messages from the stream");
    ensure!(after.state.last_sequence >= last, "the observer set the stream back");
    ensure!(
        consumers == consumers_before,
        "the observer changed the consumers: {consumers:?} instead of {consumers_before:?}"
    );
    Ok(REQUESTS.len() * replies.len())
}

/// The stream, and each consumer with its creation time, which a reset leaves as it is.
async fn state(operator: &Context) -> Result<(Info, Vec<(String, String)>)> {
    let stream = messages::stream(operator).await?;
    let mut consumers = Vec::new();
    for name in [ORDER_CONSUMER, INVENTORY_CONSUMER] {
        let info = stream.consumer_info(name).await?;
        consumers.push((info.name, info.created.to_string()));
    }
    Ok((stream.cached_info().clone(), consumers))
}
