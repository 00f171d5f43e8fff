//! Placing and reading orders.

use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use crate::fixture::{CONTRACT, alone, alone_with_alice};

#[tokio::test]
async fn an_order_is_answered_with_201_its_location_and_exactly_its_fields() {
    let (files, app, alice) = alone_with_alice().await;
    let answer = alice.post("1", 2).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("location"), format!("/orders/{}", answer.id()));
    assert_eq!(Uuid::parse_str(&answer.id()).unwrap().get_version_num(), 7);
    let created_at = answer.body["createdAt"].as_str().unwrap();
    assert!(created_at.ends_with('Z') && created_at.starts_with("20"), "{created_at}");
    let mut expected = json!({
        "id": answer.id(), "productId": "1", "quantity": 2, "status": "created", "userId": "alice",
        "createdAt": created_at
    });
    assert_eq!(answer.body, expected);
    assert_eq!(alice.get("/orders").await.body, json!([expected]));
    let location = alice.get(answer.header("location")).await;
    expected["traceId"] = location.body["traceId"].clone();
    expected["history"] = json!([{"event": "created", "at": created_at}]);
    assert_eq!((location.status, &location.body), (200, &expected));
    app.stop().await;
    assert_eq!(files.orders_and_outbox().await, (1, 1), "the order and its event");
}

#[tokio::test]
async fn the_largest_order_and_the_longest_product_id_are_accepted() {
    let (_files, _app, alice) = alone_with_alice().await;
    let longest = "é".repeat(64);
    let answer = alice.post(&longest, 1_000_000).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(alice.order(&answer.id()).await["productId"], longest);
}

#[tokio::test]
async fn a_list_holds_the_callers_newest_50_orders_and_the_newest_comes_first() {
    let (_files, app) = alone(&[]).await;
    let (alice, bob) = (app.user("alice"), app.user("bob"));
    let mut placed = Vec::new();
    for number in 1..=52 {
        placed.push(alice.place(&number.to_string(), number).await);
    }
    bob.place("1", 1).await;
    let list = alice.get("/orders").await;
    assert_eq!(list.status, 200);
    let listed: Vec<&str> =
        list.body.as_array().unwrap().iter().map(|order| order["id"].as_str().unwrap()).collect();
    let expected: Vec<&String> = placed.iter().rev().take(50).collect();
    assert_eq!(listed, expected);
    assert_eq!(app.user("carol").get("/orders").await.body, json!([]));
}

#[tokio::test]
async fn somebody_elses_order_looks_exactly_like_an_unknown_one() {
    let (_files, app) = alone(&[]).await;
    let id = app.user("alice").place("1", 1).await;
    let mallory = app.user("mallory");
    let mut bodies = Vec::new();
    for path in [format!("/orders/{id}"), format!("/orders/{}", Uuid::now_v7()), "/orders/%ff".to_owned()] {
        let answer = mallory.get(&path).await;
        answer.problem(404);
        let mut body = answer.body;
        body.as_object_mut().unwrap().remove("requestId");
        bodies.push(body);
    }
    assert_eq!(bodies[0], bodies[1]);
    assert_eq!(bodies[0], bodies[2]);
    assert_eq!(app.user("alice").order(&id).await["id"], id);
}

#[tokio::test]
async fn what_looks_like_sql_is_stored_as_it_came() {
    let (files, app) = alone(&[]).await;
    let hostile = r#"1'); DROP TABLE orders; --" \ % _ ${x} 🦀"#;
    let user = "bob' OR '1'='1";
    app.user("alice").place("1", 1).await;
    let id = app.user(user).place(hostile, 1).await;
    assert_eq!(app.user(user).order(&id).await["productId"], hostile);
    assert_eq!(app.user(user).get("/orders").await.body.as_array().unwrap().len(), 1);
    app.user(user).get("/orders/x'%20OR%20'1'='1").await.problem(404);
    let look = files.look();
    assert_eq!(look.text(&format!("SELECT product_id FROM orders WHERE id = '{id}'")).await, hostile);
    assert_eq!(look.orders().await, 2);
}

#[tokio::test]
async fn a_sane_request_id_of_the_client_is_kept_and_any_other_replaced() {
    let (_files, _app, alice) = alone_with_alice().await;
    let request = |id: &str| CONTRACT.send(alice.request(Method::GET, "/orders").header("x-request-id", id));
    let kept = request("client-1_a.B").await;
    assert_eq!(kept.headers()["x-request-id"], "client-1_a.B");
    for other in ["", "with space", "<script>", &"x".repeat(129)] {
        let replaced = request(other).await.headers()["x-request-id"].to_str().unwrap().to_owned();
        assert_eq!(Uuid::parse_str(&replaced).unwrap().get_version_num(), 7, "{other:?}");
    }
}
