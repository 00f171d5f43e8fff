//! Whose consumer it is: a database that is not the consumer's decides nothing until somebody has it adopt.

use std::fs;

use async_nats::jetstream;
use async_nats::jetstream::consumer::PullConsumer;
use reqwest::Method;
use shared::contract::subjects::{INVENTORY_CONSUMER, STREAM};
use testing::{Broker, wait_until};

use crate::fixture::{Home, Inventory, Observer, Publisher, alone, confirmed, connection, order, tool};

/// Runs `inventory-service adopt` against the service; returns what it prints.
async fn adopt(inventory: &Inventory) -> String {
    tool(inventory, &["adopt"]).await.success()
}

/// Publishes orders and waits until the home has decided them.
async fn decide(broker: &Broker, home: &Home, order_ids: &[&str]) {
    let (publisher, before) = (Publisher::order(broker).await, home.reservations().await);
    publisher.place(order_ids).await;
    let after = before + order_ids.len() as i64;
    wait_until("the orders are decided", async || home.reservations().await == after).await;
}

async fn metadata(broker: &Broker) -> std::collections::HashMap<String, String> {
    let operator = jetstream::new(broker.connect("operator").await);
    let consumer: PullConsumer = operator.get_consumer_from_stream(INVENTORY_CONSUMER, STREAM).await.unwrap();
    consumer.cached_info().config.metadata.clone()
}

async fn id(home: &Home) -> String {
    home.look().text("SELECT id FROM database_identity").await
}

#[tokio::test]
async fn a_copied_database_does_not_consume_and_says_what_to_do() {
    let broker = Broker::start().await;
    let (home, copied) = (Home::at(&broker), Home::at(&broker));
    let inventory = home.start(&[]).await;
    inventory.until_broker_is("connected").await;
    decide(&broker, &home, &["a"]).await;
    home.look().until_outbox_is_empty().await;
    let path = copied.path("inventory.db").display().to_string();
    sqlx::query("VACUUM INTO $1").bind(path).execute(&home.reader()).await.unwrap();
    let copy = copied.start(&[]).await;
    let says = copy.until_not_owned().await;
    assert!(says.contains("`inventory-service adopt`") && says.contains(&id(&home).await), "{says}");

    decide(&broker, &home, &["b", "c"]).await;
    home.look().until_outbox_is_empty().await;
    assert_eq!(inventory.get("/readyz").await.status(), 200);
    assert_eq!((home.stock("1").await, copied.stock("1").await), (7, 9));
    assert_eq!((copied.reservations().await, copied.outbox().await), (1, 0));
    assert_eq!(metadata(&broker).await["database"], id(&home).await);
    copy.stop().await;
    home.close(inventory).await;
}

#[tokio::test]
async fn a_deleted_database_stays_idle_until_it_adopts_and_then_decides_the_stream_again() {
    let broker = Broker::start().await;
    let (home, lost) = (Home::at(&broker), Home::at(&broker));
    let inventory = lost.start(&[]).await;
    inventory.until_broker_is("connected").await;
    decide(&broker, &lost, &["a", "b"]).await;
    inventory.stop().await;
    drop(lost);

    let inventory = home.start(&[]).await;
    inventory.until_not_owned().await;
    Publisher::order(&broker).await.publish(order("c", "1", 1)).await;
    assert_eq!((home.reservations().await, home.stock("1").await), (0, 10), "nothing is decided unasked");
    let mut observer = Observer::of_answers(&broker).await;
    let printed = adopt(&inventory).await;
    for part in
        ["now owns the consumer inventory-service", "7 days", "stopped for good", "conflicting_result"]
    {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    assert_eq!(observer.next_bodies(3).await, ["a", "b", "c"].map(confirmed));
    assert_eq!((home.reservations().await, home.stock("1").await), (3, 7));
    assert_eq!(inventory.get("/readyz").await.status(), 200);

    let owner = id(&home).await;
    assert!(adopt(&inventory).await.contains("Nothing was changed"));
    assert_eq!((id(&home).await, metadata(&broker).await["database"].clone()), (owner.clone(), owner));
    home.close(inventory).await;
    // A restart keeps what was adopted.
    let inventory = home.start(&[]).await;
    decide(&broker, &home, &["d"]).await;
    inventory.stop().await;
}

#[tokio::test]
async fn a_service_whose_consumer_is_adopted_by_another_database_notices_and_stops() {
    let broker = Broker::start().await;
    let (former, home) = (Home::at(&broker), Home::at(&broker));
    let previous = former.start(&[]).await;
    previous.until_broker_is("connected").await;
    decide(&broker, &former, &["a"]).await;
    let inventory = home.start(&[]).await;
    inventory.until_not_owned().await;
    adopt(&inventory).await;
    previous.until_not_owned().await;
    home.until_reservations_are(1).await;
    decide(&broker, &home, &["b"]).await;
    assert_eq!((former.reservations().await, former.stock("1").await), (1, 9));
    // It can be taken back.
    adopt(&previous).await;
    inventory.until_not_owned().await;
    former.until_reservations_are(2).await;
    decide(&broker, &former, &["c"]).await;
    assert_eq!(home.reservations().await, 2);
    inventory.stop().await;
    previous.stop().await;
    former.audit().await;
    home.audit().await;
}

#[tokio::test]
async fn an_adoption_that_cannot_be_stored_gives_the_consumer_back_to_its_owner() {
    let broker = Broker::start().await;
    let (home, other) = (Home::at(&broker), Home::at(&broker));
    let owner = home.start(&[]).await;
    owner.until_broker_is("connected").await;
    decide(&broker, &home, &["a"]).await;
    let inventory = other.start(&[]).await;
    inventory.until_not_owned().await;
    let refuse =
        "BEFORE UPDATE OF id ON database_identity BEGIN SELECT RAISE(ABORT, 'kept by the test'); END";
    other.change(&format!("CREATE TRIGGER kept {refuse}")).await;
    let admin = inventory.admin();
    let answer = admin.send(admin.request(Method::POST, "/admin/adopt")).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(metadata(&broker).await["database"], id(&home).await);
    decide(&broker, &home, &["b"]).await;
    assert_eq!((home.stock("1").await, other.reservations().await), (8, 0));
    inventory.until_not_owned().await;
    inventory.stop().await;
    home.close(owner).await;
}

#[tokio::test]
async fn a_restored_backup_is_noticed_whether_the_file_was_replaced_or_overwritten() {
    let broker = Broker::start().await;
    let home = Home::at(&broker);
    let (path, mut decided) = (home.path("inventory.db"), Vec::new());
    for (replaced, first, second) in [(false, "a", "b"), (true, "c", "d")] {
        let inventory = home.start(&[]).await;
        inventory.until_broker_is("connected").await;
        decide(&broker, &home, &[first]).await;
        inventory.stop().await;
        // The last connection has folded the log into the file, so the file is the backup.
        let backup = fs::read(&path).unwrap();
        let inventory = home.start(&[]).await;
        decide(&broker, &home, &[second]).await;
        inventory.stop().await;
        let target = if replaced { home.path("restored.db") } else { path.clone() };
        fs::write(&target, backup).unwrap();
        fs::rename(&target, &path).unwrap();

        let inventory = home.start(&[]).await;
        let says = inventory.until_not_owned().await;
        let why = if replaced { "belongs to the database" } else { "restored from a backup" };
        assert!(says.contains(why), "{why}: {says}");
        decided.push(first);
        assert_eq!(home.reservations().await, decided.len() as i64);
        adopt(&inventory).await;
        decided.push(second);
        let all = decided.len() as i64;
        wait_until("what was lost is decided again", async || home.reservations().await == all).await;
        assert_eq!(home.stock("1").await, 10 - all);
        home.close(inventory).await;
    }
}

#[tokio::test]
async fn a_consumer_from_before_identities_is_claimed() {
    let broker = Broker::start().await;
    let connection = connection(&broker).await;
    connection.open_consumer().await.unwrap();
    assert!(!metadata(&broker).await.contains_key("database"));
    let home = Home::at(&broker);
    let inventory = home.start(&[]).await;
    decide(&broker, &home, &["a"]).await;
    assert_eq!(metadata(&broker).await["database"], id(&home).await);
    home.close(inventory).await;
}

#[tokio::test]
async fn only_an_admin_may_adopt() {
    let (_home, inventory) = alone().await;
    for (caller, status) in [(inventory.caller(""), 401), (inventory.user("alice"), 403)] {
        assert_eq!(caller.send(caller.request(Method::POST, "/admin/adopt")).await.status, status);
    }
    inventory.stop().await;
}
