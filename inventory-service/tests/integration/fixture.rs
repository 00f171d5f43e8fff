//! A folder with one inventory database, and the service running on it inside the test.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use clap::Parser;
use inventory_service::app;
use inventory_service::migrations::MIGRATIONS;
use inventory_service::settings::{Cli, Settings};
use inventory_service::stock::seed;
use processes::{Port, broker};
use reqwest::RequestBuilder;
use shared::storage::Database;
use sqlx::SqlitePool;
use tempfile::TempDir;
use testing::contract::Contract;
use testing::service;
pub use testing::service::{
    Answer, App as Inventory, Caller, Db, Observer, Publisher, ServiceProcess, body, cancelled, confirmed,
    header, inventory_connection as connection, inventory_consumer, order, take, token,
};
use testing::service::{Ran, SECRET, WriteLock};
use testing::{Broker, SmallDisk, wait_until};
use tokio::process::Command;

/// What the service promises.
pub static CONTRACT: LazyLock<Contract> =
    LazyLock::new(|| Contract::new(inventory_service::http::document()));

/// The answer to a request; fails unless the OpenAPI document has it.
pub async fn answer_to(request: RequestBuilder) -> Answer {
    Answer::of(&CONTRACT, request).await
}

/// The binary with these arguments and nothing in its environment but the tests' secret.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_inventory-service"));
    command.env_clear().env("JWT_SECRET", SECRET).args(arguments);
    command
}

/// Runs a tool against the service.
pub async fn tool(inventory: &Inventory, arguments: &[&str]) -> Ran {
    service::run(command(arguments).env("PORT", inventory.port())).await
}

/// A service that finds no broker.
pub async fn alone() -> (Home, Inventory) {
    let home = Home::without_broker();
    let inventory = home.start(&[]).await;
    (home, inventory)
}

/// A service with a broker, which it has found.
pub async fn connected() -> (Broker, Home, Inventory) {
    let broker = Broker::start().await;
    let home = Home::at(&broker);
    let inventory = home.start(&[]).await;
    inventory.until_broker_is("connected").await;
    (broker, home, inventory)
}

/// Whoever orders, and whoever sees the answers.
pub async fn ends(broker: &Broker) -> (Publisher, Observer) {
    (Publisher::order(broker).await, Observer::of_answers(broker).await)
}

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
        let keys = ["--nats-user", "inventory", "--nats-password", &password, "--jwt-secret", SECRET];
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

    /// The same with the default stock: product 1 has 10, product 2 has 5.
    pub async fn stocked(&self) -> Database {
        let database = self.database().await;
        seed::apply(&database, &seed::read(None).unwrap()).await.unwrap();
        database
    }

    /// What a person sees who opens the file with `sqlite3 -readonly`.
    pub fn look(&self) -> Db {
        Db::read_only(&self.path("inventory.db"))
    }

    pub fn reader(&self) -> SqlitePool {
        self.look().pool()
    }

    /// Takes the write lock of the database, as another process would.
    pub async fn hold_write_lock(&self) -> WriteLock {
        WriteLock::take(&self.path("inventory.db")).await
    }

    pub async fn number(&self, sql: &str) -> i64 {
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

    /// Drains the service, and audits what it leaves.
    pub async fn close(&self, inventory: Inventory) {
        inventory.stop().await;
        self.audit().await;
    }

    /// Makes a copy with the `backup` command.
    pub async fn back_up_to(&self, copy: &Self) {
        let mut command = command(&["backup"]);
        command.arg(copy.path("inventory.db")).env("DATABASE", self.path("inventory.db"));
        service::run(&mut command).await.success();
    }

    /// Changes something behind the service's back.
    pub async fn change(&self, sql: &str) {
        Db::of(&self.path("inventory.db")).change(sql).await;
    }

    pub async fn until_dead_letters_are(&self, count: usize) {
        self.look().until_dead_letters_are(count as i64).await;
    }

    pub async fn until_reservations_are(&self, count: usize) {
        let what = format!("{count} orders are decided");
        wait_until(&what, async || self.reservations().await == count as i64).await;
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
            assert_eq!(stock, explained, "stock of {product} is not adjustments − confirmed reservations");
        }
    }
}
