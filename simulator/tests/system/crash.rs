//! `kill -9` of each process, and a wiped broker, in the middle of 1,000 concurrent orders for 500 units:
//! nothing is lost, nothing is oversold, and every order ends.

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use simulator::topology::Part;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::client::{Buyer, accepted, audited, topology};

const ORDERS: usize = 1_000;
const STOCK: usize = 500;
const USER: &str = "alice";
/// The kill comes after this many 201s; only so many orders are sent before it, so that it comes in the
/// middle.
const KILL_AFTER: usize = 250;
const SENT_BEFORE: usize = 750;

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
enum Storage {
    Kept,
    Wiped,
}

async fn kill_in_the_middle(victim: Part, storage: Storage) {
    let (mut topology, folder) = topology(json!([{"productId": "1", "stock": STOCK}])).await;
    let buyer = Buyer::new(&topology, USER);
    let (counted, mut acceptances) = mpsc::unbounded_channel();
    let sendable = Arc::new(Semaphore::new(SENT_BEFORE));
    let mut orders = JoinSet::new();
    for number in 0..ORDERS {
        let (buyer, counted, sendable) = (buyer.clone(), counted.clone(), sendable.clone());
        orders.spawn(async move {
            sendable.acquire().await.unwrap().forget();
            let key = format!("key-{number}");
            let id = buyer.order_until_accepted("1", 1, &key).await;
            counted.send(()).unwrap();
            accepted(USER, "1", key, id)
        });
    }

    for _ in 0..KILL_AFTER {
        acceptances.recv().await.unwrap();
    }
    match storage {
        Storage::Kept => topology.kill(victim).await.unwrap(),
        Storage::Wiped => topology.wipe_broker().await.unwrap(),
    }
    let before_kill = KILL_AFTER + acceptances.len();
    assert!((200..=800).contains(&before_kill), "{before_kill} orders were accepted before the kill");
    sendable.add_permits(ORDERS - SENT_BEFORE);
    topology.start_part(victim).await.unwrap();
    let mended = Instant::now();

    let told = orders.join_all().await;
    let settled = buyer.until_all_is_settled(mended).await;
    println!("{victim:?}: {before_kill} accepted before the kill, all settled {settled:?} after the restart");
    topology.stop().await.unwrap();
    let report = audited(folder.path(), &told).await;
    assert_eq!((report.confirmed, report.cancelled), (STOCK as u64, (ORDERS - STOCK) as u64), "{report}");
    assert_eq!((report.foreign.count, report.dead_letters), (0, 0), "{report}");
}
