//! How long a page of orders takes: for a user with few orders, for one with many, and deep in the list of the latter.
//!
//! `cargo bench -p order-service --bench lists`. One real file, the service in this process, requests over HTTP one after the
//! other. The cases take turns, so that whatever else the machine does falls on all of them.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::time::{Duration, Instant};

use clap::Parser;
use order_service::app;
use order_service::settings::Cli;
use reqwest::{Client, Response};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const SECRET: &str = "a-secret-for-a-benchmark-of-more-than-32-bytes";
const ROUNDS: usize = 5;
const REQUESTS: usize = 200;
/// Users and their orders.
const USERS: [(&str, usize); 2] = [("small", 1_000), ("big", 100_000)];
const PAGE: usize = 50;
/// The deep case is this page of the big user, counted from the newest.
const DEEP_PAGE: usize = 1_000;

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("order.db");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let shutdown = CancellationToken::new();
    let arguments =
        ["order-service", "--nats-url", "nats://127.0.0.1:1", "--jwt-secret", SECRET, "--database"];
    let arguments = arguments.into_iter().chain([database.to_str().unwrap()]);
    let settings = Cli::try_parse_from(arguments).unwrap().settings;
    let service = tokio::spawn(app::run(settings, listener, shutdown.clone()));
    let bench = Bench { http: Client::builder().no_proxy().build().unwrap(), url };
    // Answered once the file exists.
    bench.get("small", "/orders").await;
    store_orders(SqliteConnectOptions::new().filename(&database)).await;

    let deep = bench.deep_page().await;
    let first = format!("/orders?limit={PAGE}");
    let filtered = format!("/orders?limit={PAGE}&status=created");
    let cases: [(&str, &str, &str); 5] = [
        ("small user, first page", "small", &first),
        ("big user, first page", "big", &first),
        ("big user, page 1,000", "big", &deep),
        ("big user, a rare status", "big", &filtered),
        ("small user, a rare status", "small", &filtered),
    ];
    let mut times = vec![Vec::with_capacity(ROUNDS * REQUESTS); cases.len()];
    for _ in 0..ROUNDS {
        for ((_, user, path), times) in cases.iter().zip(&mut times) {
            times.extend(bench.times(user, path).await);
        }
    }
    let medians: Vec<f64> = times.into_iter().map(median_us).collect();
    for ((name, ..), median) in cases.iter().zip(&medians) {
        println!("{name:<28} {median:>8.0} µs   {:.2} of the first line", median / medians[0]);
    }
    shutdown.cancel();
    service.await.unwrap().unwrap();
}

struct Bench {
    http: Client,
    url: String,
}

impl Bench {
    async fn get(&self, user: &str, path: &str) -> Response {
        let token = processes::token::sign(SECRET, user).unwrap();
        let answer = self.http.get(format!("{}{path}", self.url)).bearer_auth(token).send().await.unwrap();
        answer.error_for_status().unwrap()
    }

    /// The path of the big user's deep page, found as a client finds it.
    async fn deep_page(&self) -> String {
        let mut path = format!("/orders?limit={PAGE}");
        for _ in 1..DEEP_PAGE {
            let answer = self.get("big", &path).await;
            let link = answer.headers()["link"].to_str().unwrap();
            path = link.split_once('<').unwrap().1.split_once('>').unwrap().0.to_owned();
        }
        path
    }

    async fn times(&self, user: &str, path: &str) -> Vec<Duration> {
        let mut times = Vec::with_capacity(REQUESTS);
        for _ in 0..REQUESTS {
            let started = Instant::now();
            self.get(user, path).await.bytes().await.unwrap();
            times.push(started.elapsed());
        }
        times
    }
}

/// Every thousandth order is pending; the orders of the two users alternate as long as both have some.
async fn store_orders(options: SqliteConnectOptions) {
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    for (user, count) in USERS {
        let sql = format!(
            "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})
             INSERT INTO orders (number, settled_number, id, user_id, product_id, quantity, status, created_at, settled_at, traceparent, sent_at)
             SELECT (SELECT coalesce(max(number), 0) FROM orders) + n, iif(n % 1000 = 0, NULL, 10000000 + n), format('01a20a40-%04x-7000-8000-%04x{user:0>8.8}', n / 65536, n % 65536), '{user}', n % 10, 1,
                    iif(n % 1000 = 0, 'created', 'confirmed'), n, iif(n % 1000 = 0, NULL, n),
                    '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', n
             FROM numbers"
        );
        sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

fn median_us(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e6
}
