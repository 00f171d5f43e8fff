//! A client of the topology's two services, and the auditor's view of what it was told.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use shared::contract::status::Status;
use simulator::answers::{Answer, Coverage, Line, Outcome, Recorder};
use simulator::binaries::Binaries;
use simulator::check;
use simulator::check::{Databases, Moment, Report};
use simulator::topology::{Topology, TopologyConfig};
use tempfile::TempDir;

/// Every order is settled this soon after a fault ends.
const SETTLED_WITHIN: Duration = Duration::from_secs(20);

/// A topology of its own on free ports, with this stock.
pub async fn topology(stock: Value) -> (Topology, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let config =
        TopologyConfig::in_folder(folder.path().to_owned(), Binaries::beside_test().unwrap()).unwrap();
    let config = config.with_stock(&stock).unwrap();
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
        let request = self.http.post(format!("{}/orders", self.url)).bearer_auth(&self.token);
        let request = request.header("Idempotency-Key", key);
        let answer = request.json(&json!({"productId": product, "quantity": quantity})).send().await?;
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

    /// Waits until no order is pending, and says how long that took. Less than the 30 s after which any lost event is
    /// sent again, so that no test passes by that alone.
    pub async fn until_all_is_settled(&self, since: Instant) -> Duration {
        loop {
            let pending = self.gauge("orders_pending").await;
            if pending == Some(0.0) {
                return since.elapsed();
            }
            assert!(since.elapsed() < SETTLED_WITHIN, "{pending:?} orders pending");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
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

/// What a caller was told whose order was accepted.
pub fn accepted(user: &str, product: &str, key: String, order_id: String) -> Line {
    let outcome = Outcome::Accepted { order_id, status: Status::Created };
    let (user, product_id) = (user.to_owned(), product.to_owned());
    Line::Answer(Answer { at_ms: 0, user, key, product_id, quantity: 1, outcome })
}

/// The auditor's report on a stopped topology and on all that its callers were told. Nothing may be violated
/// or under way.
pub async fn audited(folder: &Path, told: &[Line]) -> Report {
    let answers = folder.join("answers");
    let recorder = Recorder::create(&answers, Coverage::Complete).unwrap();
    told.iter().for_each(|line| recorder.write(line));
    recorder.finish().unwrap();
    let snapshot = check::read(&Databases::in_folder(folder), Some(&answers)).await.unwrap();
    let report = check::audit(&snapshot, Moment::Final);
    assert!(report.clean, "{report}");
    assert_eq!(report.orders, told.len() as u64, "one order per key: {report}");
    report
}
