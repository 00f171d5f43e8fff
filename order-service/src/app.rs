//! Puts the order service together.

use std::sync::Arc;

use anyhow::Result;
use shared::{
    contract::subjects::{ORDER_CONSUMER, ORDER_PROCESSED},
    delivery::dead_letter::redrive::redriver,
    http::auth::Tokens,
    operations::service::Service,
    storage::commit_queue::commit_queue,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    event_handlers::SettleOrders,
    http::{AppState, routes, waiting::Waiting},
    orders::{
        commit_queue,
        feed::{Feed, FeedReader},
    },
    settings::Settings,
    sweeper::Sweeper,
};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// Runs the service until `shutdown`, then drains it. Fails when the drain takes longer than its deadline, or a task dies.
pub async fn run(settings: Settings, listener: TcpListener, shutdown: CancellationToken) -> Result<()> {
    let tokens = Tokens::new(&settings.jwt)?;
    let mut service = Service::open(
        ORDER_CONSUMER,
        ORDER_PROCESSED,
        &settings.database,
        &MIGRATIONS,
        &settings.nats,
        shutdown,
    )
    .await?;

    let (queue, batches) = commit_queue(settings.queue_size, service.database.clone());
    service.spawn("committer", |_| commit_queue::run(batches));
    service.consume(SettleOrders);
    let (dead_letters, redriver) = redriver(service.database.clone(), service.broker.clone(), SettleOrders);
    service.spawn("redriver", |_| redriver.run());
    let sweeper = Sweeper::new(service.database.clone(), service.broker.clone());
    service.spawn("sweeper", |shutdown| sweeper.run(shutdown));
    let feed = Feed::default();
    let reader = FeedReader::open(service.database.clone(), feed.clone()).await?;
    service.spawn("feed reader", |shutdown| reader.run(shutdown));

    let state = AppState {
        tokens,
        queue,
        database: service.database.clone(),
        waiting: Waiting::new(feed, service.database.clone(), service.operations.shutdown.clone()),
        operations: service.operations.clone(),
        pending_orders: Arc::default(),
        dead_letters,
    };
    service.run(listener, routes(state), settings.server.drain_seconds).await
}
