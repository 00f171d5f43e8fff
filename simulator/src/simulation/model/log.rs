//! The stream of the model: what is stored, and what it takes for a repeat.

use std::collections::{BTreeMap, HashMap};

use async_nats::HeaderMap;
use shared::broker::jetstream::DUPLICATE_WINDOW;
use shared::broker::stored_message::StoredMessage;
use shared::broker::stream::{Outgoing, PubAck, StreamState};
use shared::clock::Instant;
use shared::contract::subjects::STREAM;

/// One message of the stream.
#[derive(Debug, Clone)]
pub struct Kept {
    pub message: Outgoing,
    /// By the broker's clock, in Unix milliseconds.
    pub time_ms: i64,
}

impl Kept {
    /// Whether a consumer with this filter receives it; an empty one lets everything pass.
    fn is_of(&self, filter: &str) -> bool {
        filter.is_empty() || self.message.subject == filter
    }
}

/// The stream, from its creation to its wipe.
#[derive(Debug, Clone)]
pub struct Log {
    pub created: String,
    pub messages: BTreeMap<u64, Kept>,
    pub last: u64,
    /// When each `Nats-Msg-Id` was seen last, and at which sequence.
    ids: HashMap<String, (u64, Instant)>,
}

impl Log {
    pub fn new(created: String) -> Self {
        Self { created, messages: BTreeMap::new(), last: 0, ids: HashMap::new() }
    }

    pub fn state(&self) -> StreamState {
        let first = self.messages.keys().next().copied();
        let next = if self.last == 0 { 0 } else { self.last + 1 };
        StreamState {
            created: self.created.clone(),
            first_sequence: first.unwrap_or(next),
            last_sequence: self.last,
        }
    }

    /// Stores the message, unless its id was seen not long ago.
    pub fn publish(&mut self, message: &Outgoing, time_ms: i64) -> PubAck {
        let id = message.headers.get("Nats-Msg-Id").map(ToString::to_string);
        let seen = id.as_ref().and_then(|id| self.ids.get(id)).copied();
        if let Some((sequence, at)) = seen
            && at.elapsed() < DUPLICATE_WINDOW
        {
            return PubAck { stream: STREAM.to_owned(), sequence, is_duplicate: true };
        }
        let sequence = self.append(message, time_ms);
        id.map(|id| self.ids.insert(id, (sequence, Instant::now())));
        PubAck { stream: STREAM.to_owned(), sequence, is_duplicate: false }
    }

    /// Stores the message, whatever was seen before.
    pub fn append(&mut self, message: &Outgoing, time_ms: i64) -> u64 {
        self.last += 1;
        self.messages.insert(self.last, Kept { message: message.clone(), time_ms });
        self.last
    }

    /// The newest messages are gone, and their sequences are used again.
    pub fn truncate(&mut self, count: u64) {
        self.last = self.last.saturating_sub(count);
        self.messages.split_off(&(self.last + 1));
        self.ids.retain(|_, (sequence, _)| *sequence <= self.last);
    }

    /// The oldest messages are gone.
    pub fn discard(&mut self, count: usize) {
        for _ in 0..count {
            self.messages.pop_first();
        }
    }

    pub fn message(&self, sequence: u64) -> Option<StoredMessage> {
        let Kept { message: Outgoing { subject, headers, body }, time_ms } = self.messages.get(&sequence)?;
        Some(StoredMessage {
            sequence,
            subject: subject.clone(),
            headers: block(headers),
            body: body.to_vec(),
            time_ms: *time_ms,
        })
    }

    /// The sequence of the first message of `subject` from this one on.
    pub fn next_of(&self, subject: &str, from: u64) -> Option<u64> {
        let mut later = self.messages.range(from..);
        later.find(|(_, message)| message.is_of(subject)).map(|(sequence, _)| *sequence)
    }

    /// Under which sequences an event stands, and with which `Nats-Msg-Id` each.
    pub fn sendings(&self, event: &str) -> impl Iterator<Item = (u64, &str)> {
        let headers = self.messages.iter().map(|(sequence, kept)| (*sequence, &kept.message.headers));
        headers
            .filter(move |(_, headers)| headers.get("ce-id").is_some_and(|id| id.as_str() == event))
            .filter_map(|(sequence, headers)| Some((sequence, headers.get("Nats-Msg-Id")?.as_str())))
    }

    pub fn count_from(&self, subject: &str, from: u64) -> u64 {
        self.messages.range(from..).filter(|(_, message)| message.is_of(subject)).count() as u64
    }
}

/// Headers as they stand in a message.
fn block(headers: &HeaderMap) -> Vec<u8> {
    let mut text = "NATS/1.0\r\n".to_owned();
    let mut lines: Vec<String> = Vec::new();
    for (name, values) in headers.iter() {
        lines.extend(values.iter().map(|value| format!("{name}: {value}\r\n")));
    }
    lines.sort();
    text.extend(lines);
    (text + "\r\n").into_bytes()
}
