//! Dead letters of the inventory: looked at, redriven, discarded, through the admin routes and the command.

use reqwest::Method;
use serde_json::{Value, json};
use shared::contract::subjects::ORDER_CREATED;
use testing::service::Db;
use testing::{Broker, wait_until};

use crate::fixture::{
    Answer, Caller, Home, Inventory, Observer, alone, answer_to, confirmed, connected, ends, order, tool,
};

async fn ask(caller: &Caller, method: Method, path: &str) -> Answer {
    caller.send(caller.request(method, &format!("/admin/dead-letters{path}"))).await
}

pub async fn redrive(inventory: &Inventory, path: &str) -> Value {
    ask(&inventory.admin(), Method::POST, path).await.body
}

/// A dead letter of a version whose handler could not cope with this body yet.
async fn write_dead_letter(home: &Home, body: &str) {
    Db::of(&home.path("inventory.db")).write_dead_letter(ORDER_CREATED, "handler_panicked", body).await;
}

#[tokio::test]
async fn a_dead_letter_shows_its_reason_and_its_raw_bytes_while_other_orders_flow() {
    let (broker, home, inventory) = connected().await;
    let (publisher, mut observer) = ends(&broker).await;
    publisher.publish("garbage").await;
    publisher.publish(&b"\xff\xfe"[..]).await;
    publisher.publish(order("good", "1", 1)).await;
    assert_eq!(observer.next_bodies(1).await, [confirmed("good")]);
    let list = ask(&inventory.admin(), Method::GET, "").await.body;
    let rows = list.as_array().unwrap().iter();
    let shown: Vec<_> = rows.map(|row| json!([row["body"], row["bodyBase64"], row["reason"]])).collect();
    assert_eq!(shown, [json!(["garbage", null, "invalid_event"]), json!([null, "//4=", "invalid_event"])]);
    assert_eq!(ask(&inventory.admin(), Method::GET, "/1").await.body["headers"], json!({}));

    // Garbage stays garbage, and a dry run does not even count.
    let dry = redrive(&inventory, "/1/redrive?dryRun=true").await;
    assert_eq!((&dry["outcome"], home.dead_letters().await[0].3), (&json!("dead"), 1));
    assert_eq!(redrive(&inventory, "/1/redrive").await, dry);
    assert_eq!(home.dead_letters().await[0].3, 2);
    home.close(inventory).await;
}

/// Reservations, the stock of product 1, and dead letters.
async fn state(home: &Home) -> (i64, i64, usize) {
    (home.reservations().await, home.stock("1").await, home.dead_letters().await.len())
}

#[tokio::test]
async fn a_redrive_decides_the_order_once_answers_it_and_removes_the_row() {
    let (broker, home, inventory) = connected().await;
    let mut observer = Observer::of_answers(&broker).await;
    write_dead_letter(&home, &order("late", "1", 3)).await;
    let report = redrive(&inventory, "/1/redrive?dryRun=true").await;
    assert_eq!(report, json!({"id": 1, "outcome": "done", "effect": "confirmed"}));
    assert_eq!(state(&home).await, (0, 10, 1));
    assert_eq!(redrive(&inventory, "/1/redrive").await, report);
    assert_eq!(state(&home).await, (1, 7, 0));
    assert_eq!(observer.next_bodies(1).await, [confirmed("late")]);

    // The same order in other words: no second effect, the stored answer again.
    write_dead_letter(&home, r#"{"quantity":3,"productId":"1","orderId":"late"}"#).await;
    assert_eq!(redrive(&inventory, "/2/redrive").await["effect"], "repeated");
    assert_eq!(state(&home).await, (1, 7, 0));
    assert_eq!(observer.next_bodies(1).await, [confirmed("late")]);
    assert_eq!(redrive(&inventory, "/2/redrive").await["status"], 404);
    home.close(inventory).await;
}

#[tokio::test]
async fn the_effect_and_the_deletion_of_the_row_happen_together_or_not_at_all() {
    let (home, inventory) = alone().await;
    write_dead_letter(&home, &order("late", "1", 3)).await;
    home.change("CREATE TRIGGER kept BEFORE DELETE ON dead_letters BEGIN SELECT RAISE(ABORT, 'kept by the test'); END")
        .await;
    let report = redrive(&inventory, "/1/redrive").await;
    assert_eq!(report["outcome"], "failed", "{report}");
    assert_eq!((home.reservations().await, home.outbox().await, home.stock("1").await), (0, 0, 10));
    assert_eq!(home.dead_letters().await[0].3, 1, "the row is as it was");
    home.change("DROP TRIGGER kept").await;
    assert_eq!(redrive(&inventory, "/1/redrive").await["outcome"], "done");
    assert_eq!((home.reservations().await, home.outbox().await, home.stock("1").await), (1, 1, 7));
    assert_eq!(home.dead_letters().await.len(), 0);
    home.close(inventory).await;
}

#[tokio::test]
async fn a_restored_backup_redrives_nothing_until_it_adopts_the_consumer() {
    let broker = Broker::start().await;
    let (home, restored) = (Home::at(&broker), Home::at(&broker));
    let inventory = home.start(&[]).await;
    inventory.until_broker_is("connected").await;
    write_dead_letter(&home, &order("late", "1", 3)).await;
    home.back_up_to(&restored).await;
    inventory.stop().await;

    let inventory = restored.start(&[]).await;
    inventory.until_not_owned().await;
    for path in ["/1/redrive?dryRun=true", "/1/redrive", "/redrive"] {
        let refused = redrive(&inventory, path).await;
        assert_eq!(refused["status"], 503, "{refused}");
        assert!(refused["detail"].as_str().unwrap().contains("belongs to another database"), "{refused}");
    }
    broker.kill().await;
    inventory.until_broker_is("unreachable").await;
    assert_eq!(
        redrive(&inventory, "/1/redrive").await["status"],
        503,
        "a broker that is away changes nothing"
    );
    broker.start_again().await;
    inventory.until_not_owned().await;
    assert_eq!((restored.reservations().await, restored.dead_letters().await[0].3), (0, 1));
    let admin = inventory.admin();
    assert_eq!(admin.send(admin.request(Method::POST, "/admin/adopt")).await.status, 200);
    assert_eq!(redrive(&inventory, "/1/redrive").await["outcome"], "done");
    assert_eq!((restored.stock("1").await, restored.dead_letters().await.len()), (7, 0));
    restored.close(inventory).await;
}

#[tokio::test]
async fn only_an_admin_may_look_at_dead_letters_or_touch_them() {
    let (home, inventory) = alone().await;
    write_dead_letter(&home, "garbage").await;
    let routes = [
        (Method::GET, ""),
        (Method::GET, "/1"),
        (Method::POST, "/1/redrive"),
        (Method::POST, "/redrive"),
        (Method::DELETE, "/1"),
    ];
    for (method, path) in routes {
        let request =
            inventory.http.request(method.clone(), inventory.at(&format!("/admin/dead-letters{path}")));
        let answer = answer_to(request).await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, "Bearer"));
        assert_eq!(ask(&inventory.keeper("operator"), method, path).await.status, 403);
    }
    assert_eq!(home.dead_letters().await[0].3, 1);
    assert_eq!(ask(&inventory.admin(), Method::DELETE, "/1").await.status, 204);
    assert_eq!(home.dead_letters().await.len(), 0);
    assert_eq!(ask(&inventory.admin(), Method::DELETE, "/1").await.status, 404);
    inventory.stop().await;
}

#[tokio::test]
async fn the_command_reaches_the_running_service_and_its_exit_code_tells_what_stays() {
    let (home, inventory) = alone().await;
    write_dead_letter(&home, &order("late", "1", 3)).await;
    write_dead_letter(&home, "garbage").await;
    let run = async |arguments: &[&str]| tool(&inventory, &[&["dead-letters"], arguments].concat()).await;
    let list = run(&["list"]).await.said;
    assert!(list.starts_with("1  order_created  handler_panicked  attempts 1"), "{list}");
    let redriven = run(&["redrive", "--all"]).await;
    assert!(redriven.code == Some(1) && redriven.said.ends_with("1 done\n"), "{redriven:?}");
    assert_eq!(run(&["discard", "2"]).await.success(), "2  discarded\n");
    wait_until("the gauge is 0", async || inventory.metrics().await.contains("\ndead_letters 0\n")).await;
    assert_eq!((home.reservations().await, home.dead_letters().await.len()), (1, 0));
    home.close(inventory).await;
}
