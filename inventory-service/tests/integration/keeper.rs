//! Whoever changes stock over HTTP, as a client speaks it.

use std::ops::Deref;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::json;
use shared::http::auth::INVENTORY_WRITE_SCOPE;
use shared::settings::DEMO_SECRET;
pub use testing::service::Answer;
use testing::service::Caller;

use crate::fixture::{CONTRACT, Inventory};

/// A token of `sub` with these scopes.
pub fn token(sub: &str, scope: Option<&str>) -> String {
    processes::token::sign_with_scope(DEMO_SECRET, sub, scope).unwrap()
}

/// The answer to a request; fails unless the OpenAPI document has it.
pub async fn answer_to(request: RequestBuilder) -> Answer {
    Answer::of(&CONTRACT, request).await
}

/// A client whose token has the scope `inventory:write`.
#[derive(Clone)]
pub struct Keeper(Caller);

impl Deref for Keeper {
    type Target = Caller;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Keeper {
    pub fn new(inventory: &Inventory, sub: &str) -> Self {
        Self::at(&inventory.url, sub)
    }

    /// Of a service at this URL.
    pub fn at(url: &str, sub: &str) -> Self {
        let token = token(sub, Some(INVENTORY_WRITE_SCOPE));
        Self(Caller::new(&CONTRACT, &Client::new(), url, &token))
    }

    pub async fn put(&self, product: &str, stock: i64, reason: &str) -> Answer {
        let body = json!({"stock": stock, "reason": reason});
        self.send(self.request(Method::PUT, &format!("/inventory/{product}")).json(&body)).await
    }

    pub async fn restock(&self, product: &str, quantity: i64) -> Answer {
        self.send(self.restock_request(product, quantity)).await
    }

    pub async fn restock_with(&self, key: &str, product: &str, quantity: i64) -> Answer {
        self.send(self.restock_request(product, quantity).header("Idempotency-Key", key)).await
    }

    fn restock_request(&self, product: &str, quantity: i64) -> RequestBuilder {
        let path = format!("/inventory/{product}/restock");
        self.request(Method::POST, &path).json(&json!({"quantity": quantity}))
    }

    pub async fn put_with(&self, key: &str, product: &str, stock: i64, reason: &str) -> Answer {
        let body = json!({"stock": stock, "reason": reason});
        let request = self.request(Method::PUT, &format!("/inventory/{product}")).json(&body);
        self.send(request.header("Idempotency-Key", key)).await
    }
}
