//! HTTP as a client speaks it.

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use crate::contract::Contract;
use crate::{expect, wait_until};

/// The secret of every service that a test starts.
pub const SECRET: &str = "a-secret-for-tests-of-more-than-32-bytes";

/// A token of `sub` with these scopes.
pub fn token(sub: &str, scope: Option<&str>) -> String {
    expect("sign a token", processes::token::sign_with_scope(SECRET, sub, scope))
}

/// A client with one token.
#[derive(Clone)]
pub struct Caller {
    http: Client,
    url: String,
    token: String,
    contract: &'static Contract,
}

/// An answer with its body.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Caller {
    pub fn new(contract: &'static Contract, http: &Client, url: &str, token: &str) -> Self {
        Self { http: http.clone(), url: url.to_owned(), token: token.to_owned(), contract }
    }

    /// A request with the token, to be completed.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token)
    }

    /// What the pages hold from this one on.
    pub async fn pages(&self, path: &str) -> Vec<Value> {
        let (mut found, mut next) = (Vec::new(), Some(path.to_owned()));
        while let Some(path) = next {
            let answer = self.get(&path).await;
            found.extend(answer.list().iter().cloned());
            next = answer.next_page();
        }
        found
    }

    pub async fn send(&self, request: RequestBuilder) -> Answer {
        Answer::of(self.contract, request).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// A POST of an order, to be completed and sent.
    pub fn order_request(&self, product: &str, quantity: i64) -> RequestBuilder {
        self.request(Method::POST, "/orders").json(&json!({"productId": product, "quantity": quantity}))
    }

    /// POST /orders with a body as it stands.
    pub async fn post_text(&self, body: &str) -> Answer {
        let request = self.request(Method::POST, "/orders").header("Content-Type", "application/json");
        self.send(request.body(body.to_owned())).await
    }

    pub async fn post(&self, product: &str, quantity: i64) -> Answer {
        self.send(self.order_request(product, quantity)).await
    }

    pub async fn post_with_key(&self, key: &str, product: &str, quantity: i64) -> Answer {
        self.send(self.order_request(product, quantity).header("Idempotency-Key", key)).await
    }

    /// Places an order that must be accepted; returns its id.
    pub async fn place(&self, product: &str, quantity: i64) -> String {
        let answer = self.post(product, quantity).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.id()
    }

    /// The order as its owner sees it now.
    pub async fn order(&self, id: &str) -> Value {
        let answer = self.get(&format!("/orders/{id}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    fn put_request(&self, product: &str, stock: i64, reason: &str) -> RequestBuilder {
        let body = json!({"stock": stock, "reason": reason});
        self.request(Method::PUT, &format!("/inventory/{product}")).json(&body)
    }

    /// Says what the stock of a product is.
    pub async fn put(&self, product: &str, stock: i64, reason: &str) -> Answer {
        self.send(self.put_request(product, stock, reason)).await
    }

    pub async fn put_with(&self, key: &str, product: &str, stock: i64, reason: &str) -> Answer {
        self.send(self.put_request(product, stock, reason).header("Idempotency-Key", key)).await
    }

    pub fn restock_request(&self, product: &str, quantity: i64) -> RequestBuilder {
        let path = format!("/inventory/{product}/restock");
        self.request(Method::POST, &path).json(&json!({"quantity": quantity}))
    }

    pub async fn restock(&self, product: &str, quantity: i64) -> Answer {
        self.send(self.restock_request(product, quantity)).await
    }

    pub async fn restock_with(&self, key: &str, product: &str, quantity: i64) -> Answer {
        self.send(self.restock_request(product, quantity).header("Idempotency-Key", key)).await
    }

    pub async fn until_order_is(&self, id: &str, status: &str) {
        let what = format!("the order {id} is {status}");
        wait_until(&what, async || self.order(id).await["status"] == status).await;
    }
}

impl Answer {
    /// Sends the request; fails unless the OpenAPI document has its answer.
    pub async fn of(contract: &Contract, request: RequestBuilder) -> Self {
        let response = contract.send(request).await;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = expect("read the answer", response.text().await);
        Self { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
    }

    /// The list that a page is.
    #[track_caller]
    pub fn list(&self) -> &[Value] {
        assert_eq!(self.status, 200, "{self:?}");
        self.body.as_array().unwrap_or_else(|| panic!("no list in {self:?}"))
    }

    /// The id of the order in the body.
    pub fn id(&self) -> String {
        self.body["id"].as_str().unwrap_or_else(|| panic!("no id in {self:?}")).to_owned()
    }

    /// The value of a header, empty without it.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| expect("read a header", value.to_str()))
    }

    /// The path of the next page; `None` on the last one.
    pub fn next_page(&self) -> Option<String> {
        let link = self.header("link").strip_prefix('<')?;
        Some(link.strip_suffix(">; rel=\"next\"").expect("a link to the next page").to_owned())
    }

    /// Checks that one field is refused, by its name, and returns the detail.
    #[track_caller]
    pub fn refused(&self, field: &str) -> String {
        let detail = self.problem(400);
        assert_eq!(self.body["field"], field, "{self:?}");
        assert!(detail.starts_with(field), "{self:?}");
        detail
    }

    /// Checks what OWASP's REST Security Cheat Sheet asks of every answer.
    #[track_caller]
    pub fn assert_secured(&self) {
        for (name, value) in [
            ("cache-control", "no-store"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
        ] {
            let values: Vec<_> = self.headers.get_all(name).iter().collect();
            assert_eq!(values, [value], "{name}: {self:?}");
        }
        assert!(!self.headers.contains_key("server") && !self.headers.contains_key("x-powered-by"));
    }

    /// Checks what every error answer has, and returns its detail.
    #[track_caller]
    pub fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(self.body["type"], "about:blank", "{self:?}");
        assert_eq!(self.body["status"], status, "{self:?}");
        let text = |name: &str| self.body[name].as_str().unwrap_or_else(|| panic!("no {name} in {self:?}"));
        assert!(!text("title").is_empty(), "{self:?}");
        assert_eq!(text("requestId"), self.header("x-request-id"), "{self:?}");
        text("detail").to_owned()
    }
}
