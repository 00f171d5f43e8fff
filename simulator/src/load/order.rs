//! An order as its owner sees it.

use std::time::Duration;

use anyhow::Result;
use processes::poll;
use serde::Deserialize;
use shared::contract::status::Status;

use super::target::User;
use crate::http::{Answer, HttpClient};

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    pub id: String,
    pub product_id: String,
    pub quantity: i64,
    pub status: Status,
}

impl Order {
    /// The order in an answer; `None` when it shows none.
    pub fn of(answer: &Answer) -> Option<Self> {
        serde_json::from_slice(&answer.body).ok()
    }

    pub async fn get(client: &mut HttpClient, user: &User, id: &str) -> Result<Option<Self>> {
        let answer = client.get(&format!("/orders/{id}"), Some(&user.authorization)).await?;
        Ok(Self::of(&answer))
    }

    /// Asks until the order is settled; `None` when it was not `within` this time.
    pub async fn settled(
        client: &mut HttpClient,
        user: &User,
        id: &str,
        within: Duration,
    ) -> Result<Option<Self>> {
        let settled = poll(within, Duration::from_millis(1), async || {
            let order = Self::get(client, user, id).await.transpose()?;
            order.map(|order| (order.status != Status::Created).then_some(order)).transpose()
        });
        settled.await.transpose()
    }
}
