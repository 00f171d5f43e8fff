//! Stock that people change: corrections and restocks, and what is kept of them.

use futures_util::future::join_all;
use reqwest::{Client, Method};
use serde_json::json;
use shared::http::auth::{ADMIN_SCOPE, INVENTORY_WRITE_SCOPE};
use testing::wait_until;

use crate::fixture::{
    Home, Publisher, alone, answer_to, body, cancelled, confirmed, connected, ends, order, token,
};

/// Corrections and restocks made while orders are decided.
const CHANGES: i64 = 40;
/// The orders that are decided meanwhile.
const ORDERS: usize = 1_500;

#[tokio::test]
async fn a_restock_raises_the_stock_once_however_often_it_is_sent() {
    let (home, inventory) = alone().await;
    let keeper = inventory.keeper("kim");
    let answers = join_all((0..100).map(|_| keeper.restock_with("delivery-7", "1", 5))).await;
    let first = &answers[0].body["adjustment"];
    for answer in &answers {
        assert_eq!((answer.status, &answer.body["adjustment"]), (200, first), "{answer:?}");
    }
    let fresh = answers.iter().filter(|answer| answer.header("idempotency-replayed").is_empty()).count();
    assert_eq!(fresh, 1, "all but one are told that it was done");
    assert_eq!(home.number("SELECT count(*) FROM adjustments WHERE kind = 'restock'").await, 1);

    keeper.restock("1", 1).await;
    let later = keeper.restock_with("\"delivery-7\"", "1", 5).await;
    assert_eq!((later.status, later.header("idempotency-replayed")), (200, "true"));
    let today = json!({"productId": "1", "stock": 16, "adjustment": first});
    assert_eq!(later.body, today, "the stock is today's");
    // Also after the process was another one.
    inventory.stop().await;
    let inventory = home.start(&[]).await;
    let again = inventory.keeper("kim").restock_with("delivery-7", "1", 5).await;
    assert_eq!((again.header("idempotency-replayed"), &again.body), ("true", &later.body));
    // Another caller's key is another key.
    let other = inventory.keeper("lee").restock_with("delivery-7", "1", 5).await;
    assert_eq!((other.status, other.header("idempotency-replayed")), (200, ""));
    assert_eq!(home.stock("1").await, 21);
    home.audit().await;
}

#[tokio::test]
async fn a_correction_creates_a_product_and_later_orders_find_it() {
    let (broker, home, inventory) = connected().await;
    let (publisher, mut observer) = ends(&broker).await;
    publisher.publish(order("early", "pen", 2)).await;
    assert_eq!(body(&observer.next().await), cancelled("early", "unknown_product"));

    let keeper = inventory.keeper("kim");
    let created = keeper.put_with("k", "pen", 2, "new in the range").await;
    assert_eq!((created.status, created.header("location")), (201, "/inventory/pen"));
    assert_eq!((&created.body["productId"], &created.body["stock"]), (&json!("pen"), &json!(2)));
    publisher.publish(order("late", "pen", 2)).await;
    assert_eq!(body(&observer.next().await), confirmed("late"));

    let again = keeper.put_with("k", "pen", 2, "new in the range").await;
    assert_eq!((again.status, again.header("location")), (201, "/inventory/pen"));
    assert_eq!((again.header("idempotency-replayed"), &again.body["stock"]), ("true", &json!(0)));
    let corrected = keeper.put("pen", 9, "counted").await;
    assert_eq!((corrected.status, corrected.header("location")), (200, ""));
    assert_eq!(corrected.body["adjustment"]["delta"], 9);
    home.close(inventory).await;
}

#[tokio::test]
async fn every_change_is_kept_as_an_adjustment_with_its_reason_and_who_made_it() {
    let (home, inventory) = alone().await;
    let keeper = inventory.keeper("kim");
    let odd = "3 broken; 'two' lost\n\u{1F4E6}";
    let answers = [
        keeper.put("1", 7, odd).await,
        keeper.put("1", 7, "counted again").await,
        keeper.restock("1", 3).await,
        keeper.put("a%2Fb%20%C3%BC", 4, "new").await,
    ];
    let pairs = [("correction", -3), ("correction", 0), ("restock", 3), ("correction", 4)];
    for (answer, (kind, delta)) in answers.iter().zip(pairs) {
        let adjustment = &answer.body["adjustment"];
        assert_eq!((&adjustment["kind"], &adjustment["delta"]), (&json!(kind), &json!(delta)), "{answer:?}");
        assert_eq!(adjustment["userId"], "kim");
        assert!(adjustment["createdAt"].as_str().unwrap().ends_with('Z') && adjustment["id"].is_i64());
    }
    assert_eq!(answers[3].header("location"), "/inventory/a%2Fb%20%C3%BC");
    assert_eq!(inventory.json("/inventory/a%2Fb%20%C3%BC").await, json!({"productId": "a/b ü", "stock": 4}));
    let query = "SELECT product_id, kind, delta, reason, user_id, stock_after FROM adjustments ORDER BY id";
    let rows: Vec<(String, String, i64, String, Option<String>, i64)> = home.look().rows(query).await;
    let row = |product: &str, kind: &str, delta, reason: &str, user: Option<&str>, after| {
        (product.to_owned(), kind.to_owned(), delta, reason.to_owned(), user.map(str::to_owned), after)
    };
    let expected = [
        row("1", "seed", 10, "first stock", None, 10),
        row("2", "seed", 5, "first stock", None, 5),
        row("1", "correction", -3, odd, Some("kim"), 7),
        row("1", "correction", 0, "counted again", Some("kim"), 7),
        row("1", "restock", 3, "restock", Some("kim"), 10),
        row("a/b ü", "correction", 4, "new", Some("kim"), 4),
    ];
    assert_eq!(rows, expected);
    let metrics = inventory.metrics().await;
    assert!(metrics.contains(r#"stock_adjustments_total{kind="correction"}"#), "{metrics}");
    home.audit().await;
}

#[tokio::test]
async fn stock_is_changed_only_with_the_scope() {
    let (home, inventory) = alone().await;
    let routes = [
        (Method::PUT, "/inventory/1", json!({"stock": 99, "reason": "mine"})),
        (Method::POST, "/inventory/1/restock", json!({"quantity": 99})),
        (Method::PUT, "/inventory/new", json!({"stock": 99, "reason": "mine"})),
    ];
    for (method, path, change) in routes {
        let request = || Client::new().request(method.clone(), inventory.at(path)).json(&change);
        let answer = answer_to(request()).await;
        answer.problem(401);
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        answer_to(request().bearer_auth("nonsense")).await.problem(401);
        for scope in [None, Some(ADMIN_SCOPE), Some("inventory:writes")] {
            let answer = answer_to(request().bearer_auth(token("alice", scope))).await;
            assert!(answer.problem(403).contains(INVENTORY_WRITE_SCOPE), "{method} {path} {scope:?}");
        }
    }
    assert_eq!(home.number("SELECT count(*) FROM adjustments").await, 2, "the two seeds");
    assert_eq!(home.number("SELECT count(*) FROM products").await, 2);
    home.audit().await;
}

#[tokio::test]
async fn a_bad_change_names_the_field_and_changes_nothing() {
    let (home, inventory) = alone().await;
    let keeper = inventory.keeper("kim");
    let (long, long_id) = ("r".repeat(201), format!("/inventory/{}", "p".repeat(65)));
    let long_reason = json!({"stock": 1, "reason": long}).to_string();
    let (put, post) = (Method::PUT, Method::POST);
    let (one, restock) = ("/inventory/1", "/inventory/1/restock");
    let good = r#"{"stock":1,"reason":"r"}"#;
    let cases = [
        (&put, one, "[]", "body"),
        (&put, one, "", "body"),
        (&put, one, r#"{"stock":1"#, "body"),
        (&put, one, "{}", "stock"),
        (&put, one, r#"{"reason":"r"}"#, "stock"),
        (&put, one, r#"{"stock":-1,"reason":"r"}"#, "stock"),
        (&put, one, r#"{"stock":1.5,"reason":"r"}"#, "stock"),
        (&put, one, r#"{"stock":"1","reason":"r"}"#, "stock"),
        (&put, one, r#"{"stock":null,"reason":"r"}"#, "stock"),
        (&put, one, r#"{"stock":1000000000001,"reason":"r"}"#, "stock"),
        (&put, one, r#"{"stock":9223372036854775808,"reason":"r"}"#, "stock"),
        (&put, one, r#"{"stock":1,"stock":1,"reason":"r"}"#, "stock"),
        (&put, one, r#"{"stock":1}"#, "reason"),
        (&put, one, r#"{"stock":1,"reason":""}"#, "reason"),
        (&put, one, r#"{"stock":1,"reason":7}"#, "reason"),
        (&put, one, r#"{"stock":1,"reason":"a\u0000b"}"#, "reason"),
        (&put, one, &long_reason, "reason"),
        (&put, one, r#"{"stock":1,"reason":"r","quantity":1}"#, "quantity"),
        (&put, one, r#"{"stock":1,"reason":"r","userId":"x"}"#, "userId"),
        (&put, &long_id, good, "productId"),
        (&put, "/inventory/%FF", good, "productId"),
        (&put, "/inventory/%00", good, "productId"),
        (&put, "/inventory/a%00b", good, "productId"),
        (&post, restock, "{}", "quantity"),
        (&post, restock, r#"{"quantity":0}"#, "quantity"),
        (&post, restock, r#"{"quantity":-5}"#, "quantity"),
        (&post, restock, r#"{"quantity":1000000000001}"#, "quantity"),
        // Product 1 has 10 already.
        (&post, restock, r#"{"quantity":999999999991}"#, "quantity"),
        (&post, restock, r#"{"quantity":1,"reason":null}"#, "reason"),
        (&post, restock, r#"{"quantity":1,"stock":1}"#, "stock"),
        (&post, "/inventory/%00/restock", r#"{"quantity":1}"#, "productId"),
    ];
    for (method, path, text, field) in cases {
        let request = keeper.request(method.clone(), path).header("content-type", "application/json");
        let answer = answer_to(request.header("idempotency-key", "k").body(text.to_owned())).await;
        answer.refused(field);
    }
    let long_key = "k".repeat(256);
    assert_eq!(keeper.restock_with(&long_key, "1", 1).await.body["field"], "Idempotency-Key");
    keeper.restock("unknown", 1).await.problem(404);
    answer_to(keeper.request(Method::PUT, one).body(good)).await.problem(415);
    assert_eq!(home.number("SELECT count(*) FROM adjustments").await, 2, "the two seeds");
    assert_eq!(home.number("SELECT sum(stock) FROM products").await, 15);

    // An error is never stored under a key, and each limit itself is allowed.
    assert_eq!(keeper.restock_with("k", "1", 999_999_999_990).await.status, 200);
    assert_eq!(keeper.put(&"ü".repeat(64), 0, &"r".repeat(200)).await.status, 201);
    assert_eq!(home.stock("1").await, 1_000_000_000_000);
    home.audit().await;
}

#[tokio::test]
async fn a_key_used_for_another_change_is_refused() {
    let (home, inventory) = alone().await;
    let keeper = inventory.keeper("kim");
    assert_eq!(keeper.restock_with("k", "1", 5).await.status, 200);
    let with_reason = |reason: &str| {
        let request = keeper.request(Method::POST, "/inventory/1/restock").header("idempotency-key", "k");
        answer_to(request.json(&json!({"reason": reason, "quantity": 5})))
    };
    let refused = [
        ("another quantity", keeper.restock_with("k", "1", 6).await),
        ("another product", keeper.restock_with("k", "2", 5).await),
        ("an unknown product", keeper.restock_with("k", "unknown", 5).await),
        ("another reason", with_reason("found").await),
        ("another route", keeper.put_with("k", "1", 15, "restock").await),
        ("another route, a new product", keeper.put_with("k", "new", 5, "restock").await),
    ];
    for (what, answer) in &refused {
        assert!(answer.problem(422).contains("Idempotency-Key"), "{what}: {answer:?}");
    }
    let spelled = with_reason("restock").await;
    assert_eq!(spelled.header("idempotency-replayed"), "true", "the reason that is the default is the same");

    assert_eq!(keeper.put_with("c", "2", 5, "counted").await.status, 200);
    keeper.put_with("c", "2", 0, "counted").await.problem(422);
    assert_eq!(keeper.put_with("c", "2", 5, "counted").await.header("idempotency-replayed"), "true");
    assert_eq!((home.stock("1").await, home.stock("2").await), (15, 5), "a refusal changes nothing");
    assert_eq!(home.number("SELECT count(*) FROM adjustments").await, 4);
    home.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_correction_while_orders_are_decided_keeps_the_books_right() {
    let (broker, home, inventory) = connected().await;
    let publisher = Publisher::order(&broker).await;
    let publishing = tokio::spawn(async move { publisher.backlog("order", ORDERS).await });
    wait_until("it decides", async || home.reservations().await > 0).await;
    let keeper = inventory.keeper("kim");
    for number in 0..CHANGES {
        let (corrected, restocked) =
            tokio::join!(keeper.put("1", 20 + number, "counted"), keeper.restock("1", 7));
        assert_eq!((corrected.status, restocked.status), (200, 200));
        home.audit().await;
    }
    publishing.await.unwrap();
    home.until_reservations_are(ORDERS).await;
    assert_eq!(home.number("SELECT count(*) FROM adjustments WHERE user_id = 'kim'").await, 2 * CHANGES);
    assert!(home.number("SELECT count(*) FROM reservations WHERE status = 'confirmed'").await > 10);
    home.close(inventory).await;
}

#[tokio::test]
async fn seeds_never_fall_on_a_product_that_a_correction_made() {
    let (home, inventory) = alone().await;
    let keeper = inventory.keeper("kim");
    assert_eq!(keeper.put("pen", 0, "announced").await.status, 201);
    inventory.stop().await;
    let file = home.write("seed.json", r#"[{"productId":"pen","stock":500},{"productId":"ink","stock":3}]"#);
    let inventory = home.start(&["--seed-file", &file]).await;
    assert_eq!((home.stock("pen").await, home.stock("ink").await), (0, 3));
    assert_eq!(home.number("SELECT count(*) FROM adjustments WHERE product_id = 'pen'").await, 1);
    let after = home.number("SELECT stock_after FROM adjustments WHERE product_id = 'ink'").await;
    assert_eq!(after, 3, "a seed says what it came to");
    home.close(inventory).await;
}

#[tokio::test]
async fn an_adjustment_is_never_changed_or_deleted() {
    let home = Home::without_broker();
    home.start(&[]).await.stop().await;
    let database = home.database().await;
    for sql in ["UPDATE adjustments SET delta = 0", "DELETE FROM adjustments"] {
        let mut tx = database.begin().await.unwrap();
        let error = sqlx::query(sql).execute(&mut *tx).await.unwrap_err().to_string();
        assert!(error.contains("adjustment"), "{sql}: {error}");
    }
    database.close().await;
    home.audit().await;
}
