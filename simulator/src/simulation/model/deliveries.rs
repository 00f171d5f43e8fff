//! A durable consumer of the model: what was delivered, and what comes again.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream::AckKind;
use shared::broker::jetstream::ACK_WAIT;
use shared::broker::stream::{ConsumerState, Metadata};
use shared::clock::Instant;

use super::log::Log;

/// A message that was delivered and has no end yet.
#[derive(Debug, Clone, Copy)]
struct Pending {
    /// When it comes again.
    due: Instant,
    attempt: i64,
    /// Which delivery of all the first one was.
    number: u64,
}

/// Up to where all is acknowledged: the number of the delivery, and the sequence of its message.
#[derive(Debug, Clone, Copy, Default)]
struct Floor {
    number: u64,
    sequence: u64,
}

/// A durable consumer.
#[derive(Debug, Clone)]
pub struct Consumer {
    pub name: String,
    pub subject: String,
    pub metadata: Metadata,
    /// Which one it is of all that there were.
    pub number: u64,
    /// An older state of its database has come back, and nobody has adopted it since.
    pub is_anothers: bool,
    delivered: u64,
    deliveries: u64,
    /// All up to here was acknowledged once.
    acknowledged: u64,
    floor: Floor,
    pending: BTreeMap<u64, Pending>,
}

impl Consumer {
    /// One that begins with the oldest message that there is.
    pub fn new(number: u64, name: &str, subject: &str, metadata: Metadata, log: &Log) -> Self {
        let (name, subject) = (name.to_owned(), subject.to_owned());
        let delivered = log.state().first_sequence.saturating_sub(1);
        let floor = Floor { number: 0, sequence: delivered };
        let (is_anothers, deliveries, acknowledged, pending) = Default::default();
        Self {
            name,
            subject,
            metadata,
            number,
            is_anothers,
            delivered,
            deliveries,
            acknowledged,
            floor,
            pending,
        }
    }

    pub fn state(&self, log: &Log) -> ConsumerState {
        ConsumerState {
            name: self.name.clone(),
            is_paused: false,
            metadata: self.metadata.clone(),
            delivered: self.delivered,
            deliveries: self.deliveries,
            ack_floor: self.floor.sequence,
            unacknowledged: self.pending.len(),
            undelivered: log.count_from(&self.subject, self.delivered + 1),
        }
    }

    /// The sequence and the attempt of what is delivered next: what is due again, then what is new.
    pub fn deliver(&mut self, log: &Log) -> Option<(u64, i64)> {
        let now = Instant::now();
        self.pending.retain(|sequence, _| log.messages.contains_key(sequence));
        let due = self.pending.iter().find(|(_, pending)| pending.due <= now);
        let again = due.map(|(sequence, pending)| (*sequence, pending.attempt + 1, pending.number));
        let new = || Some((log.next_of(&self.subject, self.delivered + 1)?, 1, self.deliveries + 1));
        let (sequence, attempt, number) = again.or_else(new)?;
        self.delivered = self.delivered.max(sequence);
        self.deliveries += 1;
        self.pending.insert(sequence, Pending { due: now + ACK_WAIT, attempt, number });
        Some((sequence, attempt))
    }

    /// Whether it need never be delivered any more.
    pub fn is_done_with(&self, sequence: u64) -> bool {
        sequence <= self.acknowledged
    }

    /// Whether it is still to handle this message.
    pub fn owes(&self, sequence: u64) -> bool {
        sequence > self.delivered || self.pending.contains_key(&sequence)
    }

    /// When the next message comes again.
    pub fn next_due(&self) -> Option<Instant> {
        self.pending.values().map(|pending| pending.due).min()
    }

    pub fn acknowledge(&mut self, sequence: u64, kind: AckKind) {
        match kind {
            AckKind::Nak(delay) => {
                if let Some(pending) = self.pending.get_mut(&sequence) {
                    pending.due = Instant::now() + delay.unwrap_or(Duration::ZERO);
                }
            }
            _ => self.end(sequence),
        }
    }

    /// It is acknowledged, or terminated. The floor does not move before the oldest delivery has ended: below the first
    /// message of a subject it stays at the stream's beginning.
    ///
    /// Source: `processAckMsg` in nats-server 2.14.5.
    fn end(&mut self, sequence: u64) {
        let Some(Pending { number, .. }) = self.pending.remove(&sequence) else { return };
        if self.pending.is_empty() {
            self.floor = Floor { number: self.deliveries, sequence: self.delivered };
        } else if number == self.floor.number + 1 {
            let next = self.pending.range(sequence..).next();
            self.floor = next.map_or(Floor { number, sequence }, |(sequence, next)| Floor {
                number: next.number - 1,
                sequence: sequence - 1,
            });
        }
        self.acknowledged = self.acknowledged.max(self.floor.sequence);
    }

    /// Back to what is not acknowledged, or to the sequence `from`.
    pub fn reset(&mut self, from: Option<u64>) {
        self.delivered = from.map_or(self.floor.sequence, |from| from.saturating_sub(1));
        self.floor = Floor { number: 0, sequence: self.delivered };
        self.deliveries = 0;
        self.pending.clear();
    }

    /// The stream has lost all messages before this one. What was delivered of them counts as acknowledged.
    pub fn discard(&mut self, first: u64) {
        let kept = self.pending.split_off(&first);
        let has_lost = !std::mem::replace(&mut self.pending, kept).is_empty();
        self.delivered = self.delivered.max(first - 1);
        match self.pending.iter().next() {
            None => self.floor = Floor { number: self.deliveries, sequence: self.delivered },
            Some((sequence, oldest)) if has_lost => {
                self.floor = Floor { number: oldest.number - 1, sequence: sequence - 1 };
            }
            Some(_) => self.floor.sequence = self.floor.sequence.max(first - 1),
        }
    }

    /// The stream has lost its newest messages.
    pub fn truncate(&mut self, last: u64) {
        self.delivered = self.delivered.min(last);
        self.acknowledged = self.acknowledged.min(last);
        self.floor.sequence = self.floor.sequence.min(last);
        self.pending.split_off(&(last + 1));
    }
}
