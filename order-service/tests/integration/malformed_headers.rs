//! Answers whose header block the client cannot read.

use std::time::{Duration, Instant};

use processes::raw_nats::MALFORMED_HEADERS;
use shared::clock::now_ms;
use shared::contract::subjects::{ORDER_CONSUMER, ORDER_CREATED, ORDER_PROCESSED};
use testing::RawPublisher;
use testing::service::until_nothing_is_owed;

use crate::fixture::nats::confirmed;
use crate::fixture::parts::Parts;
use crate::fixture::{Broker, Files, connected, wait_until};

const PLAIN: &[u8] = b"NATS/1.0\r\n\r\n";
/// What good orders may wait for somebody else's message.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn an_answer_with_malformed_headers_is_set_aside_while_other_orders_settle_and_posts_are_accepted() {
    let (files, broker, app, _alice) = connected().await;
    let (alice, look) = (app.user("alice"), files.look());
    let mut inventory = RawPublisher::connect(&broker, "inventory").await;
    for (number, headers) in MALFORMED_HEADERS.iter().enumerate() {
        let (before, after) = (alice.place("1", 1).await, alice.place("1", 1).await);
        inventory.publish(ORDER_PROCESSED, PLAIN, &confirmed(&before)).await;
        inventory.publish(ORDER_PROCESSED, headers, &confirmed(&format!("bad-{number}"))).await;
        inventory.publish(ORDER_PROCESSED, PLAIN, &confirmed(&after)).await;
        inventory.until_taken().await;
        let started = Instant::now();
        wait_until("the good ones are settled", || async {
            look.number("SELECT count(*) FROM orders WHERE status = 'created'").await == 0
        })
        .await;
        let waited = started.elapsed();
        println!("{waited:?} behind {:?}", String::from_utf8_lossy(headers));
        assert!(waited < PATIENCE, "{waited:?} behind {:?}", String::from_utf8_lossy(headers));
    }
    wait_until("all are set aside", || async {
        let letters = "SELECT count(*) FROM dead_letters WHERE reason = 'invalid_headers'";
        look.number(letters).await == MALFORMED_HEADERS.len() as i64
    })
    .await;
    let bodies = look.texts("SELECT CAST(body AS TEXT) FROM dead_letters ORDER BY body").await;
    let mut expected: Vec<String> =
        (0..MALFORMED_HEADERS.len()).map(|number| confirmed(&format!("bad-{number}"))).collect();
    expected.sort();
    assert_eq!(bodies, expected, "each exactly as it came");
    until_nothing_is_owed(&broker, ORDER_CONSUMER).await;
    app.stop().await;
}

#[tokio::test]
async fn a_message_with_malformed_headers_costs_neither_the_sweeper_nor_the_relay_the_connection() {
    let (files, broker) = (Files::new(), Broker::start().await);
    let parts = Parts::open(&files, &broker).await;
    parts.begin_session().await;
    // The oldest message that the inventory owes, and the one in the place of the message acknowledged last.
    let mut publisher = RawPublisher::connect(&broker, "order").await;
    publisher.publish(ORDER_CREATED, MALFORMED_HEADERS[0], "{}").await;
    publisher.until_taken().await;
    let look = files.look();
    look.change("UPDATE broker_memory SET acked_sequence = 1").await;
    // The stream is known by now, so it is looked at for the message that it acknowledged last.
    parts.begin_session().await;
    let (now, session) = (now_ms() + 1_000, parts.connection.state().borrow().clone());
    parts.place(1, now).await;
    parts.relay(1).await;
    assert_eq!(look.number("SELECT lost FROM broker_memory").await, 0, "nothing is lost");
    assert_eq!(parts.sweep(now + 24 * 3_600_000).await, 0, "its message waits behind the malformed one");
    for headers in &MALFORMED_HEADERS[1..] {
        publisher.publish(ORDER_CREATED, headers, "{}").await;
    }
    publisher.until_taken().await;
    for sequence in 1..=MALFORMED_HEADERS.len() as u64 {
        let found = parts.connection.stream().message(sequence).await.unwrap();
        assert_eq!(found.unwrap().sequence, sequence);
    }
    parts.connection.observe_once().await.unwrap();
    assert_eq!(*parts.connection.state().borrow(), session, "it is the same connection");
}
