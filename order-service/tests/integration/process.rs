//! The real process: signals, exit codes, log lines, metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::Response;
use serde_json::Value;
use shared::settings::DEMO_SECRET;
use testing::{assert_has_lines, families};
use tokio::task::{JoinHandle, JoinSet};

use crate::fixture::nats::stored_messages;
use crate::fixture::process::{refusal, spawn, spawn_alone};
use crate::fixture::{Broker, CONTRACT, Files, Publisher, SECRET, ServiceProcess, wait_until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_ends_cleanly_and_every_201_is_stored_and_announced() {
    let (files, broker) = (Files::new(), Broker::start().await);
    let mut service = spawn(&files, &broker.url(), &[]).await;
    let accepted = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for number in 0..16 {
        let (user, accepted) = (service.user(&format!("user-{number}")), accepted.clone());
        clients.spawn(async move {
            let mut ids = Vec::new();
            loop {
                // Not taken: the connection was closed or refused.
                let Ok(response) = CONTRACT.try_send(user.order_request("1", 1)).await else { return ids };
                assert_eq!(response.status(), 201);
                let order: Value = response.json().await.expect("a 201 comes whole");
                ids.push(order["id"].as_str().unwrap().to_owned());
                accepted.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    wait_until("300 orders are accepted", || async { accepted.load(Ordering::Relaxed) >= 300 }).await;
    let status = service.terminate().await;
    let mut answered: Vec<String> = clients.join_all().await.concat();
    answered.sort_unstable();
    assert_eq!(status.code(), Some(0), "{}", service.log());
    let look = files.look();
    let stored = look.texts("SELECT id FROM orders ORDER BY id").await;
    assert_eq!(stored, answered, "each 201 is stored, and whatever is stored was answered");
    assert_eq!(look.outbox().await, 0, "the relay emptied the outbox while it drained");
    let messages = stored_messages(&broker).await;
    assert_eq!(messages.len(), stored.len());
    assert!(service.log().contains("\"drained\""));
}

/// A POST that waits for the write lock, so that a drain has something to wait for.
async fn stuck_post(service: &ServiceProcess) -> JoinHandle<reqwest::Result<Response>> {
    let post = service.user("alice").order_request("1", 1);
    let post = tokio::spawn(async { CONTRACT.try_send(post).await });
    tokio::task::yield_now().await;
    wait_until("the service takes requests after that one", || async { service.get("/readyz").await.0 > 0 })
        .await;
    post
}

#[tokio::test]
async fn a_drain_that_takes_too_long_ends_with_exit_code_1_and_says_so() {
    let (files, mut service) = spawn_alone(&[("DRAIN_SECONDS", "1")]).await;
    service.user("alice").place("1", 1).await;
    let lock = files.hold_write_lock().await;
    let post = stuck_post(&service).await;
    let status = service.terminate().await;
    lock.release().await;
    assert_eq!(status.code(), Some(1), "{}", service.log());
    assert!(service.log().contains("DRAIN_SECONDS"), "{}", service.log());
    assert!(post.await.unwrap().is_err(), "it was never answered");
    assert_eq!(files.look().orders().await, 1);
}

#[tokio::test]
async fn orders_that_were_not_committed_are_not_logged_as_committed() {
    let (files, mut service) = spawn_alone(&[]).await;
    let lock = files.hold_write_lock().await;
    // 504 if another writer of the service waited for the lock before it.
    let status = service.user("alice").post("1", 1).await.status;
    assert!([503, 504].contains(&status), "{status}");
    wait_until("it is logged", async || service.log().contains("requests not committed")).await;
    lock.release().await;
    assert!(!service.log().contains("orders committed"), "{}", service.log());
    service.stop().await;
}

#[tokio::test]
async fn a_second_signal_ends_a_drain_at_once() {
    let (files, mut service) = spawn_alone(&[("DRAIN_SECONDS", "3600")]).await;
    let lock = files.hold_write_lock().await;
    let post = stuck_post(&service).await;
    service.signal_termination().await;
    wait_until("it drains", || async { service.log().contains("\"draining\"") }).await;
    let status = service.terminate().await;
    lock.release().await;
    assert_eq!(status.code(), Some(1), "{}", service.log());
    assert!(service.log().contains("second signal"), "{}", service.log());
    assert!(post.await.unwrap().is_err(), "it was never answered");
}

#[tokio::test]
async fn a_second_process_on_the_same_database_is_refused() {
    let (files, mut first) = spawn_alone(&[]).await;
    let errors = refusal(&files.database()).await;
    let message = format!("another process uses the database {}", files.database().display());
    assert!(errors.contains(&message), "{errors}");
    assert_eq!(first.user("alice").post("1", 1).await.status, 201, "the first is not disturbed");
    first.stop().await;
}

#[tokio::test]
async fn log_lines_are_json_and_never_hold_a_secret_a_token_or_a_body() {
    let (files, broker) = (Files::new(), Broker::start().await);
    let mut service = spawn(&files, &broker.url(), &[("RUST_LOG", "debug")]).await;
    let id = service.user("alice").place("a-secret-product", 1).await;
    service.user("alice").get("/nowhere").await.problem(404);
    let inventory = Publisher::inventory(&broker).await;
    inventory.publish(r#"{"orderId":"a","status":"a-secret-value"}"#).await;
    wait_until("it is set aside", || async { service.log().contains("invalid_event") }).await;
    files.look().until_outbox_is_empty().await;
    service.stop().await;
    let log = service.log();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
    }
    assert!(log.contains(&id), "an order's line carries its id");
    let token = testing::service::token("alice", None);
    let header = token.split('.').next().unwrap();
    for secret in [SECRET, "order-demo-password", header, "demo secret", "a-secret-product", "a-secret-value"]
    {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test]
async fn the_published_demo_secret_is_warned_of() {
    let (_files, mut service) = spawn_alone(&[("JWT_SECRET", DEMO_SECRET)]).await;
    let log = service.log();
    let warning = log.lines().find(|line| line.contains("demo secret")).expect("a warning");
    assert!(warning.contains("WARN") && warning.contains("JWT_SECRET"), "{warning}");
    assert!(!log.contains(DEMO_SECRET));
    service.terminate().await;
}

#[tokio::test]
async fn every_metric_family_is_there_from_the_start_with_what_it_tells() {
    let (_files, mut service) = spawn_alone(&[]).await;
    let metrics = service.get("/metrics").await.1;
    families::assert_all_described(&metrics, &["shared", "order-service"]);
    let start = r#"dead_letters_total{consumer="order-service",reason="conflicting_result"} 0"#;
    assert!(metrics.contains(start), "a counter by labels starts, too:\n{metrics}");
    service.terminate().await;
}

#[tokio::test]
async fn metrics_tell_what_waits() {
    let (_files, mut service) = spawn_alone(&[]).await;
    for _ in 0..3 {
        service.user("alice").place("1", 1).await;
    }
    let metrics = service.get("/metrics").await.1;
    let version = env!("CARGO_PKG_VERSION");
    let lines = [
        &format!("build_info{{service=\"order-service\",version=\"{version}\"}} 1"),
        "broker_connected 0",
        "database_writable 1",
        "orders_pending 3",
        "outbox_rows 3",
        "orders_created_total 3",
    ];
    assert_has_lines(&metrics, &lines);
    service.terminate().await;
}
