//! What a service asks of the broker, answered from the model.

use anyhow::{Context as _, Result, ensure};
use async_nats::jetstream::AckKind;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, pending};
use shared::broker::stored_message::StoredMessage;
use shared::broker::stream::{
    Answer, ConsumerState, Durable, Metadata, Publisher, Stream, StreamState, Token,
};
use shared::clock::rfc3339;
use shared::clock::simulated::{park, true_ms};
use shared::contract::subjects::STREAM;

use super::deliveries::Consumer;
use super::fault::Fault;
use super::log::Log;
use super::pulling::DurableSeat;
use super::seat::Seat;
use crate::simulation::mutants::Mutant;

impl Stream for Seat {
    fn server_version(&self) -> String {
        "the model".to_owned()
    }

    fn provision(&self) -> Answer<'_, StreamState> {
        async {
            self.arrive("look up the stream").await?;
            let mut state = self.model.state();
            if state.log.is_none() {
                state.streams += 1;
                let created = format!("{} as stream {}", rfc3339(true_ms()), state.streams);
                state.log = Some(Log::new(created));
                self.tell(|| "creates the stream".to_owned());
            }
            Ok(state.log.as_ref().context("there is no stream")?.state())
        }
        .boxed()
    }

    fn state(&self) -> Answer<'_, StreamState> {
        self.read("look up the stream", |_, log| log.state()).boxed()
    }

    fn message(&self, sequence: u64) -> Answer<'_, Option<StoredMessage>> {
        self.read("get a message", move |_, log| log.message(sequence)).boxed()
    }

    fn next_of<'a>(&'a self, subject: &'a str, sequence: u64) -> Answer<'a, Option<StoredMessage>> {
        self.read("get the next message", move |_, log| log.message(log.next_of(subject, sequence)?)).boxed()
    }

    fn consumer<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Box<dyn Durable>>> {
        async move {
            let mut seen = self.look_up(name).await?;
            if self.is(Mutant::NothingOwed) && self.side.consumer() != name {
                seen = seen.map(|seen| ConsumerState { unacknowledged: 0, undelivered: 0, ..seen });
            }
            if self.is(Mutant::OwnerNotSeen) {
                seen = seen.map(|seen| ConsumerState { metadata: Metadata::default(), ..seen });
            }
            Ok(seen.map(|seen| self.durable(seen)))
        }
        .boxed()
    }

    fn create_consumer<'a>(
        &'a self,
        name: &'a str,
        subject: &'a str,
        metadata: Metadata,
    ) -> Answer<'a, Box<dyn Durable>> {
        async move {
            let created = self.change("creates its consumer", |state, log| {
                if state.consumers.contains_key(name) {
                    return None;
                }
                let subject = if self.is(Mutant::NoFilter) { "" } else { subject };
                state.created += 1;
                let consumer = Consumer::new(state.created, name, subject, metadata, log);
                let seen = consumer.state(log);
                state.consumers.insert(name.to_owned(), consumer);
                Some(seen)
            });
            Ok(self.durable(created.await?.context("there is such a consumer")?))
        }
        .boxed()
    }

    fn publisher(&self) -> Answer<'_, Box<dyn Publisher>> {
        async { Ok(Box::new(self.clone()) as Box<dyn Publisher>) }.boxed()
    }

    fn acknowledge(&self, ends: Vec<(Token, AckKind)>) -> Answer<'_, ()> {
        async move {
            park().await;
            let arrive = match self.connection() {
                None => 0,
                // Those that came behind in the connection.
                Some(_) if self.model.strikes(Fault::AckLost) => ends.len() / 2,
                Some(_) => ends.len(),
            };
            if arrive < ends.len() {
                self.tell(|| format!("{} acknowledgements are lost", ends.len() - arrive));
            }
            for (place, (token, kind)) in ends.into_iter().take(arrive).enumerate() {
                if place > 0 && self.is(Mutant::OnlyFirstAcked) {
                    break;
                }
                let kind = match kind {
                    AckKind::Nak(_) if self.is(Mutant::NakAsTerm) => AckKind::Term,
                    kind => kind,
                };
                let (name, sequence) = read_token(&token)?;
                self.tell(|| format!("{kind:?} {sequence}"));
                if let Some(consumer) = self.model.state().consumers.get_mut(name) {
                    consumer.acknowledge(sequence, kind);
                }
            }
            self.model.notify_pulls();
            Ok(())
        }
        .boxed()
    }

    fn flush(&self) -> Answer<'_, ()> {
        async { Ok(()) }.boxed()
    }

    fn answers(&self) -> BoxFuture<'_, bool> {
        async { self.connection().is_some() }.boxed()
    }

    fn death(&self) -> BoxFuture<'static, ()> {
        pending().boxed()
    }

    fn replace_client(&self) -> Answer<'_, ()> {
        async { Ok(()) }.boxed()
    }
}

impl Seat {
    /// The consumer as it is, or as it was the last time.
    pub(super) async fn look_up(&self, name: &str) -> Result<Option<ConsumerState>> {
        let is_stale = self.model.strikes(Fault::StaleRead);
        let found = self.read("look up a consumer", |state, log| {
            let now = state.consumers.get(name)?.state(log);
            let before = state.seen.insert(name.to_owned(), now.clone());
            Some(before.filter(|_| is_stale).unwrap_or(now))
        });
        found.await
    }

    fn durable(&self, seen: ConsumerState) -> Box<dyn Durable> {
        Box::new(DurableSeat { seat: self.clone(), seen })
    }
}

/// `$JS.ACK.ORDERS.consumer.attempt.sequence.…`
fn read_token(token: &Token) -> Result<(&str, u64)> {
    let parts: Vec<&str> = token.split('.').collect();
    ensure!(parts.len() == 9 && parts[2] == STREAM, "{token} is no token");
    Ok((parts[3], parts[5].parse()?))
}
