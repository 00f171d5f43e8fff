//! Messages of the stream, asked for by the API call that answers in JSON and base64.
//!
//! The client would parse the headers of a message that it is given as such, and one malformed header costs it the
//! connection; see [`StoredMessage::check_headers`].

use anyhow::{Context as _, Result};
use async_nats::jetstream::response::Response;
use async_nats::jetstream::{Context, ErrorCode};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::broker::stored_message::StoredMessage;
use crate::clock::parse_rfc3339;
use crate::contract::subjects::STREAM;

/// The message with this sequence; `None` when the stream does not hold it.
pub async fn find(context: &Context, sequence: u64) -> Result<Option<StoredMessage>> {
    ask(context, json!({ "seq": sequence })).await
}

/// The first message of `subject` from this sequence on; `None` when there is none.
pub async fn next_of(context: &Context, subject: &str, sequence: u64) -> Result<Option<StoredMessage>> {
    ask(context, json!({ "seq": sequence, "next_by_subj": subject })).await
}

async fn ask(context: &Context, wanted: Value) -> Result<Option<StoredMessage>> {
    #[derive(Deserialize)]
    struct Answer {
        message: Encoded,
    }
    let what = || format!("get the message {wanted} of the stream");
    let answer = context.request(format!("STREAM.MSG.GET.{STREAM}"), &wanted).await;
    match answer.with_context(what)? {
        Response::Ok(Answer { message }) => message.decode().map(Some),
        Response::Err { error } if error.error_code() == ErrorCode::NO_MESSAGE_FOUND => Ok(None),
        Response::Err { error } => Err(error).with_context(what),
    }
}

#[derive(Deserialize)]
struct Encoded {
    seq: u64,
    subject: String,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
    time: String,
}

impl Encoded {
    fn decode(self) -> Result<StoredMessage> {
        Ok(StoredMessage {
            sequence: self.seq,
            subject: self.subject,
            headers: BASE64_STANDARD.decode(self.hdrs).context("decode a message's headers")?,
            body: BASE64_STANDARD.decode(self.data).context("decode a message's body")?,
            time_ms: parse_rfc3339(&self.time).context("read a message's time")?,
        })
    }
}
