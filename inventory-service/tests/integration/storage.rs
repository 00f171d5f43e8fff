//! The disk is full, or the file on it is damaged.

use std::fs;

use testing::{Broker, SmallDisk, wait_until};

use crate::fixture::{Home, connection, ends, order};

/// Room for the WAL and the file that a probe makes.
const DISK_MEGABYTES: usize = 32;
/// What is left on a disk that is nearly full.
const ALMOST_FULL_BYTES: u64 = 128 << 10;
/// Orders that arrive while the disk is full; more than one delivery gives back.
const WAITING: usize = 300;

#[tokio::test]
async fn orders_wait_at_the_broker_while_the_disk_is_full_and_are_decided_when_there_is_space() {
    let broker = Broker::start().await;
    connection(&broker).await;
    let home = Home::at(&broker);
    let Some(disk) = SmallDisk::over(&home.path("disk"), DISK_MEGABYTES) else { return };
    let seed = home.write("seed.json", r#"[{"productId":"1","stock":1000}]"#);
    let mut service = home.spawn_on(&disk, &["--seed-file", &seed]).await;
    service.until_readyz_is(200).await;
    let (publisher, observer) = ends(&broker).await;
    publisher.backlog("before", 20).await;
    wait_until("the first orders are answered", async || observer.messages().await == 40).await;

    disk.fill();
    let mut filling = 0;
    while service.get("/readyz").await.0 == 200 {
        publisher.publish(order(&format!("filling-{filling}"), "1", 1)).await;
        filling += 1;
    }
    let (status, stock) = service.get("/inventory/1").await;
    assert_eq!(status, 200, "a read goes on");
    publisher.backlog("waiting", WAITING).await;
    let until_tried = async |times: usize| {
        let tried = || service.log().matches("still not writable").count() >= times;
        wait_until(&format!("it was tried {times} times"), async || tried()).await;
    };
    until_tried(2).await;
    // Enough for a small write and not for a batch: to take that for writable would fail the same messages again and again.
    disk.give_back(ALMOST_FULL_BYTES);
    until_tried(4).await;
    assert!(!service.log().contains("database writable again"), "{}", service.log());
    assert_eq!(service.get("/inventory/1").await, (200, stock), "stock does not change");
    assert_eq!(service.get("/livez").await.0, 200);
    let complaints =
        service.log().lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).count();
    assert!(complaints < 20, "{}", service.log());

    disk.free();
    service.until_readyz_is(200).await;
    let (sent, left) = (20 + filling + WAITING, 1_000 - (20 + filling + WAITING));
    wait_until("every order is decided", async || {
        service.get("/inventory/1").await.1 == format!(r#"{{"productId":"1","stock":{left}}}"#)
    })
    .await;
    wait_until("the outbox is empty", async || {
        service.get("/metrics").await.1.lines().any(|line| line == "outbox_rows 0")
    })
    .await;

    // From here on the home's own look at its database is one at the copy.
    disk.copy_database("inventory.db", &home.path("inventory.db"));
    assert_eq!(home.reservations().await, sent as i64, "each order is decided once");
    assert_eq!(home.dead_letters().await, []);
    home.audit().await;
    assert_eq!(observer.messages().await, 2 * sent as u64, "each order is answered once");
    service.stop().await;
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_with_what_to_do_until_it_is_replaced() {
    let home = Home::without_broker();
    home.start(&[]).await.stop().await;
    let (database, backup) = (home.path("inventory.db"), home.path("backup.db"));
    fs::copy(&database, &backup).unwrap();
    fs::write(&database, [0xA5; 16_384]).unwrap();
    for _ in 0..2 {
        let refusal = home.refusal(&[]).await;
        for part in ["inventory.db is damaged", "not a database", "Restore a backup"] {
            assert!(refusal.contains(part), "{part}: {refusal}");
        }
        assert!(home.path("inventory.db.suspect").exists());
    }

    fs::copy(&backup, &database).unwrap();
    let inventory = home.start(&[]).await;
    assert!(!home.path("inventory.db.suspect").exists(), "the backup passed its check");
    assert_eq!(inventory.json("/inventory/1").await["stock"], 10);
    home.close(inventory).await;
}
