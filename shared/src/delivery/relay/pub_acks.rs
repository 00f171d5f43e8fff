//! PubAcks, all through one subscription: a request for each event would cost a timer and a channel of its own.
//!
//! The reply subject of an event ends in a number of its own, so that an answer which comes too late, or twice, is
//! never taken for that of another event.

use std::time::Duration;

use anyhow::Result;
use async_nats::client::PublishError;
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::response::Response;
use async_nats::{Client, HeaderMap, Message, StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::timeout;

/// A PubAck that comes no later than this after the one before it is waited for.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// Publishes events, and receives the stream's answers.
pub(super) struct PubAcks {
    client: Client,
    answers: Subscriber,
    inbox: String,
    /// The number of the next event.
    pub next: u64,
}

impl PubAcks {
    /// Answers come as long as the client lives, also over lost connections.
    pub async fn open(client: Client) -> Result<Self> {
        let inbox = client.new_inbox();
        let answers = client.subscribe(format!("{inbox}.*")).await?;
        Ok(Self { client, answers, inbox, next: 0 })
    }

    /// Hands an event to the client under the number [`PubAcks::next`].
    pub async fn publish(
        &mut self,
        subject: String,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(), PublishError> {
        let reply = format!("{}.{}", self.inbox, self.next);
        self.client.publish_with_reply_and_headers(subject, reply, headers, body).await?;
        self.next += 1;
        Ok(())
    }

    /// The next answer, with the number of its event: a PubAck, or why there is none. `None` when nothing comes.
    pub async fn answer(&mut self) -> Option<(u64, Result<PublishAck, String>)> {
        loop {
            let message = timeout(ANSWERED_WITHIN, self.answers.next()).await.ok()??;
            if let Some(number) = message.subject.rsplit('.').next().and_then(|number| number.parse().ok()) {
                return Some((number, read(&message)));
            }
        }
    }
}

fn read(message: &Message) -> Result<PublishAck, String> {
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return Err("no stream takes this subject".to_owned());
    }
    match serde_json::from_slice(&message.payload) {
        Ok(Response::Ok(ack)) => Ok(ack),
        Ok(Response::Err { error }) => Err(error.to_string()),
        Err(error) => Err(format!("the answer is no PubAck: {error}")),
    }
}
