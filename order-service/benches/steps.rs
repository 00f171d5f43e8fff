//! The steps of an order's way through the order service, each alone on a real file: a group commit, a batch of answers,
//! and a step of the relay with a real broker.
//!
//! `cargo bench -p order-service --bench steps`. Most of a small step is the fsync; `TMPDIR=/dev/shm` leaves it out.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use clap::Parser;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use order_service::migrations::MIGRATIONS;
use order_service::orders::placement::{NewOrder, Placed};
use order_service::orders::settlement::settle;
use order_service::settings::Cli;
use shared::broker::Broker as Connection;
use shared::broker::ownership::Ownership;
use shared::clock::now_ms;
use shared::contract::events::{OrderProcessed, Received};
use shared::contract::status::Status;
use shared::contract::subjects::{ORDER_CONSUMER, ORDER_PROCESSED};
use shared::contract::trace;
use shared::delivery::relay::{Relay, Relayed};
use shared::storage::Database;
use shared::storage::commit_queue::commit_batch;
use tempfile::TempDir;
use testing::{Broker, wait_until};
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

const BATCHES: [usize; 2] = [1, 64];

fn new_order() -> NewOrder {
    NewOrder {
        user_id: "user-1".to_owned(),
        product_id: "1".to_owned(),
        quantity: 1,
        traceparent: trace::accept(None),
        idempotency_key: Some(uuid::Uuid::now_v7().to_string()),
    }
}

async fn place(database: &Database, orders: Vec<NewOrder>) -> Vec<Received<OrderProcessed>> {
    let placed = commit_batch(database, &orders).await;
    placed.into_iter().map(|placed| answer_to(&placed.unwrap())).collect()
}

fn answer_to(placed: &Placed) -> Received<OrderProcessed> {
    let Placed::Created(order) = placed else { panic!("not created: {placed:?}") };
    let event = OrderProcessed { order_id: order.id.clone(), status: Status::Confirmed, reason: None };
    Received { event, traceparent: order.traceparent.clone(), time_ms: Some(now_ms()), attempt: 1 }
}

async fn database(folder: &TempDir) -> Database {
    Database::open(&folder.path().join("order.db"), &MIGRATIONS).await.unwrap()
}

fn group_commit(criterion: &mut Criterion) {
    let (runtime, folder) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let database = runtime.block_on(database(&folder));
    let mut group = criterion.benchmark_group("group commit");
    for count in BATCHES {
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(format!("{count} orders"), |bencher| {
            bencher.to_async(&runtime).iter_batched(
                || (0..count).map(|_| new_order()).collect::<Vec<_>>(),
                async |orders| commit_batch(&database, &orders).await,
                BatchSize::PerIteration,
            );
        });
    }
}

fn settle_batch(criterion: &mut Criterion) {
    let (runtime, folder) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let database = runtime.block_on(database(&folder));
    let mut group = criterion.benchmark_group("settle batch");
    for count in BATCHES {
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(format!("{count} answers"), |bencher| {
            bencher.iter_batched(
                || runtime.block_on(place(&database, (0..count).map(|_| new_order()).collect())),
                |answers| {
                    runtime.block_on(async {
                        let mut tx = database.begin().await.unwrap();
                        settle(&mut tx, &answers, now_ms()).await.unwrap();
                        tx.commit().await.unwrap();
                    });
                },
                BatchSize::PerIteration,
            );
        });
    }
}

fn relay_step(criterion: &mut Criterion) {
    let (runtime, folder) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let (_broker, database, relay) = runtime.block_on(async {
        let (broker, database) = (Broker::start().await, database(&folder).await);
        let relay = relay(&database, &broker).await;
        (broker, database, Mutex::new(relay))
    });
    let mut group = criterion.benchmark_group("relay step");
    for count in BATCHES {
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(format!("{count} events"), |bencher| {
            bencher.iter_batched(
                || runtime.block_on(place(&database, (0..count).map(|_| new_order()).collect())),
                |_| {
                    let relayed = runtime.block_on(async { relay.lock().await.relay_once().await.unwrap() });
                    assert_eq!(relayed, Relayed::Sent(count));
                },
                BatchSize::PerIteration,
            );
        });
    }
}

async fn relay(database: &Database, broker: &Broker) -> Relay {
    let url = broker.url();
    let settings = Cli::try_parse_from(["order-service", "--nats-url", &url]).unwrap().settings;
    let ownership = Ownership::establish(database.clone(), ORDER_CONSUMER, ORDER_PROCESSED).await.unwrap();
    let connection = Connection::connect(&settings.nats, ownership).await.unwrap();
    wait_until("the broker is found", async || connection.observe_once().await.is_ok()).await;
    let mut relay = Relay::new(database.clone(), connection);
    assert_eq!(relay.relay_once().await.unwrap(), Relayed::Idle);
    relay
}

criterion_group!(steps, group_commit, settle_batch, relay_step);
criterion_main!(steps);
