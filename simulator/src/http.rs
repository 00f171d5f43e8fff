//! One HTTP/1.1 connection, kept open: light enough that the load shows the services and not this client.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::LINK;
use hyper::{HeaderMap, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long one request may take before its outcome counts as unknown, unless somebody says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// `GET path` on a connection of its own.
pub async fn get(url: &str, path: &str) -> Result<Answer> {
    HttpClient::connect(url).await?.get(path, None).await
}

pub struct HttpClient {
    host: String,
    sender: SendRequest<Full<Bytes>>,
    pub patience: Duration,
}

pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
    /// Of a page of a list: the path of the next one.
    pub next: Option<String>,
}

impl HttpClient {
    /// Connects to a service such as `http://127.0.0.1:3000`.
    pub async fn connect(url: &str) -> Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("{url} is not a URL"))?;
        ensure!(uri.scheme_str() == Some("http"), "{url} does not begin with http://");
        ensure!(
            matches!(uri.path(), "" | "/") && uri.query().is_none(),
            "{url} has a path, and a service has none"
        );
        let name = uri.host().context("the URL has no host")?;
        let stream = TcpStream::connect((name, uri.port_u16().unwrap_or(80)));
        let stream = stream.await.with_context(|| format!("cannot connect to {url}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Its error is also the error of the request under way, which reports it.
        tokio::spawn(connection);
        let host = uri.authority().context("the URL has no host")?.to_string();
        Ok(Self { host, sender, patience: PATIENCE })
    }

    /// `GET path`, with a token where one is given.
    pub async fn get(&mut self, path: &str, authorization: Option<&str>) -> Result<Answer> {
        let mut request = Request::get(path).header("host", &self.host);
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        self.send(request.body(Full::default())?).await
    }

    /// `POST path` with a JSON body; `key` is the `Idempotency-Key`, so that it may be repeated.
    /// `waits` is for `Prefer: wait`, as long as the service may.
    pub async fn post(
        &mut self,
        path: &str,
        authorization: &str,
        key: &str,
        json: Bytes,
        waits: bool,
    ) -> Result<Answer> {
        let mut request = Request::post(path)
            .header("host", &self.host)
            .header("authorization", authorization)
            .header("idempotency-key", key)
            .header("content-type", "application/json");
        if waits {
            request = request.header("prefer", "wait=20");
        }
        self.send(request.body(Full::new(json))?).await
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer> {
        let exchange = async {
            self.sender.ready().await?;
            let response = self.sender.send_request(request).await?;
            let (status, next) = (response.status(), next(response.headers()));
            let body = response.into_body().collect().await?.to_bytes();
            Ok(Answer { status, body, next })
        };
        timeout(self.patience, exchange).await.context("no answer in time")?
    }
}

/// The target of `Link: <…>; rel="next"` (RFC 8288).
fn next(headers: &HeaderMap) -> Option<String> {
    let link = headers.get(LINK)?.to_str().ok()?.strip_prefix('<')?;
    Some(link.strip_suffix(r#">; rel="next""#)?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_url_with_a_path_is_refused_since_it_would_be_left_out() {
        for url in ["http://127.0.0.1:1/orders", "http://127.0.0.1:1?page=2"] {
            let error = HttpClient::connect(url).await.err().unwrap().to_string();
            assert!(error.contains("has a path"), "{error}");
        }
    }
}
