//! One test per invariant, I1 to I10: broken on purpose, it is reported by name and alone.

use shared::contract::status::Status;
use simulator::answers::{Answer, Line, Outcome, Witness};
use simulator::check::Moment;

use crate::copy::Copy;

const CONFIRMED: &str = "status = 'confirmed'";
const CANCELLED: &str = "status = 'cancelled' AND reason = 'insufficient_stock'";

fn accepted(id: &str) -> Outcome {
    Outcome::Accepted { order_id: id.to_owned(), status: Status::Created }
}

#[tokio::test]
async fn i1_an_accepted_order_that_is_gone() {
    let (copy, id) = Copy::with_order(CONFIRMED).await;
    copy.delete_order(&id).await;
    copy.assert_violates("I1 accepted_is_stored", &format!("order {id} was answered 201 to load-")).await;
}

#[tokio::test]
async fn i1_an_accepted_order_that_is_stored_as_another_one() {
    let (copy, id) = Copy::with_order(CANCELLED).await;
    copy.order(&format!("UPDATE orders SET quantity = 77 WHERE id = '{id}'")).await;
    copy.inventory(&format!("UPDATE reservations SET quantity = 77 WHERE order_id = '{id}'")).await;
    copy.assert_violates("I1 accepted_is_stored", &format!("order {id} was accepted for ")).await;
}

#[tokio::test]
async fn i2_stock_that_nobody_explains() {
    let copy = Copy::new().await;
    copy.inventory("UPDATE products SET stock = stock + 1 WHERE id = '2'").await;
    copy.assert_violates("I2 stock_equation", "product 2: 60 adjusted − ").await;
}

#[tokio::test]
async fn i2_a_confirmed_order_for_a_product_that_does_not_exist() {
    let (copy, id) = Copy::with_order("reason = 'unknown_product'").await;
    copy.forget_observations(&id);
    copy.order(&format!("UPDATE orders SET status = 'confirmed', reason = NULL WHERE id = '{id}'")).await;
    let decision = "UPDATE reservations SET status = 'confirmed', reason = NULL";
    copy.inventory(&format!("{decision} WHERE order_id = '{id}'")).await;
    copy.assert_violates("I2 stock_equation", "is not in products: 0 adjusted, ").await;
}

#[tokio::test]
async fn i3_negative_stock_in_the_database() {
    let copy = Copy::new().await;
    copy.inventory(
        "UPDATE adjustments SET delta = delta - 1 - (SELECT stock FROM products WHERE id = '1') WHERE product_id = '1';
         UPDATE products SET stock = -1 WHERE id = '1'",
    )
    .await;
    copy.assert_violates("I3 stock_not_negative", "product 1: stock -1 is stored").await;
}

#[tokio::test]
async fn i3_negative_stock_that_somebody_read() {
    let copy = Copy::new().await;
    copy.rewrite_answers(Some, &[Line::Stock { product_id: "3".to_owned(), stock: -2 }]);
    copy.assert_violates("I3 stock_not_negative", "product 3: stock -2 was read").await;
}

#[tokio::test]
async fn i4_an_order_that_never_ended() {
    let (copy, id) = Copy::with_order(CANCELLED).await;
    copy.forget_observations(&id);
    let created = "UPDATE orders SET status = 'created', reason = NULL, settled_at = NULL";
    copy.order(&format!("{created} WHERE id = '{id}'")).await;
    let witness = format!("order {id} is still created; the inventory has");
    copy.assert_violates("I4 settled_in_the_end", &witness).await;
}

#[tokio::test]
async fn i5_a_settled_order_that_the_inventory_never_decided() {
    let (copy, id) = Copy::with_order(CANCELLED).await;
    copy.inventory(&format!("DELETE FROM reservations WHERE order_id = '{id}'")).await;
    let witness = format!("order {id} is cancelled (insufficient_stock), and");
    copy.assert_violates("I5 services_agree", &witness).await;
}

#[tokio::test]
async fn i5_a_decision_with_another_reason_quantity_or_product() {
    for change in ["reason = 'unknown_product'", "quantity = quantity + 1", "product_id = '9'"] {
        let (copy, id) = Copy::with_order(CANCELLED).await;
        copy.inventory(&format!("UPDATE reservations SET {change} WHERE order_id = '{id}'")).await;
        copy.assert_violates("I5 services_agree", &format!("order {id} is ")).await;
    }
}

#[tokio::test]
async fn i5_an_order_that_is_cancelled_and_holds_stock() {
    let (copy, id) = Copy::with_order(CONFIRMED).await;
    copy.forget_observations(&id);
    let cancel = "UPDATE orders SET status = 'cancelled', reason = 'insufficient_stock'";
    copy.order(&format!("{cancel} WHERE id = '{id}'")).await;
    copy.assert_violates("I5 services_agree", &format!("order {id} is ")).await;
}

#[tokio::test]
async fn i6_an_order_that_was_seen_with_another_end() {
    for by in [Witness::Order, Witness::Event] {
        let (copy, id) = Copy::with_order(CONFIRMED).await;
        let seen = Line::Observed { order_id: id.clone(), status: Status::Cancelled, by };
        copy.rewrite_answers(Some, &[seen]);
        let witness = format!("order {id} was seen cancelled and is confirmed");
        copy.assert_violates("I6 settled_once", &witness).await;
    }
}

#[tokio::test]
async fn i6_a_settled_order_without_its_time() {
    let (copy, id) = Copy::with_order(CONFIRMED).await;
    copy.order(&format!("UPDATE orders SET settled_at = NULL WHERE id = '{id}'")).await;
    copy.assert_violates("I6 settled_once", &format!("order {id} is confirmed and lacks settled_at")).await;
}

#[tokio::test]
async fn i7_a_key_that_was_answered_with_two_orders() {
    let (copy, id) = Copy::with_order(CONFIRMED).await;
    let first = copy.answer_of(&id);
    let condition = format!("user_id = '{}' AND id <> '{id}'", first.user);
    let other = copy.answer_of(&copy.some_order(&condition).await);
    let again = Answer { key: first.key, ..other };
    copy.rewrite_answers(Some, &[Line::Answer(again)]);
    let witness = format!("was answered with order {id} and with order ");
    copy.assert_violates("I7 one_key_one_order", &witness).await;
}

#[tokio::test]
async fn i7_a_key_that_is_stored_with_two_orders() {
    let (copy, id) = Copy::with_order(CONFIRMED).await;
    let Answer { user, key, .. } = copy.answer_of(&id);
    let other = copy.some_order(&format!("user_id = '{user}' AND id <> '{id}'")).await;
    copy.order(&format!(
        "DROP INDEX orders_key_once;
         UPDATE orders SET idempotency_key = '{key}' WHERE id = '{other}'"
    ))
    .await;
    copy.assert_violates("I7 one_key_one_order", &other).await;
}

#[tokio::test]
async fn i7_a_key_that_is_stored_with_another_order_than_was_answered() {
    let (copy, id) = Copy::with_order(CONFIRMED).await;
    let Answer { user, key, .. } = copy.answer_of(&id);
    let other = copy.some_order(&format!("user_id = '{user}' AND id <> '{id}'")).await;
    copy.order(&format!(
        "UPDATE orders SET idempotency_key = NULL WHERE id = '{id}';
         UPDATE orders SET idempotency_key = '{key}' WHERE id = '{other}'"
    ))
    .await;
    let witness = format!("stored with order {other} and was answered with order {id}");
    copy.assert_violates("I7 one_key_one_order", &witness).await;
}

#[tokio::test]
async fn i8_an_order_that_was_answered_to_somebody_else() {
    let (copy, id) = Copy::with_order(CONFIRMED).await;
    let stranger = Answer { user: "mallory".to_owned(), outcome: accepted(&id), ..copy.answer_of(&id) };
    copy.rewrite_answers(Some, &[Line::Answer(stranger)]);
    copy.assert_violates("I8 own_orders_only", &format!("order {id} of load-")).await;
}

#[tokio::test]
async fn i8_an_order_that_changed_its_owner() {
    let (copy, id) = Copy::with_order(CONFIRMED).await;
    copy.order(&format!("UPDATE orders SET user_id = 'mallory' WHERE id = '{id}'")).await;
    copy.assert_violates("I8 own_orders_only", &format!("order {id} of mallory was answered to load-")).await;
}

/// An order that nobody placed, decided by the inventory as if somebody had.
async fn forge(copy: &Copy) -> &'static str {
    let id = "01990000-0000-7000-8000-000000000001";
    copy.order(&format!(
        "INSERT INTO orders (id, user_id, product_id, quantity, status, reason, created_at, settled_at, traceparent, sent_at)
         VALUES ('{id}', 'load-1', 'unknown-9', 1, 'cancelled', 'unknown_product', 1, 2, '', 1)"
    ))
    .await;
    copy.inventory(&format!(
        "INSERT INTO reservations VALUES ('{id}', 'unknown-9', 1, 'cancelled', 'unknown_product', 1, '')"
    ))
    .await;
    id
}

#[tokio::test]
async fn i9_an_order_that_no_client_placed() {
    let copy = Copy::new().await;
    let id = forge(&copy).await;
    let witness = format!("order {id} of load-1: no client placed it");
    copy.assert_violates("I9 placed_by_a_client", &witness).await;
}

#[tokio::test]
async fn i9_a_request_whose_outcome_is_unknown_explains_one_order_and_a_refused_one_none() {
    let answer = |outcome| {
        let (user, key, product_id) = ("load-1".to_owned(), "k".to_owned(), "unknown-9".to_owned());
        [Line::Answer(Answer { at_ms: 1, user, key, product_id, quantity: 1, outcome })]
    };
    let copy = Copy::new().await;
    forge(&copy).await;
    copy.rewrite_answers(Some, &answer(Outcome::Refused { status: 503 }));
    copy.assert_violates("I9 placed_by_a_client", "no client placed it").await;
    copy.rewrite_answers(
        |line| (!matches!(&line, Line::Answer(answer) if answer.key == "k")).then_some(line),
        &answer(Outcome::Unknown),
    );
    let report = copy.clean_report(Moment::Final).await;
    assert_eq!(report.unknown_outcomes, 1);
}

#[tokio::test]
async fn i9_is_left_out_when_the_answers_may_lack_some() {
    let copy = Copy::new().await;
    forge(&copy).await;
    let path = copy.path("answers");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &text[..text.rfind("{\"line\":\"end\"").unwrap()]).unwrap();
    let report = copy.clean_report(Moment::Final).await;
    assert!(report.invariants[8].not_checked.unwrap().contains("complete"), "{report}");
}

#[tokio::test]
async fn i10_an_event_that_was_never_published() {
    let row = r#"INSERT INTO outbox_batches VALUES (9000, 1, '[["m", "s", "demo-1", 1, "", "{}"]]')"#;
    for name in ["order.db", "inventory.db"] {
        let copy = Copy::new().await;
        copy.change(name, row).await;
        let witness = format!("an event of batch 9000 in the outbox of {name}, for order demo-1");
        copy.assert_violates("I10 outboxes_empty", &witness).await;
    }
}
