//! Many buyers, few units: exactly as many orders are confirmed as there were units, and nobody ever sees
//! less than none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use crate::client::{Buyer, accepted, audited, topology};

const BUYERS: usize = 1_000;
const UNITS: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_buyers_for_a_hundred_units_get_exactly_a_hundred() {
    let (mut topology, folder) = topology(json!([{"productId": "1", "stock": UNITS}])).await;
    let reader = Buyer::new(&topology, "reader");
    let sold_out = Arc::new(AtomicBool::new(false));
    let reads = tokio::spawn(read_stock(reader.clone(), topology.inventory_url(), sold_out.clone()));

    let mut buyers = JoinSet::new();
    for number in 0..BUYERS {
        let name = format!("buyer-{number}");
        let buyer = Buyer::new(&topology, &name);
        buyers.spawn(async move {
            let id = buyer.order_until_accepted("1", 1, "the-only-one").await;
            accepted(&name, "1", "the-only-one".to_owned(), id)
        });
    }
    let told = buyers.join_all().await;
    reader.until_all_is_settled(Instant::now()).await;
    sold_out.store(true, Ordering::Release);

    let stock = reads.await.unwrap();
    assert!(stock.iter().all(|left| (0..=UNITS as i64).contains(left)), "{stock:?}");
    assert!(stock.is_sorted_by(|before, after| before >= after), "stock came back: {stock:?}");
    assert_eq!(stock.last(), Some(&0));
    topology.stop().await.unwrap();
    let report = audited(folder.path(), &told).await;
    assert_eq!((report.confirmed, report.cancelled), (UNITS as u64, (BUYERS - UNITS) as u64), "{report}");
}

/// Every stock that a reader sees until the race is over, and once more after it.
async fn read_stock(reader: Buyer, inventory: String, over: Arc<AtomicBool>) -> Vec<i64> {
    let mut seen = Vec::new();
    loop {
        let last = over.load(Ordering::Acquire);
        seen.push(reader.stock_at(&inventory, "1").await["stock"].as_i64().unwrap());
        if last {
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
