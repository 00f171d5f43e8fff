//! Publishing at the model, and what becomes of each message.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use shared::broker::jetstream::ANSWERED_WITHIN;
use shared::broker::stream::{NotPublished, Outgoing, PubAck, Publisher};
use shared::clock::simulated::{park, true_ms};
use shared::clock::sleep;
use shared::contract::subjects::{ORDER_CREATED, STREAM};
use shared::fail_point;

use super::fault::Fault;
use super::seat::Seat;
use crate::simulation::mutants::Mutant;

impl Publisher for Seat {
    fn publish(&mut self, messages: Vec<Outgoing>) -> BoxFuture<'_, Vec<Result<PubAck, NotPublished>>> {
        async move {
            park().await;
            let mut places: Vec<usize> = (0..messages.len()).collect();
            if places.len() > 1 && self.model.strikes(Fault::Reordered) {
                places.reverse();
            }
            let mut answers = vec![Err(NotPublished::Now("no answer".to_owned())); messages.len()];
            for place in places {
                answers[place] = self.publish_one(&messages[place]);
                if self.is(Mutant::PubAckNotAwaited) && answers[place].is_err() {
                    answers[place] =
                        Ok(PubAck { stream: STREAM.to_owned(), sequence: 0, is_duplicate: true });
                }
            }
            self.model.notify_pulls();
            fail_point::reach("relay: published, no PubAck seen");
            if answers.iter().any(Result::is_err) {
                // So long the last PubAck is waited for.
                sleep(ANSWERED_WITHIN).await;
            } else {
                park().await;
            }
            answers
        }
        .boxed()
    }
}

impl Seat {
    fn publish_one(&self, message: &Outgoing) -> Result<PubAck, NotPublished> {
        let about = self.model.timeline.about(message);
        let lost = |what: &str| {
            self.tell(|| format!("publishes {about}: {what}"));
            Err(NotPublished::Now("no answer".to_owned()))
        };
        if self.connection().is_none() || self.model.strikes(Fault::PublishLost) {
            return lost("it does not arrive");
        }
        let is_doubled = self.model.strikes(Fault::PublishedTwice);
        let message = &self.as_sent(message);
        let mut state = self.model.state();
        let (event, id) = (header(message, "ce-id"), header(message, "Nats-Msg-Id"));
        state.note_sending(event, id);
        let Some(log) = &mut state.log else {
            drop(state);
            return lost("no stream takes it");
        };
        let ack = log.publish(message, true_ms());
        if is_doubled {
            log.append(message, true_ms());
        }
        drop(state);
        if self.model.strikes(Fault::PubAckLost) {
            return lost(&format!("stored as {}, and its PubAck is lost", ack.sequence));
        }
        if message.subject == ORDER_CREATED {
            self.model.state().acked.insert(ack.sequence, header(message, "ce-subject"));
        }
        let how = if ack.is_duplicate { "a duplicate of" } else { "stored as" };
        let doubled = if is_doubled { " and once more" } else { "" };
        self.tell(|| format!("publishes {about}: {how} {}{doubled}", ack.sequence));
        Ok(ack)
    }

    fn as_sent(&self, message: &Outgoing) -> Outgoing {
        let Outgoing { subject, mut headers, body } = message.clone();
        if self.is(Mutant::OneIdForAll) {
            headers.insert("Nats-Msg-Id", header(message, "ce-id"));
        }
        Outgoing { subject, headers, body }
    }
}

fn header(message: &Outgoing, name: &str) -> String {
    message.headers.get(name).map(ToString::to_string).unwrap_or_default()
}
