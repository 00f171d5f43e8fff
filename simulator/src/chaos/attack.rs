//! The observer with bad intentions: requests that it may send, whose answers it sends where it may not.
//!
//! The broker checks the subject of a request, not its reply subject, and answers with its own rights.

use anyhow::{Result, ensure};
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
    let mut replies: Vec<String> =
        ["PURGE", "DELETE"].iter().map(|verb| format!("$JS.API.STREAM.{verb}.ORDERS")).collect();
    for consumer in [ORDER_CONSUMER, INVENTORY_CONSUMER] {
        for verb in ["DELETE", "RESET", "MSG.NEXT"] {
            replies.push(format!("$JS.API.CONSUMER.{verb}.ORDERS.{consumer}"));
        }
    }
    replies.extend([ORDER_CREATED, ORDER_PROCESSED].map(str::to_owned));
    replies
}

/// Sends every request with every reply subject, and checks that stream and consumers are the same as before.
/// An event that came of it would be found by the audit. Returns how many requests were sent.
pub async fn attack(nats_url: &str) -> Result<usize> {
    let operator = messages::connect(nats_url, "operator").await?;
    let stream = messages::stream(&operator).await?;
    let before = (stream.cached_info().clone(), consumers(&stream).await?);
    let mut observer = RawConnection::open(nats_url, "observer").await?;
    let mut sent = 0;
    for (request, body) in REQUESTS {
        for reply in harmful_replies() {
            observer.request_for(request, &reply, body).await?;
            sent += 1;
        }
    }
    observer.round_trip().await?;
    let stream = messages::stream(&operator).await?;
    unchanged(&before.0, stream.cached_info())?;
    let after = consumers(&stream).await?;
    ensure!(before.1 == after, "the observer changed the consumers: {after:?} instead of {:?}", before.1);
    Ok(sent)
}

fn unchanged(before: &Info, after: &Info) -> Result<()> {
    ensure!(before.created == after.created, "the observer deleted the stream");
    let (first, last) = (before.state.first_sequence, before.state.last_sequence);
    ensure!(after.state.first_sequence == first, "the observer removed messages from the stream");
    ensure!(after.state.last_sequence >= last, "the observer set the stream back");
    Ok(())
}

/// Each consumer with its creation time, which a reset leaves as it is.
async fn consumers(stream: &async_nats::jetstream::stream::Stream) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for name in [ORDER_CONSUMER, INVENTORY_CONSUMER] {
        let info = stream.consumer_info(name).await?;
        found.push((info.name.clone(), info.created.to_string()));
    }
    Ok(found)
}
