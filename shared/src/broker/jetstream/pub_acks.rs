//! PubAcks, all through one subscription: a request for each event would cost a timer and a channel of its own.
//!
//! The reply subject of an event ends in a number of its own, so that an answer which comes too late, or twice, is
//! never taken for that of another event.

use std::time::Duration;

use anyhow::Result;
use async_nats::client::{PublishError, PublishErrorKind};
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::response::Response;
use async_nats::{Client, Message, StatusCode, Subscriber};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use tokio::time::timeout;

use crate::broker::stream::{NotPublished, Outgoing, PubAck, Publisher};
use crate::fail_point;

/// A PubAck that comes no later than this after the one before it is waited for.
pub const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

type Answer = Result<PubAck, NotPublished>;

/// Publishes events, and receives the stream's answers.
pub(super) struct PubAcks {
    client: Client,
    answers: Subscriber,
    inbox: String,
    /// The number of the next event.
    next: u64,
}

impl PubAcks {
    /// Answers come as long as the client lives, also over lost connections.
    pub async fn open(client: Client) -> Result<Self> {
        let inbox = client.new_inbox();
        let answers = client.subscribe(format!("{inbox}.*")).await?;
        Ok(Self { client, answers, inbox, next: 0 })
    }

    /// Hands the events to the client, up to the first that it does not take at present. What has its answer already was not
    /// handed over.
    async fn send(&mut self, messages: Vec<Outgoing>) -> Vec<Option<Answer>> {
        let (mut answers, mut is_closed) = (Vec::with_capacity(messages.len()), false);
        for message in messages {
            let answer = match is_closed {
                true => Some(NotPublished::Now("not handed over".to_owned())),
                false => self.hand_over(message).await.err().map(not_published),
            };
            is_closed |= matches!(answer, Some(NotPublished::Now(_)));
            answers.push(answer.map(Err));
            self.next += 1;
        }
        answers
    }

    async fn hand_over(&self, message: Outgoing) -> Result<(), PublishError> {
        let Outgoing { subject, headers, body } = message;
        let reply = format!("{}.{}", self.inbox, self.next);
        self.client.publish_with_reply_and_headers(subject, reply, headers, body).await
    }

    /// Waits for the answers that are missing, of the events from the number `first` on, as long as any come.
    async fn receive(&mut self, first: u64, answers: &mut [Option<Answer>]) {
        let mut missing = answers.iter().filter(|answer| answer.is_none()).count();
        while missing > 0 {
            let Ok(Some(message)) = timeout(ANSWERED_WITHIN, self.answers.next()).await else { break };
            // None of one that was in flight before, and none that was answered.
            if let Some(answer @ None) = place(&message, first).and_then(|place| answers.get_mut(place)) {
                *answer = Some(read(&message));
                missing -= 1;
            }
        }
    }
}

impl Publisher for PubAcks {
    fn publish(&mut self, messages: Vec<Outgoing>) -> BoxFuture<'_, Vec<Answer>> {
        async {
            let first = self.next;
            let mut answers = self.send(messages).await;
            fail_point::reach("relay: published, no PubAck seen");
            self.receive(first, &mut answers).await;
            let no_answer = || Err(NotPublished::Now("no answer".to_owned()));
            answers.into_iter().map(|answer| answer.unwrap_or_else(no_answer)).collect()
        }
        .boxed()
    }
}

fn not_published(error: PublishError) -> NotPublished {
    match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => NotPublished::Never(error.to_string()),
        _ => NotPublished::Now(error.to_string()),
    }
}

/// Which event it answers, counted from the number `first` on.
fn place(message: &Message, first: u64) -> Option<usize> {
    let number: u64 = message.subject.rsplit('.').next()?.parse().ok()?;
    usize::try_from(number.checked_sub(first)?).ok()
}

fn read(message: &Message) -> Answer {
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return Err(NotPublished::Now("no stream takes this subject".to_owned()));
    }
    match serde_json::from_slice(&message.payload) {
        Ok(Response::Ok(PublishAck { stream, sequence, duplicate, .. })) => {
            Ok(PubAck { stream, sequence, is_duplicate: duplicate })
        }
        Ok(Response::Err { error }) => Err(NotPublished::Now(error.to_string())),
        Err(error) => Err(NotPublished::Now(format!("the answer is no PubAck: {error}"))),
    }
}
