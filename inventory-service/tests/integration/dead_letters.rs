//! Dead letters of the inventory: looked at, redriven, discarded, through the admin routes and the command.

use std::process::Output;

use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use shared::http::auth::ADMIN_SCOPE;
use shared::settings::DEMO_SECRET;
use testing::service::Db;
use testing::{Broker, wait_until};

use crate::bus::{Observer, Publisher, confirmed, order};
use crate::fixture::{CONTRACT, Home, Inventory};
use crate::keeper::token;

async fn ask(inventory: &Inventory, method: Method, path: &str, scope: Option<&str>) -> Response {
    let url = inventory.at(&format!("/admin/dead-letters{path}"));
    CONTRACT.send(Client::new().request(method, url).bearer_auth(token("operator", scope))).await
}

async fn get(inventory: &Inventory, path: &str) -> Value {
    ask(inventory, Method::GET, path, Some(ADMIN_SCOPE)).await.json().await.unwrap()
}

pub async fn redrive(inventory: &Inventory, path: &str) -> Value {
    ask(inventory, Method::POST, path, Some(ADMIN_SCOPE)).await.json().await.unwrap()
}

/// Changes something behind the service's back.
pub async fn change(home: &Home, sql: &str) {
    Db::of(&home.path("inventory.db")).change(sql).await;
}

/// A dead letter of a version whose handler could not cope with this body yet.
async fn write_dead_letter(home: &Home, body: &str) {
    let insert = "INSERT INTO dead_letters (subject, body, headers, reason, detail, attempts, first_seen_at, last_seen_at)
        VALUES ('order_created', CAST($1 AS BLOB), '{}', 'handler_panicked', 'as found', 1, 0, 0)";
    let pool = Db::of(&home.path("inventory.db")).pool();
    sqlx::query(insert).bind(body).execute(&pool).await.unwrap();
}

#[tokio::test]
async fn a_dead_letter_shows_its_reason_and_its_raw_bytes_while_other_orders_flow() {
    let broker = Broker::start().await;
    let home = Home::at(&broker);
    let inventory = home.start(&[]).await;
    inventory.until_broker_is("connected").await;
    let (publisher, mut observer) = (Publisher::new(&broker).await, Observer::new(&broker).await);
    publisher.publish("garbage").await;
    publisher.publish(&b"\xff\xfe"[..]).await;
    publisher.publish(order("good", "1", 1)).await;
    assert_eq!(observer.next_bodies(1).await, [confirmed("good")]);
    let list = get(&inventory, "").await;
    let shown: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (&row["body"], &row["bodyBase64"], &row["reason"]))
        .collect();
    let invalid = json!("invalid_event");
    assert_eq!(
        shown,
        [(&json!("garbage"), &Value::Null, &invalid), (&Value::Null, &json!("//4="), &invalid)]
    );
    assert_eq!(get(&inventory, "/1").await["headers"], json!({}));

    // Garbage stays garbage, and a dry run does not even count.
    let dry = redrive(&inventory, "/1/redrive?dryRun=true").await;
    assert_eq!((&dry["outcome"], home.dead_letters().await[0].3), (&json!("dead"), 1));
    assert_eq!(redrive(&inventory, "/1/redrive").await, dry);
    assert_eq!(home.dead_letters().await[0].3, 2);
    inventory.stop().await;
    home.audit().await;
}

#[tokio::test]
async fn a_redrive_decides_the_order_once_answers_it_and_removes_the_row() {
    let broker = Broker::start().await;
    let home = Home::at(&broker);
    let inventory = home.start(&[]).await;
    inventory.until_broker_is("connected").await;
    let mut observer = Observer::new(&broker).await;
    write_dead_letter(&home, &order("late", "1", 3)).await;
    let report = redrive(&inventory, "/1/redrive?dryRun=true").await;
    assert_eq!(report, json!({"id": 1, "outcome": "done", "effect": "confirmed"}));
    assert_eq!(
        (home.reservations().await, home.stock("1").await, home.dead_letters().await.len()),
        (0, 10, 1)
    );
    assert_eq!(redrive(&inventory, "/1/redrive").await, report);
    assert_eq!(
        (home.reservations().await, home.stock("1").await, home.dead_letters().await.len()),
        (1, 7, 0)
    );
    assert_eq!(observer.next_bodies(1).await, [confirmed("late")]);

    // The same order in other words: no second effect, the stored answer again.
    write_dead_letter(&home, r#"{"quantity":3,"productId":"1","orderId":"late"}"#).await;
    assert_eq!(redrive(&inventory, "/2/redrive").await["effect"], "repeated");
    assert_eq!(
        (home.reservations().await, home.stock("1").await, home.dead_letters().await.len()),
        (1, 7, 0)
    );
    assert_eq!(observer.next_bodies(1).await, [confirmed("late")]);
    assert_eq!(redrive(&inventory, "/2/redrive").await["status"], 404);
    inventory.stop().await;
    home.audit().await;
}

#[tokio::test]
async fn the_effect_and_the_deletion_of_the_row_happen_together_or_not_at_all() {
    let home = Home::without_broker();
    let inventory = home.start(&[]).await;
    write_dead_letter(&home, &order("late", "1", 3)).await;
    change(&home, "CREATE TRIGGER kept BEFORE DELETE ON dead_letters BEGIN SELECT RAISE(ABORT, 'kept by the test'); END")
        .await;
    let report = redrive(&inventory, "/1/redrive").await;
    assert_eq!(report["outcome"], "failed", "{report}");
    assert_eq!((home.reservations().await, home.outbox().await, home.stock("1").await), (0, 0, 10));
    assert_eq!(home.dead_letters().await[0].3, 1, "the row is as it was");
    change(&home, "DROP TRIGGER kept").await;
    assert_eq!(redrive(&inventory, "/1/redrive").await["outcome"], "done");
    assert_eq!((home.reservations().await, home.outbox().await, home.stock("1").await), (1, 1, 7));
    assert_eq!(home.dead_letters().await.len(), 0);
    inventory.stop().await;
    home.audit().await;
}

#[tokio::test]
async fn a_restored_backup_redrives_nothing_until_it_adopts_the_consumer() {
    let broker = Broker::start().await;
    let (home, restored) = (Home::at(&broker), Home::at(&broker));
    let inventory = home.start(&[]).await;
    inventory.until_broker_is("connected").await;
    write_dead_letter(&home, &order("late", "1", 3)).await;
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_inventory-service"));
    command.env_clear().env("DATABASE", home.path("inventory.db"));
    assert!(command.arg("backup").arg(restored.path("inventory.db")).status().await.unwrap().success());
    inventory.stop().await;

    let inventory = restored.start(&[]).await;
    wait_until("the copy is not the consumer's", async || {
        inventory.json("/readyz").await["consumer"] == "not owned"
    })
    .await;
    for path in ["/1/redrive?dryRun=true", "/1/redrive", "/redrive"] {
        let refused = redrive(&inventory, path).await;
        assert_eq!(refused["status"], 503, "{refused}");
        assert!(refused["detail"].as_str().unwrap().contains("belongs to another database"), "{refused}");
    }
    assert_eq!((restored.reservations().await, restored.dead_letters().await[0].3), (0, 1));
    let adopted =
        Client::new().post(inventory.at("/admin/adopt")).bearer_auth(token("operator", Some(ADMIN_SCOPE)));
    assert_eq!(CONTRACT.send(adopted).await.status(), 200);
    assert_eq!(redrive(&inventory, "/1/redrive").await["outcome"], "done");
    assert_eq!((restored.stock("1").await, restored.dead_letters().await.len()), (7, 0));
    inventory.stop().await;
    restored.audit().await;
}

#[tokio::test]
async fn only_an_admin_may_look_at_dead_letters_or_touch_them() {
    let home = Home::without_broker();
    let inventory = home.start(&[]).await;
    write_dead_letter(&home, "garbage").await;
    let routes = [
        (Method::GET, ""),
        (Method::GET, "/1"),
        (Method::POST, "/1/redrive"),
        (Method::POST, "/redrive"),
        (Method::DELETE, "/1"),
    ];
    for (method, path) in routes {
        let url = inventory.at(&format!("/admin/dead-letters{path}"));
        let answer = CONTRACT.send(Client::new().request(method.clone(), url)).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["www-authenticate"]),
            (401, &"Bearer".parse().unwrap())
        );
        assert_eq!(ask(&inventory, method, path, Some("inventory:write")).await.status(), 403);
    }
    assert_eq!(home.dead_letters().await[0].3, 1);
    assert_eq!(ask(&inventory, Method::DELETE, "/1", Some(ADMIN_SCOPE)).await.status(), 204);
    assert_eq!(home.dead_letters().await.len(), 0);
    assert_eq!(ask(&inventory, Method::DELETE, "/1", Some(ADMIN_SCOPE)).await.status(), 404);
    inventory.stop().await;
}

#[tokio::test]
async fn the_command_reaches_the_running_service_and_its_exit_code_tells_what_stays() {
    let home = Home::without_broker();
    let inventory = home.start(&[]).await;
    write_dead_letter(&home, &order("late", "1", 3)).await;
    write_dead_letter(&home, "garbage").await;
    let port = inventory.at("").rsplit_once(':').unwrap().1.to_owned();
    let run = async |arguments: &[&str]| -> (Output, String) {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_inventory-service"));
        command.env_clear().envs([("JWT_SECRET", DEMO_SECRET), ("PORT", &port)]);
        let output = command.arg("dead-letters").args(arguments).output().await.unwrap();
        let printed = String::from_utf8(output.stdout.clone()).unwrap();
        (output, printed)
    };
    let (_, list) = run(&["list"]).await;
    assert!(list.starts_with("1  order_created  handler_panicked  attempts 1"), "{list}");
    let (output, said) = run(&["redrive", "--all"]).await;
    assert_eq!((output.status.code(), said.ends_with("1 done\n")), (Some(1), true), "{said}");
    let (output, said) = run(&["discard", "2"]).await;
    assert_eq!((output.status.code(), said.as_str()), (Some(0), "2  discarded\n"));
    wait_until("the gauge is 0", async || {
        inventory.get("/metrics").await.text().await.unwrap().contains("\ndead_letters 0\n")
    })
    .await;
    assert_eq!((home.reservations().await, home.dead_letters().await.len()), (1, 0));
    inventory.stop().await;
    home.audit().await;
}
