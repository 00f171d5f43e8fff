//! A folder with one inventory database, and the service running on it inside the test.

use std::{path::PathBuf, sync::LazyLock, time::Duration};

use clap::Parser;
use inventory_service::{
    app,
    settings::{Cli, Settings},
};
use processes::{Port, broker};
use serde_json::Value;
use shared::{settings::DEMO_SECRET, storage::Database};
use sqlx::{
    Connection, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tempfile::TempDir;
use testing::{Broker, contract::Contract, wait_until};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// What the service promises.
pub static CONTRACT: LazyLock<Contract> =
    LazyLock::new(|| Contract::new(inventory_service::http::document()));

/// Where one inventory lives.
pub struct Home {
    pub folder: TempDir,
    pub nats_url: String,
    // Held so that nothing else answers there.
    _closed: Option<Port>,
}

impl Home {
    /// A fresh home whose service talks to `broker`.
    pub fn at(broker: &Broker) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), nats_url: broker.url(), _closed: None }
    }

    /// A fresh home without any broker: nothing listens at its address.
    pub fn without_broker() -> Self {
        let port = Port::claim().unwrap();
        let nats_url = format!("nats://127.0.0.1:{}", port.number());
        Self { folder: tempfile::tempdir().unwrap(), nats_url, _closed: Some(port) }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the home and returns its path as a flag's value.
    pub fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }

    /// The flags that tie the service to this home, `more` at the end.
    pub fn arguments(&self, more: &[&str]) -> Vec<String> {
        let (database, password) =
            (self.path("inventory.db").display().to_string(), broker::password("inventory"));
        let own = ["--host", "127.0.0.1", "--database", &database, "--nats-url", &self.nats_url];
        let keys = ["--nats-user", "inventory", "--nats-password", &password, "--jwt-secret", DEMO_SECRET];
        own.iter().chain(&keys).chain(more).map(|argument| (*argument).to_owned()).collect()
    }

    pub fn settings(&self, more: &[&str]) -> Settings {
        let mut arguments = vec!["inventory-service".to_owned(), "--port".to_owned(), "0".to_owned()];
        arguments.extend(self.arguments(more));
        Cli::try_parse_from(arguments).unwrap().settings
    }

    /// Runs the service with `more` flags and waits until it answers.
    pub async fn start(&self, more: &[&str]) -> Inventory {
        // As `main` does: what is counted before the first call is lost.
        shared::operations::telemetry::metrics();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(app::run(self.settings(more), listener, shutdown.clone()));
        let inventory = Inventory { url, shutdown, task };
        wait_until("the service answers", async || {
            assert!(!inventory.task.is_finished(), "the service ended by itself");
            reqwest::get(inventory.at("/livez")).await.is_ok()
        })
        .await;
        inventory
    }

    /// Why the service does not start with `more` flags.
    pub async fn refusal(&self, more: &[&str]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let run = app::run(self.settings(more), listener, CancellationToken::new());
        let ended = tokio::time::timeout(Duration::from_secs(10), run).await;
        format!("{:#}", ended.expect("the service started").unwrap_err())
    }

    /// The database as the service itself opens it, for tests below the service.
    pub async fn database(&self) -> Database {
        Database::open(&self.path("inventory.db"), &MIGRATIONS).await.unwrap()
    }

    /// What a person sees who opens the file with `sqlite3 -readonly`.
    pub async fn reader(&self) -> SqlitePool {
        let options = SqliteConnectOptions::new().filename(self.path("inventory.db")).read_only(true);
        SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap()
    }

    /// Takes the write lock of the database, as another process would.
    pub async fn hold_write_lock(&self) -> WriteLock {
        let options = SqliteConnectOptions::new().filename(self.path("inventory.db"));
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
        WriteLock(connection)
    }

    pub async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.reader().await).await.unwrap()
    }

    pub async fn reservations(&self) -> i64 {
        self.number("SELECT count(*) FROM reservations").await
    }

    pub async fn outbox(&self) -> i64 {
        self.number("SELECT count(*) FROM outbox").await
    }

    pub async fn stock(&self, product_id: &str) -> i64 {
        let query =
            sqlx::query_scalar("SELECT stock FROM products WHERE id = $1").bind(product_id.to_owned());
        query.fetch_one(&self.reader().await).await.unwrap()
    }

    /// Each dead letter's body, reason, detail and attempts, in the order of arrival.
    pub async fn dead_letters(&self) -> Vec<(Vec<u8>, String, String, i64)> {
        let query = "SELECT body, reason, detail, attempts FROM dead_letters ORDER BY id";
        sqlx::query_as(query).fetch_all(&self.reader().await).await.unwrap()
    }

    /// The invariant at the end of a test: stock = adjustments − confirmed reservations, for every product.
    pub async fn audit(&self) {
        let query = "SELECT products.id, stock,
            (SELECT coalesce(sum(delta), 0) FROM adjustments WHERE product_id = products.id) -
            (SELECT coalesce(sum(quantity), 0) FROM reservations WHERE product_id = products.id AND status = 'confirmed')
            FROM products";
        let rows: Vec<(String, i64, i64)> =
            sqlx::query_as(query).fetch_all(&self.reader().await).await.unwrap();
        assert!(!rows.is_empty(), "there is no stock to audit");
        for (product, stock, explained) in rows {
            assert_eq!(
                stock, explained,
                "stock of product {product} is not adjustments − confirmed reservations"
            );
        }
    }
}

/// A write transaction in somebody else's hands.
pub struct WriteLock(SqliteConnection);

impl WriteLock {
    pub async fn release(mut self) {
        sqlx::query("ROLLBACK").execute(&mut self.0).await.unwrap();
        self.0.close().await.unwrap();
    }
}

/// The service, running inside the test. Dropped without [`Inventory::stop`] it is aborted.
pub struct Inventory {
    url: String,
    shutdown: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Inventory {
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub async fn get(&self, path: &str) -> reqwest::Response {
        CONTRACT.send(reqwest::Client::new().get(self.at(path))).await
    }

    pub async fn json(&self, path: &str) -> Value {
        self.get(path).await.json().await.unwrap()
    }

    /// Waits until `/readyz` tells this of the broker.
    pub async fn until_broker_is(&self, word: &str) {
        wait_until(&format!("the service calls the broker {word}"), async || {
            self.json("/readyz").await["broker"] == word
        })
        .await;
    }

    /// Drains and waits for the end, which must be a clean one.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        (&mut self.task).await.unwrap().expect("a clean drain");
    }
}

impl Drop for Inventory {
    fn drop(&mut self) {
        self.task.abort();
    }
}
