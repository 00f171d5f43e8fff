//! What the broker loses, and what it is given twice or by hand.

use std::collections::BTreeMap;

use async_nats::HeaderMap;
use shared::broker::GENERATION_KEY;
use shared::broker::jetstream::MAX_AGE;
use shared::broker::stream::Outgoing;
use shared::clock::simulated::true_ms;
use shared::contract::subjects::ORDER_CREATED;

use super::deliveries::Consumer;
use super::log::Log;
use super::{Loss, Model, State};
use crate::simulation::timeline::Side;

/// What is lost by a stream that ended `before` and ends now with `last`.
fn loss(before: u64, last: u64, acked: u64) -> Loss {
    match () {
        () if acked > last => Loss::Noticed,
        () if before > last => Loss::Newest,
        () => Loss::Nothing,
    }
}

impl Model {
    /// It comes back without anything on its disk.
    pub fn wipe(&self) {
        self.restart("has lost its disk", |state| {
            // Also an empty one: nobody can tell what another one had before.
            let lost = if state.log.is_some() { Loss::Noticed } else { Loss::Nothing };
            state.note_loss(lost);
            (state.log, state.consumers) = Default::default();
        });
    }

    /// It comes back without the messages that it stored last. `acked` is the sequence of the order that the order service
    /// knows to be stored.
    pub fn truncate(&self, count: u64, acked: u64) {
        self.restart(&format!("has lost its last {count} messages"), |state| {
            let Some(log) = &mut state.log else { return };
            let before = log.last;
            log.truncate(count);
            state.consumers.values_mut().for_each(|consumer| consumer.truncate(log.last));
            let lost = loss(before, log.last, acked);
            state.note_loss(lost);
        });
    }

    /// Takes a copy of its disk.
    pub fn copy(&self) {
        self.tell(|| "is copied".to_owned());
        let mut state = self.state();
        state.copy = Some((state.log.clone(), state.consumers.clone()));
    }

    /// It comes back as it was when it was copied.
    pub fn restore(&self, acked: u64) {
        self.restart("is as it was when it was copied", |state| {
            let Some((log, consumers)) = state.copy.clone() else { return };
            let last = |log: &Option<Log>| log.as_ref().map_or(0, |log| log.last);
            state.note_loss(loss(last(&state.log), last(&log), acked));
            let is_known =
                |consumers: &BTreeMap<_, Consumer>| consumers.values().any(|consumer| consumer.is_anothers);
            if is_known(&state.consumers) && !is_known(&consumers) {
                state.note_loss(Loss::Some);
            }
            (state.log, state.consumers) = (log, consumers);
        });
    }

    fn restart(&self, what: &str, change: impl FnOnce(&mut State)) {
        self.tell(|| what.to_owned());
        let was_up = self.is_up();
        Side::ALL.into_iter().for_each(|side| self.disconnect(side));
        change(&mut self.state());
        let mut state = self.state();
        state.was_harmed = true;
        state.acked.clear();
        drop(state);
        if was_up {
            Side::ALL.into_iter().for_each(|side| self.connect(side));
        }
    }

    /// The stream was full: its oldest messages are gone.
    pub fn discard(&self, count: usize) {
        self.tell(|| format!("discards its {count} oldest messages"));
        let mut state = self.state();
        let State { log, consumers, .. } = &mut *state;
        if let Some(log) = log.as_mut().filter(|log| !log.messages.is_empty()) {
            log.discard(count);
            let first = log.state().first_sequence;
            consumers.values_mut().for_each(|consumer| consumer.discard(first));
            state.note_loss(Loss::Some);
        }
    }

    /// What is older than the stream keeps is gone.
    pub fn forget_the_old(&self) {
        let mut state = self.state();
        let Some(log) = &mut state.log else { return };
        let oldest = true_ms() - MAX_AGE.as_millis() as i64;
        let old = log.messages.values().take_while(|message| message.time_ms < oldest).count();
        drop(state);
        if old > 0 {
            self.discard(old);
        }
    }

    /// Somebody publishes this, as a message by hand. Whether there is a stream that takes it.
    pub fn publish_by_hand(&self, subject: &str, body: &str) -> bool {
        self.tell(|| format!("takes by hand {subject} {body}"));
        let message =
            Outgoing { subject: subject.to_owned(), headers: HeaderMap::new(), body: body.to_owned().into() };
        let mut state = self.state();
        state.has_handmade |= subject == ORDER_CREATED;
        let is_taken = state.log.as_mut().map(|log| log.append(&message, true_ms())).is_some();
        drop(state);
        self.notify_pulls();
        is_taken
    }

    /// What a consumer would be given next is gone, and returned.
    pub fn take_next(&self, side: Side) -> Option<Outgoing> {
        let mut state = self.state();
        let State { log, consumers, .. } = &mut *state;
        let (log, consumer) = (log.as_mut()?, consumers.get(side.consumer())?);
        let sequence = log.next_of(side.subject(), consumer.state(log).delivered + 1)?;
        let kept = log.messages.remove(&sequence)?;
        state.note_loss(Loss::Some);
        Some(kept.message)
    }

    /// Some message that it has is published once more, as behind the duplicate window.
    pub fn publish_again(&self, pick: usize) {
        let mut state = self.state();
        let Some(log) = &mut state.log else { return };
        let Some(kept) = log.messages.values().nth(pick % log.messages.len().max(1)) else { return };
        let again = kept.message.clone();
        let sequence = log.append(&again, true_ms());
        state.has_handmade |= again.subject == ORDER_CREATED;
        drop(state);
        self.tell(|| format!("is given {} once more as {sequence}", self.timeline.about(&again)));
        self.notify_pulls();
    }

    /// An operator deletes a consumer.
    pub fn delete_consumer(&self, side: Side) {
        self.tell(|| format!("has lost the consumer of the {side}"));
        let mut state = self.state();
        // Another one begins with the stream, and so delivers all of it again.
        let lost = state.consumers.remove(side.consumer());
        if lost.is_some_and(|consumer| consumer.is_anothers) {
            // Nobody is told any more that the database is an older one.
            state.note_loss(Loss::Some);
        }
        drop(state);
        self.notify_pulls();
    }

    /// The generation of the database whose consumer it is.
    pub fn generation(&self, side: Side) -> Option<i64> {
        self.state().consumers.get(side.consumer())?.metadata.get(GENERATION_KEY)?.parse().ok()
    }

    /// The consumer has served a later state of the database than there is now, or somebody may take it over.
    pub fn is_anothers(&self, side: Side, is_anothers: bool) {
        if let Some(consumer) = self.state().consumers.get_mut(side.consumer()) {
            consumer.is_anothers = is_anothers;
        }
    }
}
