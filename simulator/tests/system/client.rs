//! A client of the topology's two services, and a look into their databases once they are stopped.

use std::{path::Path, time::Duration};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use simulator::{
    binaries::Binaries,
    topology::{Part, Topology, TopologyConfig},
};
use sqlx::{Connection, Row, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

/// A topology of its own on free ports, with this stock.
pub async fn topology(stock: Value) -> (Topology, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let seed = folder.path().join("seed.json");
    std::fs::write(&seed, stock.to_string()).unwrap();
    let mut config =
        TopologyConfig::in_folder(folder.path().to_owned(), Binaries::beside_test().unwrap()).unwrap();
    config.seed_file = Some(seed);
    (Topology::start(config).await.unwrap(), folder)
}

/// One user's view of the order service.
#[derive(Clone)]
pub struct Buyer {
    http: Client,
    url: String,
    token: String,
}

impl Buyer {
    pub fn new(topology: &Topology, name: &str) -> Self {
        let http = Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap();
        Self { http, url: topology.order_url(), token: topology.token(name).unwrap() }
    }

    /// Orders once; the answer's status and body, or an error when it is not known what happened.
    pub async fn order(
        &self,
        product: &str,
        quantity: i64,
        key: &str,
    ) -> reqwest::Result<(StatusCode, Value)> {
        let answer = self
            .http
            .post(format!("{}/orders", self.url))
            .bearer_auth(&self.token)
            .header("Idempotency-Key", key)
            .json(&json!({"productId": product, "quantity": quantity}))
            .send()
            .await?;
        Ok((answer.status(), answer.json().await?))
    }

    /// Orders until the answer is 201, always with the same key. Returns the order's id.
    pub async fn order_until_accepted(&self, product: &str, quantity: i64, key: &str) -> String {
        loop {
            match self.order(product, quantity, key).await {
                Ok((StatusCode::CREATED, order)) => return order["id"].as_str().unwrap().to_owned(),
                Ok((StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT, _)) | Err(_) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Ok((status, body)) => panic!("{status}: {body}"),
            }
        }
    }

    /// One of this user's orders.
    pub async fn show(&self, id: &str) -> Value {
        let request = self.http.get(format!("{}/orders/{id}", self.url)).bearer_auth(&self.token);
        request.send().await.unwrap().json().await.unwrap()
    }

    /// The value of a gauge of the order service.
    pub async fn gauge(&self, name: &str) -> Option<f64> {
        let text = self.http.get(format!("{}/metrics", self.url)).send().await.ok()?.text().await.ok()?;
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    /// What is left of a product.
    pub async fn stock(&self, topology: &Topology, product: &str) -> Value {
        self.stock_at(&topology.inventory_url(), product).await
    }

    /// The same, by the inventory's URL.
    pub async fn stock_at(&self, inventory: &str, product: &str) -> Value {
        let url = format!("{inventory}/inventory/{product}");
        self.http.get(url).send().await.unwrap().json().await.unwrap()
    }
}

/// The rows of one of the topology's databases, read directly.
pub async fn rows(folder: &Path, part: Part, query: &'static str) -> Vec<(String, String)> {
    let file = folder.join(format!("{}.db", part.name()));
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let mut database = SqliteConnection::connect_with(&options).await.unwrap();
    let rows = sqlx::query(query).fetch_all(&mut database).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// The text of every file below `folder`.
pub fn read_all(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, text);
        } else {
            text.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}
