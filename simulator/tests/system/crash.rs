//! `kill -9` of each process, and a wiped broker, in the middle of 1,000 concurrent orders for 500 units: nothing is
//! lost, nothing is oversold, and every order ends.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use simulator::topology::Part;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};

use crate::client::{Buyer, rows, topology};

const ORDERS: usize = 1_000;
const STOCK: usize = 500;
/// The kill comes after this many 201s; only so many orders are sent before it, so that it comes in the middle.
const KILL_AFTER: usize = 250;
const SENT_BEFORE: usize = 750;
/// Every order is settled this soon after the fault ends. It is less than the 30 s after which any lost event is sent
/// again, so that a test does not pass by that alone.
const SETTLED_WITHIN: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_accepted_order_is_lost_when_the_order_service_is_killed() {
    kill_in_the_middle(Part::Order, Storage::Kept).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_accepted_order_is_lost_when_the_inventory_service_is_killed() {
    kill_in_the_middle(Part::Inventory, Storage::Kept).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_accepted_order_is_lost_when_the_broker_is_killed() {
    kill_in_the_middle(Part::Broker, Storage::Kept).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_accepted_order_is_lost_when_the_broker_is_killed_and_wiped() {
    kill_in_the_middle(Part::Broker, Storage::Wiped).await;
}

/// What becomes of the broker's files while it is dead.
#[derive(PartialEq, Eq)]
enum Storage {
    Kept,
    Wiped,
}

async fn kill_in_the_middle(victim: Part, storage: Storage) {
    let (mut topology, folder) = topology(json!([{"productId": "1", "stock": STOCK}])).await;
    let buyer = Buyer::new(&topology, "alice");
    let (accepted, mut acceptances) = mpsc::unbounded_channel();
    let sendable = Arc::new(Semaphore::new(SENT_BEFORE));
    let mut orders = JoinSet::new();
    for number in 0..ORDERS {
        let (buyer, accepted, sendable) = (buyer.clone(), accepted.clone(), sendable.clone());
        orders.spawn(async move {
            sendable.acquire().await.unwrap().forget();
            let id = buyer.order_until_accepted("1", 1, &format!("key-{number}")).await;
            accepted.send(()).unwrap();
            id
        });
    }

    for _ in 0..KILL_AFTER {
        acceptances.recv().await.unwrap();
    }
    topology.kill(victim).await.unwrap();
    if storage == Storage::Wiped {
        std::fs::remove_dir_all(folder.path().join("nats")).unwrap();
    }
    let before_kill = KILL_AFTER + acceptances.len();
    assert!((200..=800).contains(&before_kill), "{before_kill} orders were accepted before the kill");
    sendable.add_permits(ORDERS - SENT_BEFORE);
    topology.start_part(victim).await.unwrap();
    let mended = Instant::now();

    let ids: BTreeSet<String> = orders.join_all().await.into_iter().collect();
    assert_eq!(ids.len(), ORDERS, "one order per key");
    while buyer.gauge("orders_pending").await != Some(0.0) {
        assert!(
            mended.elapsed() < SETTLED_WITHIN,
            "{:?} orders pending",
            buyer.gauge("orders_pending").await
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!(
        "{victim:?}: {before_kill} accepted before the kill, all settled {:?} after the restart",
        mended.elapsed()
    );
    topology.stop().await.unwrap();
    audit(folder.path(), &ids).await;
}

/// Every 201 is there and settled, both sides agree, exactly the stock was sold.
async fn audit(folder: &std::path::Path, ids: &BTreeSet<String>) {
    let orders =
        rows(folder, Part::Order, "SELECT id, status || coalesce(':' || reason, '') FROM orders").await;
    let decisions = rows(
        folder,
        Part::Inventory,
        "SELECT order_id, status || coalesce(':' || reason, '') FROM reservations",
    )
    .await;
    let differing: Vec<_> = orders.iter().filter(|order| !decisions.contains(order)).take(3).collect();
    assert!(differing.is_empty(), "the inventory decided otherwise, or not at all: {differing:?}");
    assert_eq!(orders.len(), decisions.len(), "decisions without an order");
    let stored: BTreeSet<String> = orders.iter().map(|(id, _)| id.clone()).collect();
    let lost: Vec<_> = ids.difference(&stored).collect();
    assert!(lost.is_empty(), "{} orders were answered 201 and are gone, such as {}", lost.len(), lost[0]);
    assert_eq!(stored.len(), ids.len(), "orders that nobody was told of");
    let count = |status: &str| orders.iter().filter(|(_, found)| found == status).count();
    assert_eq!(count("confirmed"), STOCK);
    assert_eq!(count("cancelled:insufficient_stock"), ORDERS - STOCK);
    let stock = rows(folder, Part::Inventory, "SELECT id, CAST(stock AS TEXT) FROM products").await;
    assert_eq!(stock, [("1".to_owned(), "0".to_owned())]);
    for part in [Part::Order, Part::Inventory] {
        let left = rows(
            folder,
            part,
            "SELECT 'outbox', order_id FROM outbox UNION ALL SELECT 'dead letter', reason FROM dead_letters",
        );
        assert_eq!(left.await, [], "{part:?}");
    }
}
