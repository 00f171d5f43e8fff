//! Whoever changes stock over HTTP, as a client speaks it.

use reqwest::{Client, Method, RequestBuilder, Response, header::HeaderMap};
use serde_json::{Value, json};
use shared::http::auth::{INVENTORY_WRITE_SCOPE, Tokens};

use crate::fixture::{CONTRACT, Home, Inventory};

/// A token of `sub` with these scopes.
pub fn token(home: &Home, sub: &str, scope: Option<&str>) -> String {
    Tokens::new(&home.settings(&[]).jwt).unwrap().sign(sub, scope, Some(600)).unwrap()
}

/// A client whose token has the scope `inventory:write`.
#[derive(Clone)]
pub struct Keeper {
    http: Client,
    url: String,
    token: String,
}

/// An answer with its body.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Keeper {
    pub fn new(home: &Home, inventory: &Inventory, sub: &str) -> Self {
        Self::at(home, &inventory.at(""), sub)
    }

    /// Of a service at this URL.
    pub fn at(home: &Home, url: &str, sub: &str) -> Self {
        let token = token(home, sub, Some(INVENTORY_WRITE_SCOPE));
        Self { http: Client::new(), url: url.to_owned(), token }
    }

    /// A request with the token, to be completed.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token)
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path)).await
    }

    pub async fn put(&self, product: &str, stock: i64, reason: &str) -> Answer {
        let body = json!({"stock": stock, "reason": reason});
        Answer::of(self.request(Method::PUT, &format!("/inventory/{product}")).json(&body)).await
    }

    pub async fn restock(&self, product: &str, quantity: i64) -> Answer {
        Answer::of(self.restock_request(product, quantity)).await
    }

    pub async fn restock_with(&self, key: &str, product: &str, quantity: i64) -> Answer {
        Answer::of(self.restock_request(product, quantity).header("Idempotency-Key", key)).await
    }

    fn restock_request(&self, product: &str, quantity: i64) -> RequestBuilder {
        let path = format!("/inventory/{product}/restock");
        self.request(Method::POST, &path).json(&json!({"quantity": quantity}))
    }

    pub async fn put_with(&self, key: &str, product: &str, stock: i64, reason: &str) -> Answer {
        let body = json!({"stock": stock, "reason": reason});
        let request = self.request(Method::PUT, &format!("/inventory/{product}")).json(&body);
        Answer::of(request.header("Idempotency-Key", key)).await
    }
}

impl Answer {
    pub async fn of(request: RequestBuilder) -> Self {
        Self::read(CONTRACT.send(request).await).await
    }

    async fn read(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default();
        Self { status, headers, body }
    }

    /// A header's value, empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that this is a problem with this status, and returns its detail.
    pub fn problem(&self, status: u16) -> &str {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        self.body["detail"].as_str().unwrap()
    }
}
