//! A change of stock whose client, process or disk fails under way, and databases that are older than such changes.

use std::fs;

use inventory_service::migrations::MIGRATIONS;
use serde_json::json;
use sqlx::migrate::Migrator;
use testing::service::raw::connect;
use testing::service::run_sql;
use testing::{SmallDisk, wait_until};
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

use crate::fixture::{CONTRACT, Home, Inventory, alone, token};

/// Clients that go away.
const CLIENTS: i64 = 20;
/// Room for the WAL and the file that a probe makes.
const DISK_MEGABYTES: usize = 32;

/// Sends restocks by one, each from a client that is gone once it has sent its request.
async fn restocks_without_clients(inventory: &Inventory) {
    let token = token("kim", Some("inventory:write"));
    for number in 0..CLIENTS {
        let body = json!({"quantity": 1}).to_string();
        let head = format!(
            "POST /inventory/1/restock HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
             Idempotency-Key: gone-{number}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut client = connect(&inventory.url).await;
        client.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_no_half_change() {
    let (home, inventory) = alone().await;
    let lock = home.hold_write_lock().await;
    restocks_without_clients(&inventory).await;
    // Answered after them, so by now the service knows that they are gone.
    assert_eq!(inventory.get("/livez").await.status(), 200);
    lock.release().await;
    wait_until("a change whose client is gone is made all the same", async || home.stock("1").await > 10)
        .await;
    let keeper = inventory.keeper("kim");
    for number in 0..CLIENTS {
        assert_eq!(keeper.restock_with(&format!("gone-{number}"), "1", 1).await.status, 200);
    }
    assert_eq!(home.stock("1").await, 10 + CLIENTS, "each is made once");
    home.close(inventory).await;
}

#[tokio::test]
async fn a_drain_ends_a_change_that_was_begun_although_its_client_is_gone() {
    let (home, inventory) = alone().await;
    let lock = home.hold_write_lock().await;
    restocks_without_clients(&inventory).await;
    assert_eq!(inventory.get("/livez").await.status(), 200);
    let livez = inventory.at("/livez");
    let stopping = tokio::spawn(inventory.stop());
    wait_until("nobody is served any more", async || reqwest::get(&livez).await.is_err()).await;
    lock.release().await;
    stopping.await.unwrap();
    assert!(home.stock("1").await > 10, "what had begun was ended");
    home.audit().await;
}

#[tokio::test]
async fn a_change_while_the_disk_is_full_is_refused_and_nothing_of_it_is_stored() {
    let home = Home::without_broker();
    let Some(disk) = SmallDisk::over(&home.path("disk"), DISK_MEGABYTES) else { return };
    let mut service = home.spawn_on(&disk, &[]).await;
    service.until_readyz_is(200).await;
    let keeper = service.keeper("kim");
    disk.fill();
    let (mut made, mut refused) = (0, Vec::new());
    for number in 0..2_000 {
        let answer = keeper.restock_with(&format!("k-{number}"), "1", 1).await;
        match answer.status {
            200 => made += 1,
            _ => {
                assert!(answer.problem(503).contains("nothing was stored"));
                assert_eq!(answer.header("retry-after"), "1");
                refused.push(number);
            }
        }
        if refused.len() == 20 {
            break;
        }
    }
    assert_eq!(refused.len(), 20, "2,000 changes found room on a full disk");
    assert!(keeper.put("new", 5, "counted").await.problem(503).contains("nothing was stored"));
    assert_eq!(keeper.get("/inventory/1").await.body["stock"], 10 + made, "a read goes on");

    disk.free();
    service.until_readyz_is(200).await;
    for number in refused {
        let answer = keeper.restock_with(&format!("k-{number}"), "1", 1).await;
        assert_eq!((answer.status, answer.header("idempotency-replayed")), (200, ""), "it was not stored");
    }
    disk.copy_database("inventory.db", &home.path("inventory.db"));
    assert_eq!(home.stock("1").await, 10 + made + 20);
    home.audit().await;
    service.stop().await;
}

#[tokio::test]
async fn a_change_that_was_answered_outlives_its_process_and_a_repeat_is_made_once() {
    let home = Home::without_broker();
    let mut service = home.spawn(&[]).await;
    service.until_readyz_is(200).await;
    let keeper = service.keeper("kim");
    let sending = tokio::spawn(async move {
        let mut answered = 0;
        // Ends with the first request that the death of the process leaves without an answer.
        loop {
            let request = keeper.restock_request("1", 1).header("idempotency-key", format!("k-{answered}"));
            match CONTRACT.try_send(request).await {
                Ok(answer) if answer.status() == 200 => answered += 1,
                _ => return answered,
            }
        }
    });
    wait_until("changes are made", async || home.stock("1").await > 30).await;
    service.kill().await;
    let answered: i64 = sending.await.unwrap();

    let service = home.spawn(&[]).await;
    service.until_readyz_is(200).await;
    home.audit().await;
    let keeper = service.keeper("kim");
    for number in 0..=answered {
        let answer = keeper.restock_with(&format!("k-{number}"), "1", 1).await;
        let replayed = answer.header("idempotency-replayed") == "true";
        assert_eq!(answer.status, 200);
        assert!(replayed || number == answered, "k-{number} was answered and is lost");
    }
    assert_eq!(home.stock("1").await, 10 + answered + 1);
    home.audit().await;
}

/// Makes the home's database as it was before stock could be changed by hand, with orders decided in it.
async fn old_database(home: &Home) {
    let old = MIGRATIONS.iter().filter(|migration| migration.version <= 101).cloned().collect::<Vec<_>>();
    let old: &'static Migrator = Box::leak(Box::new(Migrator::with_migrations(old)));
    let database = shared::storage::Database::open(&home.path("inventory.db"), old).await.unwrap();
    let data = "
        INSERT INTO products (id, stock) VALUES ('1', 6), ('pen', 3);
        INSERT INTO adjustments (product_id, kind, delta, reason, created_at)
            VALUES ('1', 'seed', 10, 'first stock', 1000), ('pen', 'seed', 3, 'first stock', 1000);
        INSERT INTO reservations VALUES
            ('a', '1', 4, 'confirmed', NULL, 2000, '00-1-1-01'),
            ('b', '1', 9, 'cancelled', 'insufficient_stock', 3000, '00-1-1-01');";
    run_sql(database, data).await;
}

#[tokio::test]
async fn an_old_database_is_migrated_and_lists_what_it_knows() {
    let home = Home::without_broker();
    old_database(&home).await;
    let inventory = home.start(&[]).await;
    let keeper = inventory.keeper("kim");
    assert_eq!(keeper.restock("1", 5).await.body["stock"], 11);
    let movements = keeper.get("/inventory/1/movements").await.body;
    let seed = json!({"kind": "seed", "delta": 10, "at": "1970-01-01T00:00:01.000Z", "adjustmentId": 1,
        "reason": "first stock"});
    let sold = json!({"kind": "reservation", "delta": -4, "at": "1970-01-01T00:00:02.000Z", "orderId": "a"});
    assert_eq!((&movements[1], &movements[2]), (&sold, &seed), "{movements}");
    assert_eq!(movements.as_array().unwrap().len(), 3);
    home.close(inventory).await;
    assert!(!fs::exists(home.path("inventory.db.suspect")).unwrap());
}

#[tokio::test]
async fn a_flood_of_changes_is_bounded_and_those_that_wait_are_committed_together() {
    // More than one batch in the committer's hands and a full queue take, 256 each.
    const FLOOD: i64 = 600;
    let (home, inventory) = alone().await;
    let keeper = inventory.keeper("kim");
    let lock = home.hold_write_lock().await;
    let mut changes = JoinSet::new();
    for number in 0..FLOOD {
        let keeper = keeper.clone();
        changes.spawn(async move { keeper.restock_with(&format!("flood-{number}"), "1", 1).await });
    }
    let refused = changes.join_next().await.unwrap().unwrap();
    assert_eq!(refused.problem(503), "too many requests wait; nothing was stored");
    lock.release().await;
    let answers = changes.join_all().await;
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 503)), "{answers:?}");
    let made = answers.iter().filter(|answer| answer.status == 200).count() as i64;
    assert_eq!(home.stock("1").await, 10 + made, "what was refused was not stored");
    let batches = home.number("SELECT count(DISTINCT created_at) FROM adjustments").await;
    assert!(made >= 256 && batches < 50, "{made} changes in {batches} commits");
    home.close(inventory).await;
}
