//! What the stream and the consumers are, to be compared before and after somebody tried to change them.

use serde_json::{Value, json};

use crate::guest::{Guest, INVENTORY, Names, ORDER};

/// The stream, all its messages, and both consumers.
#[derive(Debug)]
pub struct Picture {
    stream: Value,
    messages: Vec<Value>,
    consumers: Vec<Consumer>,
}

#[derive(Debug, PartialEq)]
struct Consumer {
    /// Which one it is and how it is set.
    settings: Value,
    /// What it has delivered, and what of it was acknowledged.
    progress: Value,
}

impl Picture {
    /// Taken by the operator.
    pub async fn take(operator: &Guest) -> Self {
        let stream = operator.ask("STREAM.INFO.ORDERS", "").await;
        let mut messages = Vec::new();
        for sequence in 1..=stream["state"]["last_seq"].as_u64().unwrap() {
            let body = json!({"seq": sequence}).to_string();
            messages.push(operator.ask("STREAM.MSG.GET.ORDERS", body).await["message"].clone());
        }
        let mut consumers = Vec::new();
        for names in [ORDER, INVENTORY] {
            let info = operator.ask(&format!("CONSUMER.INFO.ORDERS.{}", names.consumer), "").await;
            consumers.push(Consumer {
                settings: json!([info["created"], info["config"], info["paused"]]),
                progress: json!([
                    info["delivered"],
                    info["ack_floor"],
                    info["num_ack_pending"],
                    info["num_redelivered"],
                    info["num_waiting"]
                ]),
            });
        }
        Self { stream: json!([stream["created"], stream["config"]]), messages, consumers }
    }

    /// Fails unless all is as it was `before`, save for what the service `own` may do: publish events of its
    /// own, and use its consumer.
    pub fn assert_untouched_since(&self, before: &Self, own: Option<&Names>) {
        assert_eq!(self.stream, before.stream, "the stream");
        let (old, new) = self.messages.split_at(before.messages.len().min(self.messages.len()));
        assert_eq!(old, before.messages, "the messages that were there");
        let foreign = |message: &&Value| own.is_none_or(|own| message["subject"] != own.publishes);
        assert_eq!(new.iter().find(foreign), None, "a message that came in");
        for (names, (now, before)) in
            [ORDER, INVENTORY].iter().zip(self.consumers.iter().zip(&before.consumers))
        {
            assert_eq!(now.settings, before.settings, "{}", names.consumer);
            if own.is_none_or(|own| own.consumer != names.consumer) {
                assert_eq!(now.progress, before.progress, "{}", names.consumer);
            }
        }
    }
}
