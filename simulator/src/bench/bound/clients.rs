//! Clients that place orders at the half that orders, over HTTP: each its next one when the last one is answered.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use processes::token;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::http::HttpClient;

const BODY: &str = r#"{"productId":"1","quantity":2}"#;

/// Places orders for so long; returns when the last one is answered.
pub(super) async fn place(port: u16, connections: u32, duration: Duration) -> Result<()> {
    let authorization = format!("Bearer {}", token::sign(&token::secret(), "load-1")?);
    let (url, until) = (format!("http://127.0.0.1:{port}"), Instant::now() + duration);
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        let mut client = HttpClient::connect(&url).await?;
        let authorization = authorization.clone();
        clients.spawn(async move {
            while Instant::now() < until {
                let key = Uuid::now_v7().to_string();
                let answer = client
                    .post("/orders", &authorization, &key, Bytes::from_static(BODY.as_bytes()), false)
                    .await?;
                ensure!(answer.status == 201, "the bound answered {}", answer.status);
            }
            anyhow::Ok(())
        });
    }
    while let Some(client) = clients.join_next().await {
        client.context("a client's task failed")??;
    }
    Ok(())
}
