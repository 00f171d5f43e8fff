//! Puts the inventory service together.

use anyhow::Result;
use shared::{
    contract::subjects::{INVENTORY_CONSUMER, ORDER_CREATED},
    delivery::dead_letter::redrive::redriver,
    http::auth::Tokens,
    operations::service::Service,
    storage::commit_queue::commit_queue,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    event_handlers::DecideOrders,
    http::{AppState, routes},
    settings::Settings,
    stock::{commit_queue, seed},
};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// Runs the service until `shutdown`, then drains it. Fails when the drain takes longer than its deadline, or a task dies.
pub async fn run(settings: Settings, listener: TcpListener, shutdown: CancellationToken) -> Result<()> {
    let tokens = Tokens::new(&settings.jwt)?;
    let products = seed::read(settings.seed_file.as_deref())?;
    let mut service = Service::open(
        INVENTORY_CONSUMER,
        ORDER_CREATED,
        &settings.database,
        &MIGRATIONS,
        &settings.nats,
        shutdown,
    )
    .await?;
    seed::apply(&service.database, &products).await?;

    let (changes, batches) = commit_queue(commit_queue::WAITING_MAX, service.database.clone());
    service.spawn("committer", |_| commit_queue::run(batches));
    service.consume(DecideOrders);
    let (dead_letters, redriver) = redriver(service.database.clone(), service.broker.clone(), DecideOrders);
    service.spawn("redriver", |_| redriver.run());

    let state = AppState {
        tokens,
        changes,
        database: service.database.clone(),
        operations: service.operations.clone(),
        dead_letters,
    };
    service.run(listener, routes(state), settings.server.drain_seconds).await
}
