//! The two events as they travel: one line of plain JSON each, with CloudEvents attributes in the headers.
//!
//! Decoders ignore unknown fields and accept what a person types by hand; they check every value that an
//! event handler relies on, so that an undecodable message is told apart from one that can be handled.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};

use super::status::{Reason, Status};
use super::subjects::{ORDER_CREATED, ORDER_PROCESSED};
use crate::number::integer_field;
use crate::text::{Text, is_text};

/// The longest order id and product id, in characters.
pub const ID_MAX_CHARS: usize = 64;
/// What names a product in a request.
pub type ProductId = Text<ID_MAX_CHARS>;
/// The largest quantity of one order.
pub const QUANTITY_MAX: i64 = 1_000_000;

/// What a message on one of the subjects says.
pub trait EventBody: Send + Sync + Sized + 'static {
    /// The NATS subject, which is the CloudEvents type too.
    const SUBJECT: &'static str;

    /// Decodes and checks a body. The error names the field and the rule.
    fn decode(body: &[u8]) -> Result<Self, String>;
}

/// An event that arrived, free of what brought it.
#[derive(Debug, Clone)]
pub struct Received<E> {
    pub event: E,
    /// The trace to continue: the message's own where it is valid, otherwise a fresh one.
    pub traceparent: String,
    /// The `ce-time`, in Unix milliseconds; `None` when the message has none that can be read.
    pub time_ms: Option<i64>,
    /// 1 for the first delivery.
    pub attempt: i64,
}

/// The body of `order_created`, complete enough to rebuild the order from the stream alone.
///
/// Only the first three fields are needed to decide; a hand-made event may leave out the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderCreated {
    /// Text that a header carries unchanged; a UUID v7 for every order that the order service made.
    pub order_id: String,
    pub product_id: String,
    /// 1–1,000,000.
    #[serde(deserialize_with = "integer_field")]
    pub quantity: i64,
    /// Always `created`, whatever a hand-made event says.
    #[serde(default, deserialize_with = "any_text")]
    pub status: Status,
    /// The `sub` of the token that placed the order.
    #[serde(default)]
    pub user_id: String,
    /// RFC 3339, UTC, milliseconds.
    #[serde(default)]
    pub created_at: String,
}

/// The body of `order_processed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderProcessed {
    pub order_id: String,
    /// `confirmed` or `cancelled`.
    #[serde(deserialize_with = "final_status")]
    pub status: Status,
    /// Present exactly when cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

impl EventBody for OrderCreated {
    const SUBJECT: &'static str = ORDER_CREATED;

    fn decode(body: &[u8]) -> Result<Self, String> {
        let event: Self = object(body)?;
        check_order_id(&event.order_id)?;
        if !is_text(&event.product_id, ID_MAX_CHARS) {
            return Err(format!("productId must have 1 to {ID_MAX_CHARS} characters, none of them U+0000"));
        }
        if !(1..=QUANTITY_MAX).contains(&event.quantity) {
            return Err(format!("quantity must be from 1 to {QUANTITY_MAX}"));
        }
        Ok(event)
    }
}

impl EventBody for OrderProcessed {
    const SUBJECT: &'static str = ORDER_PROCESSED;

    fn decode(body: &[u8]) -> Result<Self, String> {
        let event: Self = object(body)?;
        check_order_id(&event.order_id)?;
        if (event.status == Status::Cancelled) != event.reason.is_some() {
            return Err("reason must be present exactly when status is cancelled".to_owned());
        }
        Ok(event)
    }
}

fn final_status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Status, D::Error> {
    let word = String::deserialize(deserializer)?;
    let status = word.parse().ok().filter(|status| *status != Status::Created);
    status.ok_or_else(|| D::Error::unknown_variant(&word, &["confirmed", "cancelled"]))
}

fn any_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Status, D::Error> {
    String::deserialize(deserializer).map(|_| Status::default())
}

/// A derived decoder takes an array for the fields in their order, too.
fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    if body.trim_ascii_start().starts_with(b"[") {
        return Err("invalid type: an array, expected one JSON object".to_owned());
    }
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

/// An order id is text that a header carries unchanged. A control character may end the header, and white
/// space around a value belongs to nobody.
fn check_order_id(id: &str) -> Result<(), String> {
    if is_text(id, ID_MAX_CHARS) && !id.contains(char::is_control) && id.trim() == id {
        return Ok(());
    }
    Err(format!(
        "orderId must have 1 to {ID_MAX_CHARS} characters, no control character and no white space at its ends"
    ))
}

/// An event on its way to the outbox: the encoded body and the CloudEvents attributes that are not derived.
#[derive(Debug, Clone)]
pub struct Event {
    pub subject: &'static str,
    /// The order that the event is about (`ce-subject`).
    pub order_id: String,
    /// When the fact happened, in Unix milliseconds; it never changes, however often the event is sent.
    pub time_ms: i64,
    pub traceparent: String,
    /// One line of JSON.
    pub body: String,
}

impl Event {
    pub fn new<B: EventBody + Serialize>(order_id: &str, body: &B, time_ms: i64, traceparent: &str) -> Self {
        Self {
            subject: B::SUBJECT,
            order_id: order_id.to_owned(),
            time_ms,
            traceparent: traceparent.to_owned(),
            // Strings, integers and enums without data always have a JSON form.
            body: serde_json::to_string(body).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hand_made_order_created_is_accepted() {
        let event =
            OrderCreated::decode(br#"{"orderId":"demo-1","productId":"1","quantity":1,"extra":[]}"#).unwrap();
        assert_eq!((event.order_id.as_str(), event.quantity), ("demo-1", 1));
        let event = OrderCreated::decode(br#"{"orderId":"a","productId":"1","quantity":2.0}"#).unwrap();
        assert_eq!(event.quantity, 2, "as over HTTP, and as the schema has it");
    }

    #[test]
    fn an_event_that_breaks_a_rule_names_the_field() {
        let cases = [
            (r#"{"orderId":"","productId":"1","quantity":1}"#, "orderId"),
            (r#"{"orderId":"a","productId":"","quantity":1}"#, "productId"),
            (r#"{"orderId":"a\u0000","productId":"1","quantity":1}"#, "orderId"),
            (r#"{"orderId":"a\n1","productId":"1","quantity":1}"#, "orderId"),
            (r#"{"orderId":"a\r","productId":"1","quantity":1}"#, "orderId"),
            (r#"{"orderId":"a\u007f","productId":"1","quantity":1}"#, "orderId"),
            (r#"{"orderId":" a","productId":"1","quantity":1}"#, "orderId"),
            (r#"{"orderId":"a\u3000","productId":"1","quantity":1}"#, "orderId"),
            (r#"{"orderId":"a","productId":"\u0000","quantity":1}"#, "productId"),
            (r#"{"orderId":"a","productId":"1","quantity":0}"#, "quantity"),
            (r#"{"orderId":"a","productId":"1","quantity":1000001}"#, "quantity"),
            (r#"{"orderId":"a","productId":"1"}"#, "quantity"),
            (r#"{"orderId":"a","productId":"1","quantity":1.5}"#, "integer"),
        ];
        for (body, field) in cases {
            let error = OrderCreated::decode(body.as_bytes()).unwrap_err();
            assert!(error.contains(field), "{body}: {error}");
        }
        for body in ["garbage", r#"["a","1",1]"#, r#" ["a","1",1]"#, "7"] {
            assert!(OrderCreated::decode(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn a_reason_comes_exactly_with_a_cancellation() {
        let decode = |body: &str| OrderProcessed::decode(body.as_bytes());
        assert!(decode(r#"{"orderId":"a","status":"confirmed"}"#).is_ok());
        assert!(decode(r#"{"orderId":"a","status":"cancelled","reason":"unknown_product"}"#).is_ok());
        assert!(decode(r#"{"orderId":"a","status":"cancelled"}"#).is_err());
        assert!(decode(r#"{"orderId":"a","status":"confirmed","reason":"unknown_product"}"#).is_err());
        assert!(decode(r#"{"orderId":"a","status":"created"}"#).is_err());
        let shipped = decode(r#"{"orderId":"a","status":"shipped"}"#).unwrap_err();
        assert!(shipped.contains("expected `confirmed` or `cancelled`"), "{shipped}");
    }
}
