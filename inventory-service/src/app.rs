//! Puts the inventory service together.

use anyhow::{Context, Result};
use shared::{
    auth::Tokens,
    service::Service,
    subjects::{INVENTORY_CONSUMER, ORDER_CREATED},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    event_handlers::DecideOrders,
    http::{AppState, routes},
    settings::Settings,
    stock::seed,
};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// Runs the service until `shutdown`, then drains it. Fails when the drain takes longer than its deadline.
pub async fn run(settings: Settings, listener: TcpListener, shutdown: CancellationToken) -> Result<()> {
    // No route of this service takes a token yet, but a wrong secret should show at once and not later.
    Tokens::new(&settings.jwt)?;
    let products = seed::read(settings.seed_file.as_deref())?;
    let service =
        Service::open("inventory-service", &settings.database, &MIGRATIONS, &settings.nats, shutdown).await?;
    seed::apply(&service.database, &products).await.context("seed the stock")?;

    service.consume(INVENTORY_CONSUMER, ORDER_CREATED, DecideOrders);

    let state = AppState { database: service.database.clone(), operations: service.operations.clone() };
    service.run(listener, routes(state), settings.server.drain_seconds).await
}
