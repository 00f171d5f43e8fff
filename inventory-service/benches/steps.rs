//! Deciding a batch of orders, alone on a real file.
//!
//! `cargo bench -p inventory-service --bench steps`. Most of a small batch is the fsync; `TMPDIR=/dev/shm` leaves it out.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use inventory_service::migrations::MIGRATIONS;
use inventory_service::stock::reservation::reserve;
use inventory_service::stock::seed::{self, SeedProduct};
use shared::clock::now_ms;
use shared::contract::events::{OrderCreated, Received};
use shared::contract::status::Status;
use shared::contract::trace;
use shared::storage::Database;
use tokio::runtime::Runtime;

const BATCHES: [usize; 2] = [1, 64];
const PRODUCTS: usize = 10;

fn order(number: usize) -> Received<OrderCreated> {
    let event = OrderCreated {
        order_id: uuid::Uuid::now_v7().to_string(),
        product_id: (number % PRODUCTS).to_string(),
        quantity: 1,
        status: Status::Created,
        user_id: "user-1".to_owned(),
        created_at: String::new(),
    };
    Received { event, traceparent: trace::accept(None), time_ms: None, attempt: 1 }
}

fn inventory_batch(criterion: &mut Criterion) {
    let (runtime, folder) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let database = runtime.block_on(async {
        let database = Database::open(&folder.path().join("inventory.db"), &MIGRATIONS).await.unwrap();
        let product = |number: usize| SeedProduct { product_id: number.to_string(), stock: 1_000_000_000 };
        seed::apply(&database, &(0..PRODUCTS).map(product).collect::<Vec<_>>()).await.unwrap();
        database
    });
    let mut group = criterion.benchmark_group("inventory batch");
    for count in BATCHES {
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(format!("{count} orders"), |bencher| {
            bencher.iter_batched(
                || (0..count).map(order).collect::<Vec<_>>(),
                |orders| {
                    runtime.block_on(async {
                        let mut tx = database.begin().await.unwrap();
                        reserve(&mut tx, &orders, now_ms()).await.unwrap();
                        tx.commit().await.unwrap();
                    });
                },
                BatchSize::PerIteration,
            );
        });
    }
}

criterion_group!(steps, inventory_batch);
criterion_main!(steps);
