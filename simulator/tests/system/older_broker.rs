//! A broker that comes back with an older state of its files, as after a power cut that took what it had not
//! flushed: the stream is the same, shorter, and soon uses the lost sequence numbers again.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use simulator::answers::Line;
use simulator::topology::Part;
use tokio::task::JoinSet;

use crate::client::{Buyer, accepted, audited, topology};

/// Orders whose messages the broker will have forgotten.
const FORGOTTEN: usize = 300;
/// Orders placed while it comes back, so that its sequence soon passes what it once acknowledged.
const MEANWHILE: usize = 600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_comes_back_older_is_noticed_and_all_pending_orders_are_sent_again() {
    let (mut topology, folder) = topology(json!([{"productId": "1", "stock": 100_000}])).await;
    let buyer = Buyer::new(&topology, "alice");
    let (storage, older) = (folder.path().join("nats"), folder.path().join("older"));
    let mut told = place(&buyer, "before", 1).join_all().await;
    buyer.until_all_is_settled(Instant::now()).await;
    topology.kill(Part::Broker).await.unwrap();
    copy(&storage, &older);
    topology.start_part(Part::Broker).await.unwrap();

    // Announced, acknowledged by the stream, and not decided: then the stream forgets them.
    topology.kill(Part::Inventory).await.unwrap();
    told.extend(place(&buyer, "forgotten", FORGOTTEN).join_all().await);
    while buyer.gauge("outbox_rows").await != Some(0.0) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    topology.kill(Part::Broker).await.unwrap();
    fs::remove_dir_all(&storage).unwrap();
    fs::rename(&older, &storage).unwrap();
    let meanwhile = place(&buyer, "meanwhile", MEANWHILE);
    topology.start_part(Part::Broker).await.unwrap();
    topology.start_part(Part::Inventory).await.unwrap();
    let mended = Instant::now();
    told.extend(meanwhile.join_all().await);
    let settled = buyer.until_all_is_settled(mended).await;
    println!("all {} orders settled {settled:?} after the broker came back older", told.len());
    topology.stop().await.unwrap();
    audited(folder.path(), &told).await;
}

fn place(buyer: &Buyer, run: &str, count: usize) -> JoinSet<Line> {
    let mut orders = JoinSet::new();
    for number in 0..count {
        let (buyer, key) = (buyer.clone(), format!("{run}-{number}"));
        orders.spawn(async move {
            let id = buyer.order_until_accepted("1", 1, &key).await;
            accepted("alice", "1", key, id)
        });
    }
    orders
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
