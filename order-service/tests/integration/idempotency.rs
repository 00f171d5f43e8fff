//! `Idempotency-Key`: a request that is repeated makes no second order.

use futures_util::future::join_all;
use order_service::orders::placement;
use order_service::orders::placement::{KEY_LIFETIME_MS, Placed};
use reqwest::Method;
use shared::clock::now_ms;
use shared::storage::commit_queue::commit_batch;

use crate::fixture::parts::{Parts, created, new_order};
use crate::fixture::{Publisher, alone, alone_with_alice, answer_to, connected, wait_until};

#[tokio::test]
async fn a_repeated_request_gets_its_order_as_it_is_now() {
    let (files, broker, _app, alice) = connected().await;
    let first = alice.post_with_key("k-1", "1", 2).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (201, ""));
    let id = first.id();
    let again = alice.post_with_key("k-1", "1", 2).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (201, "true"));
    assert_eq!(again.body, first.body);
    assert_eq!(again.header("location"), format!("/orders/{id}"));

    Publisher::inventory(&broker).await.confirm(&id).await;
    alice.until_order_is(&id, "confirmed").await;
    let later = alice.post_with_key("k-1", "1", 2).await;
    assert_eq!((later.status, later.header("idempotency-replayed")), (201, "true"));
    assert_eq!(later.body["status"], "confirmed");
    assert_eq!(later.body, alice.get("/orders").await.body[0]);
    assert_eq!(files.look().orders().await, 1);
}

#[tokio::test]
async fn a_key_is_the_same_quoted_or_bare_in_any_spelling_of_the_body() {
    let (files, _app, alice) = alone_with_alice().await;
    let first = alice.post_with_key("k-1", "1", 2).await;
    let quoted = alice.post_with_key("\"k-1\"", "1", 2).await;
    assert_eq!((quoted.id(), quoted.header("idempotency-replayed")), (first.id(), "true"));
    let spelled = alice
        .request(Method::POST, "/orders")
        .header("Idempotency-Key", "k-1")
        .header("Content-Type", "application/json")
        .body("{ \"quantity\": 2,\n \"productId\": \"\\u0031\" }");
    assert_eq!(answer_to(spelled).await.id(), first.id());
    assert_eq!(files.look().orders().await, 1);
}

#[tokio::test]
async fn a_key_with_another_body_is_refused_and_another_users_key_is_another_key() {
    let (files, app) = alone(&[]).await;
    let (alice, bob) = (app.user("alice"), app.user("bob"));
    let first = alice.post_with_key("k", "1", 2).await;
    assert!(alice.post_with_key("k", "1", 3).await.problem(422).contains("Idempotency-Key"));
    alice.post_with_key("k", "2", 2).await.problem(422);
    let other = bob.post_with_key("k", "2", 5).await;
    assert_eq!((other.status, other.header("idempotency-replayed")), (201, ""));
    assert_ne!(other.id(), first.id());
    assert_eq!(alice.post_with_key("k", "1", 2).await.id(), first.id(), "the refusal changed nothing");
    assert_eq!(files.look().orders().await, 2);
}

#[tokio::test]
async fn a_hundred_parallel_requests_with_one_key_make_one_order_and_all_get_it() {
    let (files, _app, alice) = alone_with_alice().await;
    let answers = join_all((0..100).map(|_| alice.post_with_key("one", "1", 1))).await;
    let id = answers[0].id();
    for answer in &answers {
        assert_eq!((answer.status, answer.id()), (201, id.clone()));
    }
    let fresh = answers.iter().filter(|answer| answer.header("idempotency-replayed").is_empty()).count();
    assert_eq!(fresh, 1, "all but one are told that the order was there");
    assert_eq!(files.orders_and_outbox().await, (1, 1));
}

#[tokio::test]
async fn repeats_and_conflicts_inside_one_batch_are_told_apart() {
    let (files, parts) = Parts::alone().await;
    let with_key = |quantity| {
        let mut new = new_order("alice", "1", quantity);
        new.idempotency_key = Some("k".to_owned());
        new
    };
    let results = commit_batch(&parts.database, &[with_key(1), with_key(1), with_key(2)]).await;
    let order = created(results[0].clone().unwrap());
    assert_eq!(results[1], Ok(Placed::Replayed(order)));
    assert_eq!(results[2], Ok(Placed::KeyReused));
    assert_eq!(files.look().orders().await, 1);
}

#[tokio::test]
async fn an_error_is_never_stored_under_a_key() {
    let (_files, _app, alice) = alone_with_alice().await;
    alice.post_with_key("k", "1", 0).await.problem(400);
    alice.post_with_key("k", "", 1).await.problem(400);
    let accepted = alice.post_with_key("k", "1", 1).await;
    assert_eq!((accepted.status, accepted.header("idempotency-replayed")), (201, ""));
}

#[tokio::test]
async fn a_key_lives_24_hours() {
    let (files, _app, alice) = alone_with_alice().await;
    let first = alice.post_with_key("k", "1", 1).await.id();
    let age_to = async |age_ms: i64| {
        let created_at = now_ms() - age_ms;
        files.look().change(&format!("UPDATE orders SET created_at = {created_at}")).await
    };
    age_to(KEY_LIFETIME_MS - 60_000).await;
    assert_eq!(alice.post_with_key("k", "1", 1).await.id(), first);
    age_to(KEY_LIFETIME_MS).await;
    let second = alice.post_with_key("k", "2", 2).await;
    assert_eq!((second.status, second.header("idempotency-replayed")), (201, ""));
    assert_ne!(second.id(), first);
    age_to(KEY_LIFETIME_MS).await;
    let keys = || async { files.look().number("SELECT count(idempotency_key) FROM orders").await };
    wait_until("the expired key is forgotten", || async { keys().await == 0 }).await;
    assert_eq!(files.look().orders().await, 2, "orders stay");
}

#[tokio::test]
async fn an_expired_key_that_was_not_deleted_yet_gives_way() {
    let (_files, parts) = Parts::alone().await;
    let mut new = new_order("alice", "1", 1);
    new.idempotency_key = Some("k".to_owned());
    let place_at = async |at_ms| {
        let mut tx = parts.database.begin().await.unwrap();
        let placed = placement::place(&mut tx, std::slice::from_ref(&new), at_ms).await.unwrap().remove(0);
        tx.commit().await.unwrap();
        placed
    };
    let start = now_ms();
    let first = created(place_at(start).await);
    assert_eq!(place_at(start + KEY_LIFETIME_MS - 1).await, Placed::Replayed(first));
    let second = created(place_at(start + KEY_LIFETIME_MS).await);
    assert_eq!(place_at(start + KEY_LIFETIME_MS + 1).await, Placed::Replayed(second));
}

#[tokio::test]
async fn a_key_that_breaks_a_rule_is_refused_by_name() {
    let (_files, _app, alice) = alone_with_alice().await;
    let long = "k".repeat(256);
    for key in ["", "\"\"", "\"open", "\"a\" b", "é", &long] {
        let answer = alice.post_with_key(key, "1", 1).await;
        answer.problem(400);
        assert_eq!(answer.body["field"], "Idempotency-Key", "{key}");
    }
    let twice = alice.order_request("1", 1).header("Idempotency-Key", "a").header("Idempotency-Key", "b");
    assert_eq!(answer_to(twice).await.body["field"], "Idempotency-Key");
    assert_eq!(alice.post_with_key(&"k".repeat(255), "1", 1).await.status, 201);
}
