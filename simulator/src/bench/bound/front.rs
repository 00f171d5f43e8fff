//! Bare HTTP in front of the half that orders: requests are read, and answered with the bytes of an order that is stored.

use std::convert::Infallible;
use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, LOCATION};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use shared::clock::{now_ms, rfc3339};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

/// A client that waits for its order, and is told its id once it is committed.
pub(super) type Caller = oneshot::Sender<String>;

/// Serves so many connections. Nobody calls any more when the last of them is closed.
pub(super) async fn callers(port: u16, connections: usize) -> Result<mpsc::Receiver<Caller>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    let listener = listener.with_context(|| format!("cannot listen on port {port}"))?;
    let (sender, callers) = mpsc::channel(connections.max(1));
    tokio::spawn(async move {
        for _ in 0..connections {
            let Ok((stream, _)) = listener.accept().await else { return };
            tokio::spawn(serve(stream, sender.clone()));
        }
    });
    Ok(callers)
}

async fn serve(stream: TcpStream, callers: mpsc::Sender<Caller>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| answer(request, callers.clone()));
    // A client that goes away has placed what it was told of.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    callers: mpsc::Sender<Caller>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let _ = request.into_body().collect().await;
    let (caller, committed) = oneshot::channel();
    let _ = callers.send(caller).await;
    Ok(match committed.await {
        Ok(id) => created(&id),
        Err(_) => unavailable(),
    })
}

/// An answer as long as the order service's.
fn created(id: &str) -> Response<Full<Bytes>> {
    let time = rfc3339(now_ms());
    let body = format!(
        r#"{{"id":"{id}","productId":"1","quantity":2,"status":"created","userId":"load-1","createdAt":"{time}"}}"#
    );
    let response = Response::builder()
        .status(201)
        .header(CONTENT_TYPE, "application/json")
        .header(LOCATION, format!("/orders/{id}"))
        .header("x-request-id", id)
        .header("cache-control", "no-store")
        .header("content-security-policy", "default-src 'none'; frame-ancestors 'none'")
        .header("referrer-policy", "no-referrer")
        .header("x-content-type-options", "nosniff")
        .header("x-frame-options", "DENY")
        .body(Full::from(body));
    response.unwrap_or_else(|_| unavailable())
}

fn unavailable() -> Response<Full<Bytes>> {
    let mut response = Response::default();
    *response.status_mut() = hyper::StatusCode::SERVICE_UNAVAILABLE;
    response
}
