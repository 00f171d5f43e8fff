//! Puts the order service together.

use std::env::args_os;
use std::future::ready;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use shared::contract::events::{EventBody, OrderProcessed};
use shared::contract::subjects::ORDER_CONSUMER;
use shared::operations::gauge::Gauge;
use shared::operations::service::{About, Own, Service};
use shared::operations::{command_line, start};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::families::FAMILIES;
use crate::http::open_requests::OpenRequests;
use crate::http::{AppState, routes};
use crate::migrations::MIGRATIONS;
use crate::orders::feed::{Feed, FeedReader};
use crate::orders::pending;
use crate::orders::settlement::SettleOrders;
use crate::settings::{Cli, HEALING, Settings};
use crate::sweeper::Sweeper;

pub const ABOUT: About =
    About { name: ORDER_CONSUMER, subject: OrderProcessed::SUBJECT, families: FAMILIES, healing: HEALING };

/// What the process does. Here and not in `main.rs`: there it would all be compiled once more.
pub fn main() -> ExitCode {
    let Cli { command, settings } = command_line::parse(args_os());
    start::start(ABOUT.name, command, settings, run)
}

/// Runs the service until `shutdown`, then drains it. Fails when that takes too long, or a task dies.
pub async fn run(settings: Settings, listener: TcpListener, shutdown: CancellationToken) -> Result<()> {
    let mut service = Service::open(ABOUT, &settings, &MIGRATIONS, shutdown).await?;
    let (tokens, database) = (service.tokens.clone(), service.database.clone());

    let queue = service.commit_queue(settings.own.queue_size);
    let dead_letters = service.consume(Arc::new(SettleOrders));
    let sweeper = Sweeper::new(database.clone(), service.broker.clone());
    service.spawn("sweeper", |shutdown| sweeper.run(shutdown));
    let feed = Feed::default();
    let reader = FeedReader::new(database.clone(), feed.clone());
    service.spawn("feed reader", |shutdown| reader.run(shutdown));

    let open_requests = OpenRequests::new(feed, database.clone(), service.shutdown.clone());
    let open = open_requests.clone();
    let gauges = vec![
        Gauge::new("open requests", metrics::gauge!("http_requests_waiting"), move |_| {
            Box::pin(ready(Ok(open.taken())))
        }),
        Gauge::new("pending orders", metrics::gauge!("orders_pending"), |reader| {
            Box::pin(pending::count(reader))
        }),
    ];

    let routes = routes().with_state(AppState { tokens, database, queue, open_requests });
    service.run(listener, Own { routes, gauges, dead_letters }).await
}
