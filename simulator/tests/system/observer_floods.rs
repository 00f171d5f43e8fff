//! Observers need no password. Whatever they do with their connections, orders flow on.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use processes::raw_nats::RawConnection;
use serde_json::json;
use testing::wait_until;
use tokio::task::JoinSet;

use crate::client::{Buyer, topology};

/// As many as `nats.conf` lets in, and one for the watcher less.
const OBSERVERS: usize = 19;
/// Questions sent at once.
const BLOCK: u64 = 200;
/// So many are sent before the first order.
const MANY: u64 = 100_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_of_observers_without_end_make_no_order_wait_for_them() {
    let (mut topology, _folder) = topology(json!([{"productId": "1", "stock": 1_000}])).await;
    let (asked, mut observers) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
    for _ in 0..OBSERVERS {
        let mut observer = RawConnection::open(&topology.nats_url(), "observer").await.unwrap();
        let asked = asked.clone();
        observers.spawn(async move {
            loop {
                for _ in 0..BLOCK {
                    observer.request_for("$JS.API.STREAM.LIST", "_INBOX.nobody", "{}").await.unwrap();
                }
                asked.fetch_add(BLOCK, Relaxed);
            }
        });
    }
    wait_until("the API is kept busy", async || asked.load(Relaxed) > MANY).await;
    let buyer = Buyer::new(&topology, "alice");
    for number in 0..20 {
        let before = asked.load(Relaxed);
        let id = buyer.order_until_accepted("1", 1, &format!("order-{number}")).await;
        wait_until("the order is confirmed", async || buyer.show(&id).await["status"] == "confirmed").await;
        wait_until("the questions go on", async || asked.load(Relaxed) > before).await;
    }
    observers.shutdown().await;
    topology.stop().await.unwrap();
}
