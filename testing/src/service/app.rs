//! A service inside the test's process, as `main` runs it.

use std::time::Duration;

use anyhow::Result;
use reqwest::{Client, Response};
use serde_json::Value;
use shared::http::auth::{ADMIN_SCOPE, INVENTORY_WRITE_SCOPE};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::caller::{Caller, token};
use crate::contract::Contract;
use crate::{expect, wait_until};

/// A running service. Dropped without [`App::stop`] it is aborted.
pub struct App {
    pub url: String,
    pub http: Client,
    contract: &'static Contract,
    shutdown: CancellationToken,
    task: JoinHandle<Result<()>>,
}

impl App {
    /// Starts what `run` makes of a listener and a token that stops it; returns when it answers.
    pub async fn start<F>(
        contract: &'static Contract,
        run: impl FnOnce(TcpListener, CancellationToken) -> F,
    ) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let listener = listener().await;
        let url = format!("http://{}", expect("tell the port", listener.local_addr()));
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(run(listener, shutdown.clone()));
        let http = expect("make a client", Client::builder().no_proxy().build());
        let app = Self { url, http, contract, shutdown, task };
        wait_until("the service answers", async || {
            assert!(!app.task.is_finished(), "the service ended by itself");
            app.http.get(app.at("/livez")).send().await.is_ok()
        })
        .await;
        app
    }

    pub fn port(&self) -> &str {
        self.url.rsplit(':').next().unwrap_or_default()
    }

    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub async fn get(&self, path: &str) -> Response {
        self.contract.send(self.http.get(self.at(path))).await
    }

    pub async fn json(&self, path: &str) -> Value {
        expect("read JSON", self.get(path).await.json().await)
    }

    pub async fn metrics(&self) -> String {
        expect("read the metrics", self.get("/metrics").await.text().await)
    }

    /// Whoever has this token.
    pub fn caller(&self, token: &str) -> Caller {
        Caller::new(self.contract, &self.http, &self.url, token)
    }

    /// Whoever may change stock.
    pub fn keeper(&self, sub: &str) -> Caller {
        self.caller(&token(sub, Some(INVENTORY_WRITE_SCOPE)))
    }

    pub fn user(&self, sub: &str) -> Caller {
        self.caller(&token(sub, None))
    }

    pub fn admin(&self) -> Caller {
        self.caller(&token("operator", Some(ADMIN_SCOPE)))
    }

    /// Status and body of `/readyz`.
    pub async fn readiness(&self) -> (u16, Value) {
        let answer = self.get("/readyz").await;
        (answer.status().as_u16(), expect("read JSON", answer.json().await))
    }

    /// Waits until `/readyz` tells this of the broker.
    pub async fn until_broker_is(&self, word: &str) {
        let what = format!("the service calls the broker {word}");
        wait_until(&what, async || self.readiness().await.1["broker"] == word).await;
    }

    /// Waits until the service says that the consumer is not its own; returns what it says.
    pub async fn until_not_owned(&self) -> String {
        let is_told = async || self.readiness().await.1["consumer"] == "not owned";
        wait_until("the service is not the consumer's owner", is_told).await;
        let (status, body) = self.readiness().await;
        let (ready, broker) = (&body["status"], &body["broker"]);
        assert_eq!((status, ready, broker), (503, &"not ready".into(), &"connected".into()));
        let metrics = self.metrics().await;
        assert!(metrics.contains("consumer_owned 0"), "{metrics}");
        body["detail"].as_str().unwrap_or_else(|| panic!("no detail in {body}")).to_owned()
    }

    /// Drains and waits for the end, which must be a clean one.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        expect("drain the service", expect("wait for the service", (&mut self.task).await));
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why a service does not start.
pub async fn refusal<F: Future<Output = Result<()>>>(
    run: impl FnOnce(TcpListener, CancellationToken) -> F,
) -> String {
    let ended = timeout(Duration::from_secs(10), run(listener().await, CancellationToken::new())).await;
    match expect("see the service end, which started", ended) {
        Ok(()) => panic!("the service ended as if nothing were wrong"),
        Err(error) => format!("{error:#}"),
    }
}

async fn listener() -> TcpListener {
    expect("listen", TcpListener::bind("127.0.0.1:0").await)
}
