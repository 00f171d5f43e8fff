//! What a service is made of besides its own rules, and how it stops.
//!
//! Drain: no new connections and no new pulls; the requests and the batch in hand are committed and answered,
//! then the relay empties the outbox as far as the broker lets it, then the database is closed. A task that
//! dies ends the service at once: a drain would wait for what it no longer does.
//!
//! What is long is handed out as a boxed future, and without type parameters. An `async fn` is compiled in each crate that
//! awaits it, together with all that it awaits: relay, server and client once more in each service.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use axum::Router;
use clap::Args;
use futures_util::future::BoxFuture;
use sqlx::migrate::Migrator;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

use crate::broker::Broker;
use crate::broker::adoption::Healing;
use crate::broker::ownership::Ownership;
use crate::delivery::consumer::Consumer;
use crate::delivery::dead_letter::redrive::DeadLetters;
use crate::delivery::handler::AnyHandler;
use crate::delivery::relay::Relay;
use crate::http::auth::Tokens;
use crate::http::server::serve;
use crate::operations::families::Family;
use crate::operations::gauge::Gauge;
use crate::operations::jobs::{Jobs, jobs};
use crate::operations::probes::{self, Probes};
use crate::operations::routes::OperatorState;
use crate::operations::tasks::Tasks;
use crate::operations::{routes, telemetry};
use crate::settings::{JwtSettings, NatsSettings, ServiceSettings};
use crate::storage::Database;
use crate::storage::commit_queue::{Batched, CommitQueue, commit_queue};

/// What tells one service from another.
#[derive(Clone, Copy)]
pub struct About {
    /// The service's name at the broker and, as `/name`, the `ce-source` of its events.
    pub name: &'static str,
    /// What its durable consumer receives.
    pub subject: &'static str,
    /// Its own metric families.
    pub families: &'static [Family],
    pub healing: Healing,
}

/// What a service serves besides what every service does.
pub struct Own {
    pub routes: OpenApiRouter,
    pub gauges: Vec<Gauge>,
    pub dead_letters: DeadLetters,
}

/// What a service is opened with.
struct Needed<'a> {
    jwt: &'a JwtSettings,
    nats: &'a NatsSettings,
    database: &'a Path,
    drain: Duration,
    migrations: &'a Migrator,
}

/// A service's database and broker, and the tasks that work with them.
pub struct Service {
    pub tokens: Tokens,
    pub database: Database,
    pub broker: Broker,
    /// Cancelled when the service begins to drain.
    pub shutdown: CancellationToken,
    about: About,
    drain: Duration,
    jobs: Jobs,
    // Tasks that end with the shutdown, and may enqueue events until then. The relay outlives them.
    tasks: Tasks,
}

impl Service {
    /// Opens the database and prepares the connection to the broker, which may be away.
    pub fn open<'a>(
        about: About,
        settings: &'a ServiceSettings<impl Args>,
        migrations: &'a Migrator,
        shutdown: CancellationToken,
    ) -> BoxFuture<'a, Result<Self>> {
        let ServiceSettings { jwt, nats, database, drain_seconds, .. } = settings;
        let needed = Needed { jwt, nats, database, drain: *drain_seconds, migrations };
        Self::open_with(about, needed, shutdown)
    }

    fn open_with(
        about: About,
        Needed { jwt, nats, database, drain, migrations }: Needed<'_>,
        shutdown: CancellationToken,
    ) -> BoxFuture<'_, Result<Self>> {
        Box::pin(async move {
            // What is counted before is lost.
            telemetry::metrics();
            let tokens = Tokens::new(jwt)?;
            nats.check()?;
            let database = Database::open(database, migrations).await?;
            let ownership = Ownership::establish(database.clone(), about.name, about.subject).await?;
            let broker = Broker::connect(nats, ownership).await?;
            let ((jobs, doing), mut tasks) = (jobs(), Tasks::default());
            tasks.spawn("jobs", doing);
            Ok(Self { tokens, database, broker, shutdown, about, drain, jobs, tasks })
        })
    }

    /// Runs a task that may enqueue events. It must end once its token is cancelled, or all who give it work are
    /// gone, and not before.
    pub fn spawn<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        name: &'static str,
        task: impl FnOnce(CancellationToken) -> F,
    ) {
        self.tasks.spawn(name, task(self.shutdown.clone()));
    }

    /// Commits requests of one kind in groups, of which `size` may wait.
    pub fn commit_queue<R: Batched>(&mut self, size: usize) -> CommitQueue<R> {
        let (queue, committer) = commit_queue(size, self.database.clone());
        self.spawn("committer", |_| committer);
        queue
    }

    /// Runs the durable consumer, as long as it belongs to this database. What can never succeed may be
    /// redriven.
    pub fn consume(&mut self, handler: Arc<dyn AnyHandler>) -> DeadLetters {
        let consumer = Consumer::new(self.database.clone(), self.broker.clone(), handler.clone());
        self.spawn("consumer", |shutdown| async move { consumer.run(shutdown).await });
        DeadLetters::new(self.database.clone(), self.broker.clone(), handler)
    }

    /// Serves until the shutdown, then drains. Fails when the drain takes longer than its deadline, and at
    /// once when the database is found damaged or a task dies.
    pub fn run(self, listener: TcpListener, own: Own) -> BoxFuture<'static, Result<()>> {
        Box::pin(self.serve_until_drained(listener, own))
    }

    async fn serve_until_drained(self, listener: TcpListener, own: Own) -> Result<()> {
        tracing::info!(address = %listener.local_addr()?, "listening");
        let app = self.routes(own);
        let (shutdown, database, drain) = (self.shutdown.clone(), self.database.clone(), self.drain);
        let overdue = async {
            shutdown.cancelled().await;
            tokio::time::sleep(drain).await;
        };
        tokio::select! {
            ended = self.serve_and_drain(listener, app) => ended?,
            error = database.until_unusable() => return Err(error),
            () = overdue => bail!(
                "not drained within DRAIN_SECONDS ({} s); what is unfinished goes on after the next start",
                drain.as_secs()
            ),
        }
        tracing::info!("drained");
        Ok(())
    }

    fn routes(&self, Own { routes, gauges, dead_letters }: Own) -> Router {
        let About { name: service, families, healing, .. } = self.about;
        let (tokens, database, broker) = (self.tokens.clone(), self.database.clone(), self.broker.clone());
        let jobs = self.jobs.clone();
        let (gauges, shutdown) =
            (gauges.into_iter().chain(probes::gauges()).collect(), self.shutdown.clone());
        let probes = Probes { service, families, gauges, database, broker: broker.clone(), shutdown }.into();
        routes::all(routes, OperatorState { tokens, broker, healing, probes, dead_letters, jobs })
    }

    async fn serve_and_drain(mut self, listener: TcpListener, app: Router) -> Result<()> {
        let (last_call, mut relaying) = (CancellationToken::new(), Tasks::default());
        let (broker, database) = (self.broker, self.database.clone());
        // Those of the routes are left, and end with the server.
        drop(self.jobs);
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
