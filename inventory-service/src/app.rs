//! Puts the inventory service together.

use std::env::args_os;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use shared::contract::events::{EventBody, OrderCreated};
use shared::contract::subjects::INVENTORY_CONSUMER;
use shared::operations::service::{About, Own, Service};
use shared::operations::{command_line, start};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::families::FAMILIES;
use crate::http::{AppState, routes};
use crate::migrations::MIGRATIONS;
use crate::settings::{Cli, HEALING, Settings};
use crate::stock::reservation::DecideOrders;
use crate::stock::seed;

pub const ABOUT: About =
    About { name: INVENTORY_CONSUMER, subject: OrderCreated::SUBJECT, families: FAMILIES, healing: HEALING };

/// Changes that may wait for a commit; further ones are answered 503.
const QUEUE_SIZE: usize = 256;

/// What the process does. Here and not in `main.rs`: there it would all be compiled once more.
pub fn main() -> ExitCode {
    let Cli { command, settings } = command_line::parse(args_os());
    start::start(ABOUT.name, command, settings, run)
}

/// Runs the service until `shutdown`, then drains it. Fails when that takes too long, or a task dies.
pub async fn run(settings: Settings, listener: TcpListener, shutdown: CancellationToken) -> Result<()> {
    let products = seed::read(settings.own.seed_file.as_deref())?;
    let mut service = Service::open(ABOUT, &settings, &MIGRATIONS, shutdown).await?;
    seed::apply(&service.database, &products).await?;

    let queue = service.commit_queue(QUEUE_SIZE);
    let dead_letters = service.consume(Arc::new(DecideOrders));

    let (tokens, database) = (service.tokens.clone(), service.database.clone());
    let routes = routes().with_state(AppState { tokens, database, queue });
    service.run(listener, Own { routes, gauges: Vec::new(), dead_letters }).await
}
