//! What a service is made of besides its own rules, and how it stops.
//!
//! Drain: no new connections and no new pulls; the requests and the batch in hand are committed and answered, then
//! the relay empties the outbox as far as the broker lets it, then the database is closed.

use std::{future::Future, path::Path, sync::Arc, time::Duration};

use anyhow::{Result, bail};
use axum::Router;
use sqlx::migrate::Migrator;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    broker::Broker,
    consumer::Consumer,
    delivery::EventHandler,
    http::serve,
    identity::{Identity, Ownership},
    operations::Operations,
    relay::Relay,
    settings::NatsSettings,
    sqlite::Database,
};

/// A service's database, broker and relay, and the tasks that work with them.
pub struct Service {
    /// The service's own database.
    pub database: Database,
    /// The service's connection to the broker.
    pub broker: Broker,
    /// Publishes the service's outbox.
    pub relay: Relay,
    /// Probes and metrics.
    pub operations: Arc<Operations>,
    identity: Identity,
    shutdown: CancellationToken,
    // Tasks that may still enqueue events. The relay outlives them.
    producers: TaskTracker,
}

impl Service {
    /// Opens the database and prepares the connection to the broker, which may be away. `name` is the service's
    /// name at the broker and, as `/name`, the `ce-source` of its events.
    pub async fn open(
        name: &'static str,
        database: &Path,
        migrations: &Migrator,
        nats: &NatsSettings,
        shutdown: CancellationToken,
    ) -> Result<Self> {
        let path = database;
        let database = Database::open(path, migrations).await?;
        let identity = Identity::establish(&database, path).await?;
        let broker = Broker::connect(nats, name).await?;
        let relay = Relay::new(database.clone(), broker.clone(), name);
        let operations = Arc::new(Operations {
            database: database.clone(),
            broker: broker.clone(),
            shutdown: shutdown.clone(),
        });
        Ok(Self { database, broker, relay, operations, identity, shutdown, producers: TaskTracker::new() })
    }

    /// Runs a task that may enqueue events. It must end by itself once the token that it gets is cancelled.
    pub fn spawn<F: Future<Output = ()> + Send + 'static>(&self, task: impl FnOnce(CancellationToken) -> F) {
        self.producers.spawn(task(self.shutdown.clone()));
    }

    /// Runs the durable consumer `name` on `subject`, as long as it belongs to this database.
    pub fn consume(&self, name: &'static str, subject: &'static str, handler: impl EventHandler) {
        self.broker.guard(Ownership::new(self.database.clone(), self.identity.clone(), name, subject));
        let consumer = Consumer {
            name,
            subject,
            database: self.database.clone(),
            broker: self.broker.clone(),
            relay: self.relay.clone(),
            handler,
        };
        self.spawn(|shutdown| async move { consumer.run(shutdown).await });
    }

    /// Serves `app` until the shutdown, then drains. Fails when the drain takes longer than `deadline`, and at once
    /// when the database is found damaged.
    pub async fn run(self, listener: TcpListener, app: Router, deadline: Duration) -> Result<()> {
        tracing::info!(address = %listener.local_addr()?, "listening");
        let (shutdown, database) = (self.shutdown.clone(), self.database.clone());
        let overdue = async {
            shutdown.cancelled().await;
            tokio::time::sleep(deadline).await;
        };
        tokio::select! {
            () = self.serve_and_drain(listener, app) => tracing::info!("drained"),
            error = database.until_broken() => return Err(error),
            () = overdue => bail!(
                "not drained within DRAIN_SECONDS ({} s); what is unfinished goes on after the next start",
                deadline.as_secs()
            ),
        }
        Ok(())
    }

    async fn serve_and_drain(self, listener: TcpListener, app: Router) {
        let (last_call, relaying) = (CancellationToken::new(), TaskTracker::new());
        let (broker, relay, operations) = (self.broker, self.relay, self.operations);
        let (keeping, sending) = (last_call.clone(), last_call.clone());
        relaying.spawn(async move { broker.keep(keeping).await });
        relaying.spawn(async move { relay.run(sending).await });
        relaying.spawn(async move { operations.watch_database().await });

        serve(listener, app, self.shutdown).await;
        self.producers.close();
        self.producers.wait().await;
        last_call.cancel();
        relaying.close();
        relaying.wait().await;
        self.database.close().await;
    }
}
