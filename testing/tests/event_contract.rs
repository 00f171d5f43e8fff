//! The two events: their schemas and their decoders say the same, and what was ever published still decodes.

use std::fs;

use processes::workspace;
use serde_json::{Value, json};
use shared::contract::events::{EventBody, OrderCreated, OrderProcessed};
use shared::contract::status::Status;
use shared::contract::subjects::{ORDER_CREATED, ORDER_PROCESSED};
use testing::event_contract::EVENTS;

fn decodes(subject: &str, body: &[u8]) -> Result<(), String> {
    match subject {
        ORDER_CREATED => OrderCreated::decode(body).map(drop),
        _ => OrderProcessed::decode(body).map(drop),
    }
}

#[test]
fn the_contract_has_exactly_the_two_subjects() {
    assert_eq!(EVENTS.subjects(), [ORDER_CREATED, ORDER_PROCESSED]);
}

/// Each file is an event as a release published it, and is never changed; a release that changes an event
/// adds one.
#[test]
fn golden_files_of_past_events_still_decode() {
    let folder = workspace::root().join("testing/tests/golden_events");
    let mut seen = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let subject = name.split('.').next().unwrap().to_owned();
        let body = fs::read(&path).unwrap();
        assert_eq!(decodes(&subject, &body), Ok(()), "{name}");
        if !name.contains("hand_made") {
            assert_eq!(EVENTS.refusal(&subject, &serde_json::from_slice(&body).unwrap()), None, "{name}");
        }
        seen.push(name);
    }
    assert!(seen.len() >= 5, "{seen:?}");
    let created = fs::read(folder.join("order_created.0_1_0.json")).unwrap();
    let expected = OrderCreated {
        order_id: "01a20a40-954d-770d-b5c9-872aafb68550".to_owned(),
        product_id: "1".to_owned(),
        quantity: 2,
        status: Status::Created,
        user_id: "alice".to_owned(),
        created_at: "2026-11-23T21:12:14.413Z".to_owned(),
    };
    assert_eq!(OrderCreated::decode(&created).unwrap(), expected);
}

#[test]
fn the_schemas_refuse_what_the_decoders_refuse() {
    let created = json!({"orderId": "a", "productId": "1", "quantity": 1, "status": "created", "userId": "u", "createdAt": "2026-11-23T21:12:14.413Z"});
    let processed = json!({"orderId": "a", "status": "cancelled", "reason": "unknown_product"});
    let long = "x".repeat(65);
    let cases = [
        (ORDER_CREATED, "orderId", json!("")),
        (ORDER_CREATED, "orderId", json!(long)),
        (ORDER_CREATED, "orderId", json!(7)),
        (ORDER_CREATED, "orderId", json!("\0")),
        (ORDER_CREATED, "productId", json!("1\0")),
        (ORDER_CREATED, "productId", json!(long)),
        (ORDER_CREATED, "productId", Value::Null),
        (ORDER_CREATED, "quantity", json!(0)),
        (ORDER_CREATED, "quantity", json!(1_000_001)),
        (ORDER_CREATED, "quantity", json!(1.5)),
        (ORDER_PROCESSED, "orderId", json!("")),
        (ORDER_PROCESSED, "orderId", json!("a\0b")),
        (ORDER_PROCESSED, "status", json!("created")),
        (ORDER_PROCESSED, "status", json!("confirmed")),
        (ORDER_PROCESSED, "reason", json!("bad mood")),
    ];
    for (subject, field, value) in cases {
        let good = if subject == ORDER_CREATED { &created } else { &processed };
        assert_eq!(EVENTS.refusal(subject, good), None);
        assert_eq!(decodes(subject, good.to_string().as_bytes()), Ok(()));
        let mut bad = good.clone();
        bad[field] = value;
        assert!(EVENTS.refusal(subject, &bad).is_some(), "{bad}");
        assert!(decodes(subject, bad.to_string().as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn a_field_that_is_not_known_yet_is_ignored() {
    let body = json!({"orderId": "a", "status": "confirmed", "warehouse": "north"});
    assert_eq!(EVENTS.refusal(ORDER_PROCESSED, &body), None);
    assert_eq!(decodes(ORDER_PROCESSED, body.to_string().as_bytes()), Ok(()));
}
