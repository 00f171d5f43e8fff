//! A folder with one inventory database, and the service running on it inside the test.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use clap::Parser;
use inventory_service::app;
use inventory_service::settings::{Cli, Settings};
use processes::{Port, broker};
use shared::settings::DEMO_SECRET;
use shared::storage::Database;
use sqlx::SqlitePool;
use tempfile::TempDir;
use testing::contract::Contract;
pub use testing::service::App as Inventory;
use testing::service::{Db, ServiceProcess, WriteLock};
use testing::{Broker, SmallDisk, service};
use tokio::process::Command;

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
        self.arguments_in(self.folder.path(), more)
    }

    fn arguments_in(&self, folder: &Path, more: &[&str]) -> Vec<String> {
        let (database, password) =
            (folder.join("inventory.db").display().to_string(), broker::password("inventory"));
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
        let settings = self.settings(more);
        Inventory::start(&CONTRACT, |listener, shutdown| app::run(settings, listener, shutdown)).await
    }

    /// Why the service does not start with `more` flags.
    pub async fn refusal(&self, more: &[&str]) -> String {
        let settings = self.settings(more);
        service::refusal(|listener, shutdown| app::run(settings, listener, shutdown)).await
    }

    /// Starts the real binary on this home with `more` flags.
    pub async fn spawn(&self, more: &[&str]) -> ServiceProcess {
        let mut command = Command::new(env!("CARGO_BIN_EXE_inventory-service"));
        command.args(self.arguments(more));
        ServiceProcess::spawn(&CONTRACT, command, self.folder.path()).await
    }

    /// The same with its database on a disk.
    pub async fn spawn_on(&self, disk: &SmallDisk, more: &[&str]) -> ServiceProcess {
        let mut command = disk.command(env!("CARGO_BIN_EXE_inventory-service"));
        command.args(self.arguments_in(disk.folder(), more)).env("RUST_LOG", "info,shared=debug");
        ServiceProcess::spawn(&CONTRACT, command, self.folder.path()).await
    }

    /// The database as the service itself opens it, for tests below the service.
    pub async fn database(&self) -> Database {
        Database::open(&self.path("inventory.db"), &MIGRATIONS).await.unwrap()
    }

    /// What a person sees who opens the file with `sqlite3 -readonly`.
    pub fn look(&self) -> Db {
        Db::read_only(&self.path("inventory.db"))
    }

    pub async fn reader(&self) -> SqlitePool {
        self.look().pool()
    }

    /// Takes the write lock of the database, as another process would.
    pub async fn hold_write_lock(&self) -> WriteLock {
        WriteLock::take(&self.path("inventory.db")).await
    }

    pub async fn number(&self, sql: &'static str) -> i64 {
        self.look().number(sql).await
    }

    pub async fn reservations(&self) -> i64 {
        self.look().reservations().await
    }

    pub async fn outbox(&self) -> i64 {
        self.look().outbox().await
    }

    pub async fn stock(&self, product_id: &str) -> i64 {
        self.look().number(&format!("SELECT stock FROM products WHERE id = '{product_id}'")).await
    }

    /// Each dead letter's body, reason, detail and attempts, in the order of arrival.
    pub async fn dead_letters(&self) -> Vec<(Vec<u8>, String, String, i64)> {
        self.look().rows("SELECT body, reason, detail, attempts FROM dead_letters ORDER BY id").await
    }

    /// The invariant at the end of a test: stock = adjustments − confirmed reservations, for every product.
    pub async fn audit(&self) {
        let query = "SELECT products.id, stock,
            (SELECT coalesce(sum(delta), 0) FROM adjustments WHERE product_id = products.id) -
            (SELECT coalesce(sum(quantity), 0) FROM reservations WHERE product_id = products.id AND status = 'confirmed')
            FROM products";
        let rows: Vec<(String, i64, i64)> = self.look().rows(query).await;
        assert!(!rows.is_empty(), "there is no stock to audit");
        for (product, stock, explained) in rows {
            assert_eq!(
                stock, explained,
                "stock of product {product} is not adjustments − confirmed reservations"
            );
        }
    }
}
