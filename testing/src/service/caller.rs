//! HTTP as a client speaks it.

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

use crate::contract::Contract;
use crate::expect;

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

    pub async fn send(&self, request: RequestBuilder) -> Answer {
        Answer::of(self.contract, request).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
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

    /// The id of the order in the body.
    pub fn id(&self) -> String {
        self.body["id"].as_str().unwrap_or_else(|| panic!("no id in {self:?}")).to_owned()
    }

    /// The value of a header, empty without it.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| expect("read a header", value.to_str()))
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
