//! `Prefer: wait=N`: answers that wait for their order, and never longer than they must.

use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::fixture::nats::cancelled;
use crate::fixture::{
    Answer, App, Caller, Publisher, alone, alone_with_alice, answer_to, connected, wait_until,
};

fn post(caller: &Caller, prefer: &str) -> RequestBuilder {
    caller.order_request("1", 1).header("Prefer", prefer)
}

fn get(caller: &Caller, id: &str, prefer: &str) -> RequestBuilder {
    caller.request(Method::GET, &format!("/orders/{id}")).header("Prefer", prefer)
}

/// How many requests wait, as the service counts them.
async fn waiting(app: &App) -> String {
    let metrics = app.metrics().await;
    let line = metrics.lines().find_map(|line| line.strip_prefix("http_requests_waiting "));
    line.unwrap_or_default().to_owned()
}

/// Sends a request in a task of its own, and returns once the service waits with it.
async fn begin(app: &App, request: RequestBuilder) -> JoinHandle<Answer> {
    let answer = tokio::spawn(answer_to(request));
    wait_until("the request waits", || async { waiting(app).await == "1" }).await;
    answer
}

#[tokio::test]
async fn a_post_with_prefer_wait_answers_as_soon_as_the_order_is_settled() {
    let (_files, broker, app, alice) = connected().await;
    let inventory = Publisher::inventory(&broker).await;
    let started = Instant::now();
    let answer = begin(&app, post(&alice, "wait=30")).await;
    // All services of this process set the same gauge: what waits may be another test's request.
    wait_until("the order is stored", || async { alice.get("/orders").await.body[0].is_object() }).await;
    let id = alice.get("/orders").await.body[0]["id"].as_str().unwrap().to_owned();
    inventory.publish(&cancelled(&id, "insufficient_stock")).await;
    let answer = answer.await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(25), "long before the wait ends");
    assert_eq!((answer.status, answer.header("preference-applied")), (201, "wait=30"));
    assert_eq!(answer.header("location"), format!("/orders/{id}"));
    assert_eq!(answer.body, alice.get("/orders").await.body[0], "the order as a list has it");
    assert_eq!(answer.body["status"], "cancelled");
    assert_eq!(answer.body["reason"], "insufficient_stock");

    // Settled already, or never to be found: both are answered at once.
    let settled = answer_to(get(&alice, &id, "wait=30")).await;
    assert_eq!((settled.status, settled.header("preference-applied")), (200, "wait=30"));
    assert_eq!(settled.body, alice.order(&id).await);
    for (caller, id) in [(&alice, Uuid::now_v7().to_string()), (&app.user("bob"), id)] {
        let unknown = answer_to(get(caller, &id, "wait=30")).await;
        unknown.problem(404);
        assert_eq!(unknown.header("preference-applied"), "");
    }
    assert!(started.elapsed() < Duration::from_secs(25));
    app.stop().await;
}

#[tokio::test]
async fn every_request_that_waits_for_an_order_is_answered_when_it_is_settled() {
    let (_files, broker, app, alice) = connected().await;
    let inventory = Publisher::inventory(&broker).await;
    let first = alice.post_with_key("k", "1", 1).await;
    let started = Instant::now();
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers.push(tokio::spawn(answer_to(post(&alice, "wait=30").header("Idempotency-Key", "k"))));
        answers.push(tokio::spawn(answer_to(get(&alice, &first.id(), "respond-async, wait=29"))));
        answers.push(tokio::spawn(answer_to(get(&app.admin(), &first.id(), "Wait=\"28\"; x"))));
    }
    wait_until("all wait", || async { waiting(&app).await == "60" }).await;
    inventory.confirm(&first.id()).await;
    for (number, answer) in answers.into_iter().enumerate() {
        let answer = answer.await.unwrap();
        let (status, applied, replayed) =
            [(201, "wait=30", "true"), (200, "wait=29", ""), (200, "wait=28", "")][number % 3];
        assert_eq!((answer.status, answer.header("preference-applied")), (status, applied));
        assert_eq!(answer.header("idempotency-replayed"), replayed);
        assert_eq!((answer.id(), &answer.body["status"]), (first.id(), &"confirmed".into()));
    }
    assert!(started.elapsed() < Duration::from_secs(25));
    assert_eq!(waiting(&app).await, "0");
    app.stop().await;
}

#[tokio::test]
async fn a_wait_that_ends_first_answers_the_current_state() {
    let (_files, app, alice) = alone_with_alice().await;
    let started = Instant::now();
    let answer = answer_to(post(&alice, "wait=1")).await;
    assert!(started.elapsed() >= Duration::from_secs(1), "it waited");
    assert_eq!((answer.status, answer.header("preference-applied")), (201, "wait=1"));
    assert_eq!(answer.body["status"], "created");
    let answer = answer_to(get(&alice, &answer.id(), "wait=0")).await;
    assert_eq!((answer.status, answer.header("preference-applied")), (200, "wait=0"));
    assert_eq!(answer.body["status"], "created");
    for ignored in ["wait=soon", "respond-async", "wait=-1"] {
        let answer = answer_to(get(&alice, &answer.id(), ignored)).await;
        assert_eq!((answer.status, answer.header("preference-applied")), (200, ""), "{ignored}");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_wait_ends_with_the_drain() {
    let (files, app, alice) = alone_with_alice().await;
    let answer = begin(&app, post(&alice, "wait=30")).await;
    let started = Instant::now();
    app.stop().await;
    assert!(started.elapsed() < Duration::from_secs(8), "the drain did not wait for it");
    let answer = answer.await.unwrap();
    assert_eq!((answer.status, answer.body["status"].as_str()), (201, Some("created")));
    assert_eq!(files.look().orders().await, 1);
}

#[tokio::test]
async fn a_client_that_goes_away_while_it_waits_leaves_nothing_behind() {
    let (files, app) = alone(&[]).await;
    let answer = begin(&app, post(&app.user("alice"), "wait=30")).await;
    answer.abort();
    wait_until("its place is free", || async { waiting(&app).await == "0" }).await;
    assert_eq!(files.look().orders().await, 1, "the order is stored all the same");
    app.stop().await;
}

#[tokio::test]
async fn requests_that_wait_hold_no_connection_to_the_database() {
    let (_files, app, alice) = alone_with_alice().await;
    let answers: Vec<_> = (0..50).map(|_| tokio::spawn(answer_to(post(&alice, "wait=30")))).collect();
    wait_until("all wait", || async { waiting(&app).await == "50" }).await;
    assert_eq!(alice.get("/orders").await.body.as_array().unwrap().len(), 50);
    assert_eq!(alice.post("1", 1).await.status, 201);
    app.stop().await;
    for answer in answers {
        assert_eq!(answer.await.unwrap().status, 201);
    }
}
