//! The broker's storage is full: orders are accepted all the same and wait in the outbox, and settle when
//! there is space.

use std::path::Path;
use std::time::{Duration, Instant};

use async_nats::jetstream;
use processes::{broker, workspace};
use reqwest::StatusCode;
use serde_json::json;
use simulator::answers::Line;
use simulator::binaries::Binaries;
use simulator::topology::{Part, Topology, TopologyConfig};
use tempfile::TempDir;
use testing::{SmallDisk, wait_until};

use crate::client::{Buyer, accepted, audited};

/// Orders before, and again during the fault.
const ORDERS: usize = 50;
/// `max_file_store` of the small broker, instead of 2 GB.
const STORE: &str = "max_file_store: 4MB";
/// Below the small store, as the real setting is below the real one.
const STREAM_BYTES: &str = "2097152";
/// Room for a broker that runs, and for little more.
const DISK_MEGABYTES: usize = 16;

/// A topology with stock for every order, whose broker is started as `launcher` does.
async fn topology(folder: &TempDir, launcher: Vec<std::ffi::OsString>) -> Topology {
    let binaries = Binaries::beside_test().unwrap();
    let stock = json!([{"productId": "1", "stock": 2 * ORDERS}]);
    let config = TopologyConfig::in_folder(folder.path().to_owned(), binaries).unwrap();
    let mut config = config.with_stock(&stock).unwrap();
    config.environment = vec![("NATS_MAX_BYTES".to_owned(), STREAM_BYTES.to_owned())];
    config.broker_launcher = launcher;
    Topology::start(config).await.unwrap()
}

/// Every order is accepted at the first attempt, whatever the broker does.
async fn place(buyer: &Buyer, phase: &str) -> Vec<Line> {
    let mut told = Vec::new();
    for number in 0..ORDERS {
        let key = format!("{phase}-{number}");
        let (status, body) = buyer.order("1", 1, &key).await.unwrap();
        assert_eq!(status, StatusCode::CREATED, "{body}");
        told.push(accepted("alice", "1", key, body["id"].as_str().unwrap().to_owned()));
    }
    told
}

/// How often the order service's relay has failed to publish.
fn failures(folder: &Path) -> usize {
    std::fs::read_to_string(folder.join("order.log")).unwrap().matches("not all events relayed").count()
}

/// Every order is confirmed once, and nothing is left over.
async fn audit(folder: &Path, told: &[Line]) {
    let report = audited(folder, told).await;
    assert_eq!((report.confirmed, report.dead_letters), (2 * ORDERS as u64, 0), "{report}");
}

/// Another stream, which belongs to nobody here, takes what the broker may store.
async fn eat_the_store(topology: &Topology) -> jetstream::stream::Stream {
    let operator = broker::options("operator").connect(topology.nats_url()).await.unwrap();
    let context = jetstream::new(operator);
    let other = jetstream::stream::Config {
        name: "OTHER".to_owned(),
        subjects: vec!["other".to_owned()],
        ..Default::default()
    };
    let stream = context.create_stream(other).await.unwrap();
    for _ in 0..1_000 {
        if context.publish("other", vec![0; 100_000].into()).await.unwrap().await.is_err() {
            return stream;
        }
    }
    panic!("100 MB found room in a store of 4 MB");
}

#[tokio::test]
async fn a_full_broker_keeps_orders_waiting_in_the_outbox_and_they_settle_when_there_is_space() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read_to_string(workspace::nats_conf()).unwrap();
    let small = whole.replace("max_file_store: 2GB", STORE);
    assert!(small.contains(STORE));
    let conf = folder.path().join("small.conf");
    std::fs::write(&conf, small).unwrap();
    // The last `-c` counts.
    let launcher = vec!["sh".into(), "-c".into(), r#"exec "$@" -c "$0""#.into(), conf.into()];
    let mut topology = topology(&folder, launcher).await;
    let buyer = Buyer::new(&topology, "alice");
    let mut told = place(&buyer, "before").await;
    buyer.until_all_is_settled(Instant::now()).await;

    let other = eat_the_store(&topology).await;
    let started = Instant::now();
    told.extend(place(&buyer, "during").await);
    wait_until("the relay has failed five times", async || failures(folder.path()) >= 5).await;
    // 100, 200, 400 and 800 ms lie between them.
    assert!(started.elapsed() > Duration::from_millis(1_400), "no pauses: {:?}", started.elapsed());
    assert_eq!(buyer.gauge("outbox_rows").await, Some(ORDERS as f64));
    assert_eq!(buyer.gauge("orders_pending").await, Some(ORDERS as f64));

    other.purge().await.unwrap();
    buyer.until_all_is_settled(Instant::now()).await;
    topology.stop().await.unwrap();
    audit(folder.path(), &told).await;
}

/// A stream that could not write stays closed for writing until nats-server is started again; that is the
/// server's way.
#[tokio::test]
async fn a_broker_on_a_full_disk_keeps_orders_waiting_and_they_settle_when_it_is_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::over(&folder.path().join("nats"), DISK_MEGABYTES) else { return };
    let mut topology = topology(&folder, disk.launcher()).await;
    let buyer = Buyer::new(&topology, "alice");
    let mut told = place(&buyer, "before").await;
    buyer.until_all_is_settled(Instant::now()).await;

    disk.fill();
    told.extend(place(&buyer, "during").await);
    // The server does not answer what it could not store, so each failure takes as long as a PubAck is waited
    // for.
    wait_until("the relay has failed twice", async || failures(folder.path()) >= 2).await;
    assert!(buyer.gauge("outbox_rows").await > Some(0.0));
    topology.wait_until(Part::Order, r#""status":"ready""#).await.unwrap();
    topology.wait_until(Part::Inventory, r#""status":"ready""#).await.unwrap();

    disk.free();
    topology.stop_part(Part::Broker).await.unwrap();
    topology.start_part(Part::Broker).await.unwrap();
    buyer.until_all_is_settled(Instant::now()).await;
    topology.stop().await.unwrap();
    audit(folder.path(), &told).await;
}
