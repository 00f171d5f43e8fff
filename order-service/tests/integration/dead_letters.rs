//! The admin routes of the dead letters, and what a redrive does.

use std::sync::Arc;

use anyhow::{Result, bail};
use async_nats::HeaderMap;
use futures_util::FutureExt;
use order_service::orders::settlement::SettleOrders;
use reqwest::Method;
use serde_json::{Value, json};
use shared::contract::events::{OrderProcessed, Received};
use shared::contract::subjects::ORDER_PROCESSED;
use shared::delivery::dead_letter::redrive::{DeadLetters, Mode, Redriven};
use shared::delivery::handler::{EventHandler, Outcome};
use shared::operations::jobs::jobs;
use shared::storage::Tx;

use crate::fixture::nats::confirmed;
use crate::fixture::parts::Parts;
use crate::fixture::{Answer, App, Caller, Db, Files, Publisher, alone, answer_to, connected, wait_until};

/// An order that somebody writes into the database behind the service's back.
pub async fn write_order(look: &Db, id: &str) {
    let row = format!("'{id}', 'alice', '1', 1, 'created', 0, '', 9000000000000");
    let columns = "id, user_id, product_id, quantity, status, created_at, traceparent, sent_at";
    look.change(&format!("INSERT INTO orders ({columns}) VALUES ({row})")).await;
}

/// A dead letter as an earlier run left it.
pub async fn write_dead_letter(look: &Db, body: &str) {
    look.write_dead_letter(ORDER_PROCESSED, "unknown_order", body).await;
}

async fn ask(caller: &Caller, method: Method, path: &str) -> Answer {
    answer_to(caller.request(method, &format!("/admin/dead-letters{path}"))).await
}

/// Redrives something and returns the report.
async fn redrive(caller: &Caller, path: &str) -> Value {
    let answer = ask(caller, Method::POST, path).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

async fn alone_with_admin() -> (Files, App, Db, Caller) {
    let (files, app) = alone(&[]).await;
    let (look, admin) = (files.look(), app.admin());
    (files, app, look, admin)
}

/// The whole table, to compare before and after.
async fn table(look: &Db) -> Vec<String> {
    look.texts("SELECT id || subject || hex(body) || headers || reason || detail || attempts || last_seen_at FROM dead_letters ORDER BY id").await
}

async fn status_of(look: &Db, id: &str) -> String {
    look.text(&format!("SELECT status FROM orders WHERE id = '{id}'")).await
}

#[tokio::test]
async fn a_dead_letter_shows_its_reason_and_its_raw_bytes_while_other_orders_flow() {
    let (_files, broker, app, alice) = connected().await;
    let (admin, inventory) = (app.admin(), Publisher::inventory(&broker).await);
    let mut headers = HeaderMap::new();
    headers.append("x-note", "one");
    headers.append("x-note", "two");
    inventory.publish_with(headers, "garbage").await;
    inventory.publish_with(HeaderMap::new(), &b"\xff\xfe"[..]).await;
    let order = alice.place("1", 1).await;
    inventory.confirm(&order).await;
    alice.until_order_is(&order, "confirmed").await;

    let list = ask(&admin, Method::GET, "").await;
    assert_eq!((list.status, list.header("link")), (200, ""), "{list:?}");
    let [text, raw] = &list.body.as_array().unwrap()[..] else { panic!("{list:?}") };
    assert_eq!((&text["subject"], &text["reason"]), (&json!("order_processed"), &json!("invalid_event")));
    assert_eq!(json!([text["body"], text["bodyBytes"], text["attempts"]]), json!(["garbage", 7, 1]));
    assert!(text["detail"].as_str().unwrap().contains("expected value"), "{text}");
    assert!(text["firstSeenAt"].as_str().unwrap().ends_with('Z'), "{text}");
    assert_eq!(text["firstSeenAt"], text["lastSeenAt"]);
    assert_eq!((raw.get("body"), &raw["bodyBase64"]), (None, &json!("//4=")), "{raw}");
    let one = ask(&admin, Method::GET, &format!("/{}", text["id"])).await;
    assert_eq!((one.status, &one.body["headers"]), (200, &json!({"x-note": ["one", "two"]})), "{one:?}");
    app.stop().await;
}

#[tokio::test]
async fn a_long_list_comes_in_pages_and_a_large_body_whole_only_alone() {
    let (_files, app, look, admin) = alone_with_admin().await;
    let large = "ä".repeat(3_000);
    for body in ["a", "b", &large] {
        write_dead_letter(&look, body).await;
    }
    let first = ask(&admin, Method::GET, "?limit=2").await;
    assert_eq!(first.body.as_array().unwrap().len(), 2);
    assert_eq!(first.header("link"), "</admin/dead-letters?after=2&limit=2>; rel=\"next\"");
    let last = ask(&admin, Method::GET, "?after=2&limit=2").await;
    assert_eq!((last.body.as_array().unwrap().len(), last.header("link")), (1, ""));
    assert_eq!(last.body[0]["body"], json!("ä".repeat(512)), "the beginning, and no broken character");
    assert_eq!(last.body[0]["bodyBytes"], 6_000);
    assert_eq!(ask(&admin, Method::GET, "/3").await.body["body"], json!(large));

    for (query, field) in
        [("?limit=0", "limit"), ("?limit=201", "limit"), ("?after=x", "after"), ("?page=2", "page")]
    {
        let detail = ask(&admin, Method::GET, query).await.problem(400);
        assert!(detail.contains(field), "{query}: {detail}");
    }
    for query in ["?limit=2", "?after=1"] {
        let detail = ask(&admin, Method::POST, &format!("/1/redrive{query}")).await.problem(400);
        assert!(detail.contains("dryRun"), "one is redriven, whatever the query says: {detail}");
    }
    ask(&admin, Method::GET, "/4").await.problem(404);
    ask(&admin, Method::GET, "/x").await.problem(404);
    ask(&admin, Method::POST, "/4/redrive").await.problem(404);
    ask(&admin, Method::DELETE, "/4").await.problem(404);
    app.stop().await;
}

#[tokio::test]
async fn a_redrive_after_the_cause_is_mended_settles_the_order_once_and_removes_the_row() {
    let (files, broker, app, _alice) = connected().await;
    let (look, admin, inventory) = (files.look(), app.admin(), Publisher::inventory(&broker).await);
    inventory.confirm("late").await;
    wait_until("the answer is set aside", || async { table(&look).await.len() == 1 }).await;
    let report = redrive(&admin, "/1/redrive").await;
    assert_eq!(json!([report["outcome"], report["reason"]]), json!(["dead", "unknown_order"]), "{report}");

    write_order(&look, "late").await;
    let before = table(&look).await;
    let report = redrive(&admin, "/1/redrive?dryRun=true").await;
    assert_eq!(report, json!({"id": 1, "outcome": "done", "effect": "confirmed"}));
    assert_eq!((status_of(&look, "late").await.as_str(), table(&look).await), ("created", before));
    assert_eq!(redrive(&admin, "/1/redrive").await, report, "what the dry run had said");
    assert_eq!((status_of(&look, "late").await.as_str(), table(&look).await.len()), ("confirmed", 0));
    ask(&admin, Method::POST, "/1/redrive").await.problem(404);

    // The same answer once more has no second effect.
    write_dead_letter(&look, &confirmed("late")).await;
    let settled_at = look.number("SELECT settled_at FROM orders").await;
    let report = redrive(&admin, "/2/redrive").await;
    assert_eq!((&report["outcome"], &report["effect"]), (&json!("done"), &json!("repeated")), "{report}");
    assert_eq!(look.number("SELECT settled_at FROM orders").await, settled_at);
    assert_eq!(table(&look).await.len(), 0);
    app.stop().await;
}

#[tokio::test]
async fn garbage_stays_dead_with_one_more_attempt_and_a_dry_run_does_not_even_count() {
    let (_files, app, look, admin) = alone_with_admin().await;
    write_dead_letter(&look, "garbage").await;
    let before = table(&look).await;
    let dry = redrive(&admin, "/1/redrive?dryRun=true").await;
    assert_eq!((&dry["outcome"], &dry["reason"]), (&json!("dead"), &json!("invalid_event")), "{dry}");
    assert_eq!(table(&look).await, before);
    assert_eq!(redrive(&admin, "/1/redrive?dryRun=false").await, dry);
    let after = look.text("SELECT reason || ' ' || attempts || ' ' || (detail <> 'as found') || ' ' || (last_seen_at > first_seen_at) FROM dead_letters").await;
    assert_eq!(after, "invalid_event 2 1 1");
    app.stop().await;
}

#[tokio::test]
async fn the_effect_and_the_deletion_of_the_row_happen_together_or_not_at_all() {
    let (_files, app, look, admin) = alone_with_admin().await;
    write_order(&look, "late").await;
    write_dead_letter(&look, &confirmed("late")).await;
    let before = table(&look).await;
    look.change("CREATE TRIGGER kept BEFORE DELETE ON dead_letters BEGIN SELECT RAISE(ABORT, 'kept by the test'); END")
        .await;
    let report = redrive(&admin, "/1/redrive").await;
    assert_eq!(report["outcome"], "failed", "{report}");
    assert!(report["detail"].as_str().unwrap().contains("kept by the test"), "{report}");
    assert_eq!((status_of(&look, "late").await.as_str(), table(&look).await), ("created", before));
    look.change("DROP TRIGGER kept").await;
    assert_eq!(redrive(&admin, "/1/redrive").await["outcome"], "done");
    assert_eq!((status_of(&look, "late").await.as_str(), table(&look).await.len()), ("confirmed", 0));
    app.stop().await;
}

#[tokio::test]
async fn all_are_redriven_in_bounded_steps_and_those_at_fault_stop_no_other() {
    let (_files, app, look, admin) = alone_with_admin().await;
    for number in 1..=3 {
        write_order(&look, &format!("late-{number}")).await;
        write_dead_letter(&look, &format!("garbage {number}")).await;
        write_dead_letter(&look, &confirmed(&format!("late-{number}"))).await;
    }
    let before = table(&look).await;
    let dry = redrive(&admin, "/redrive?dryRun=true").await;
    assert_eq!((&dry["done"], dry["stay"].as_array().unwrap().len(), dry.get("next")), (&json!(3), 3, None));
    assert_eq!(table(&look).await, before);

    let step = redrive(&admin, "/redrive?limit=4").await;
    assert_eq!((&step["done"], &step["next"]), (&json!(2), &json!(4)), "{step}");
    let stay: Vec<_> =
        step["stay"].as_array().unwrap().iter().map(|row| (&row["id"], &row["reason"])).collect();
    assert_eq!(stay, [(&json!(1), &json!("invalid_event")), (&json!(3), &json!("invalid_event"))]);
    let step = redrive(&admin, "/redrive?limit=4&after=4").await;
    assert_eq!((&step["done"], &step["stay"][0]["id"], step.get("next")), (&json!(1), &json!(5), None));
    assert_eq!(look.number("SELECT count(*) FROM orders WHERE status = 'confirmed'").await, 3);
    assert_eq!(table(&look).await.len(), 3);
    app.stop().await;
}

#[tokio::test]
async fn a_redrive_while_nothing_can_be_written_is_refused_and_certainly_changed_nothing() {
    let (files, app, look, admin) = alone_with_admin().await;
    write_dead_letter(&look, "garbage").await;
    let before = table(&look).await;
    let lock = files.hold_write_lock().await;
    let (all, discard) =
        tokio::join!(ask(&admin, Method::POST, "/redrive"), ask(&admin, Method::DELETE, "/1"));
    for answer in [all, discard] {
        answer.problem(503);
    }
    lock.release().await;
    assert_eq!(table(&look).await, before);
    app.stop().await;
}

#[tokio::test]
async fn only_an_admin_may_look_at_dead_letters_or_touch_them() {
    let (files, app) = alone(&[]).await;
    let (look, user) = (files.look(), app.user("alice"));
    write_dead_letter(&look, "garbage").await;
    let before = table(&look).await;
    let routes = [
        (Method::GET, ""),
        (Method::GET, "/1"),
        (Method::POST, "/1/redrive"),
        (Method::POST, "/redrive"),
        (Method::DELETE, "/1"),
    ];
    for (method, path) in routes {
        let url = format!("{}/admin/dead-letters{path}", app.url);
        answer_to(app.http.request(method.clone(), url)).await.problem(401);
        let detail = ask(&user, method, path).await.problem(403);
        assert!(detail.contains("admin"), "{detail}");
    }
    assert_eq!(table(&look).await, before);
    let gone = ask(&app.admin(), Method::DELETE, "/1").await;
    assert_eq!((gone.status, table(&look).await.len()), (204, 0), "{gone:?}");
    app.stop().await;
}

#[tokio::test]
async fn a_redrive_happens_whole_although_whoever_asked_for_it_goes_away() {
    let (files, parts) = Parts::alone().await;
    let look = files.look();
    write_order(&look, "late").await;
    write_dead_letter(&look, &confirmed("late")).await;
    let letters = DeadLetters::new(parts.database.clone(), parts.connection.clone(), Arc::new(SettleOrders));
    let (jobs, doing) = jobs();
    // Polled once and dropped, like the future of a request whose client hangs up.
    assert!(jobs.run(letters.redrive(1, Mode::Commit, "operator".to_owned())).now_or_never().is_none());
    drop(jobs);
    doing.await;
    assert_eq!((status_of(&look, "late").await.as_str(), table(&look).await.len()), ("confirmed", 0));
}

/// Settles orders, and then fails in one of two ways.
struct Faulty {
    panics: bool,
}

impl EventHandler for Faulty {
    type Event = OrderProcessed;

    async fn handle(&self, tx: &mut Tx, batch: &[Received<OrderProcessed>]) -> Result<Vec<Outcome>> {
        SettleOrders.handle(tx, batch).await?;
        assert!(!self.panics, "the handler is broken");
        bail!("the handler had no luck")
    }
}

#[tokio::test]
async fn a_handler_that_fails_or_panics_leaves_the_row_and_is_reported() {
    let (files, parts) = Parts::alone().await;
    let look = files.look();
    write_order(&look, "late").await;
    write_dead_letter(&look, &confirmed("late")).await;
    let before = table(&look).await;
    for (panics, says) in [(true, "the handler is broken"), (false, "the handler had no luck")] {
        let letters =
            DeadLetters::new(parts.database.clone(), parts.connection.clone(), Arc::new(Faulty { panics }));
        match letters.redrive(1, Mode::Commit, "operator".to_owned()).await {
            Ok(Redriven::Failed(detail)) => assert!(detail.contains(says), "{detail}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(status_of(&look, "late").await, "created");
        assert_eq!(table(&look).await, before);
    }
}

#[tokio::test]
async fn a_redrive_or_discard_of_which_nobody_can_tell_is_answered_504_and_not_as_one_that_failed() {
    let (_files, app, look, admin) = alone_with_admin().await;
    write_order(&look, "late").await;
    write_dead_letter(&look, &confirmed("late")).await;
    let before = table(&look).await;
    look.fail_commits_of("DELETE ON dead_letters").await;
    for (method, path) in [(Method::POST, "/1/redrive"), (Method::DELETE, "/1")] {
        ask(&admin, method, path).await.problem(504);
    }
    let all = redrive(&admin, "/redrive").await;
    assert_eq!((&all["done"], &all["stay"][0]["outcome"]), (&json!(0), &json!("unknown")), "{all}");
    let dry = redrive(&admin, "/1/redrive?dryRun=true").await;
    assert_eq!(dry["outcome"], "done", "nothing of it is committed: {dry}");
    look.change("DROP TRIGGER refers").await;
    assert_eq!((status_of(&look, "late").await.as_str(), table(&look).await), ("created", before));
    assert_eq!(redrive(&admin, "/1/redrive").await["outcome"], "done");
    app.stop().await;
}
