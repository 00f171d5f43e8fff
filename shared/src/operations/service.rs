//! What a service is made of besides its own rules, and how it stops.
//!
//! Drain: no new connections and no new pulls; the requests and the batch in hand are committed and answered, then
//! the relay empties the outbox as far as the broker lets it, then the database is closed.
//!
//! A background task that dies ends the service at once, with an error that names it: a drain would wait for what that task no longer
//! does, and whatever was committed goes on after the next start.

use std::{future::Future, path::Path, sync::Arc, time::Duration};

use anyhow::{Result, bail};
use axum::Router;
use sqlx::migrate::Migrator;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    broker::{Broker, ownership::Ownership},
    delivery::{consumer::Consumer, handler::EventHandler, relay::Relay},
    http::server::serve,
    operations::{probes::Operations, tasks::Tasks},
    settings::NatsSettings,
    storage::Database,
};

/// A service's database and broker, and the tasks that work with them.
pub struct Service {
    /// The service's own database.
    pub database: Database,
    /// The service's connection to the broker.
    pub broker: Broker,
    /// Probes and metrics.
    pub operations: Arc<Operations>,
    shutdown: CancellationToken,
    // Tasks that end with the shutdown, and may enqueue events until then. The relay outlives them.
    tasks: Tasks,
}

impl Service {
    /// Opens the database and prepares the connection to the broker, which may be away. `name` is the name of the service's durable
    /// consumer on `subject` and, as `/name`, the `ce-source` of its events.
    pub async fn open(
        name: &'static str,
        subject: &'static str,
        database: &Path,
        migrations: &Migrator,
        nats: &NatsSettings,
        shutdown: CancellationToken,
    ) -> Result<Self> {
        let database = Database::open(database, migrations).await?;
        let ownership = Ownership::establish(database.clone(), name, subject).await?;
        let broker = Broker::connect(nats, ownership).await?;
        let operations = Operations::new(database.clone(), broker.clone(), shutdown.clone()).into();
        Ok(Self { database, broker, operations, shutdown, tasks: Tasks::default() })
    }

    /// Runs a task that may enqueue events. It must end by itself once the token that it gets is cancelled, and not before.
    pub fn spawn<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        name: &'static str,
        task: impl FnOnce(CancellationToken) -> F,
    ) {
        self.tasks.spawn(name, task(self.shutdown.clone()));
    }

    /// Runs the durable consumer, as long as it belongs to this database.
    pub fn consume(&mut self, handler: impl EventHandler) {
        let ownership = self.broker.ownership();
        let consumer = Consumer {
            name: ownership.consumer,
            subject: ownership.subject,
            database: self.database.clone(),
            broker: self.broker.clone(),
            handler,
        };
        self.spawn("consumer", |shutdown| async move { consumer.run(shutdown).await });
    }

    /// Serves `app` until the shutdown, then drains. Fails when the drain takes longer than `deadline`, and at once
    /// when the database is found damaged or a task dies.
    pub async fn run(self, listener: TcpListener, app: Router, deadline: Duration) -> Result<()> {
        tracing::info!(address = %listener.local_addr()?, "listening");
        let (shutdown, database) = (self.shutdown.clone(), self.database.clone());
        let overdue = async {
            shutdown.cancelled().await;
            tokio::time::sleep(deadline).await;
        };
        tokio::select! {
            ended = self.serve_and_drain(listener, app) => ended?,
            error = database.until_unusable() => return Err(error),
            () = overdue => bail!(
                "not drained within DRAIN_SECONDS ({} s); what is unfinished goes on after the next start",
                deadline.as_secs()
            ),
        }
        tracing::info!("drained");
        Ok(())
    }

    async fn serve_and_drain(mut self, listener: TcpListener, app: Router) -> Result<()> {
        let (last_call, mut relaying) = (CancellationToken::new(), Tasks::default());
        let (broker, database) = (self.broker, self.database.clone());
        let relay = Relay::new(database.clone(), broker.clone());
        let (keeping, sending, watching) = (last_call.clone(), last_call.clone(), self.shutdown.clone());
        relaying.spawn("broker watch", async move { broker.watch(keeping).await });
        relaying.spawn("relay", relay.run(sending));
        self.tasks.spawn("database watch", async move { database.watch(watching).await });
        self.tasks.spawn("server", serve(listener, app, self.shutdown.clone()));

        tokio::select! {
            ended = self.tasks.all_ended_after(&self.shutdown) => ended?,
            error = relaying.first_end() => return Err(error),
        }
        last_call.cancel();
        relaying.all_ended_after(&last_call).await?;
        self.database.close().await;
        Ok(())
    }
}
