//! The HTTP server: bounded connections and headers, and a drain.
//!
//! `axum::serve` has no header timeout, so connections are served through hyper directly.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::stream::{ClientStream, Unread};

/// A connection that does not deliver a whole request head within this time is closed, idle ones too.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// More headers than this are answered with 431.
const HEADERS_MAX: usize = 64;
/// Connections served at once; further ones wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 16_384;
/// File descriptors for the database, the broker and the log.
const DESCRIPTORS_KEPT: u64 = 128;
/// The longest request head, and what one connection may have in memory; a longer one is answered with 431.
const HEAD_MAX_BYTES: usize = 32 * 1024;
/// The pause after a failed accept, for example when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `app` until `shutdown`, then finishes the requests in hand and returns.
pub async fn serve(listener: TcpListener, app: Router, shutdown: CancellationToken) {
    let (graceful, mut connections) = (GracefulShutdown::new(), JoinSet::new());
    let room = Arc::new(Semaphore::new(connections_max()));
    let next = async || (room.clone().acquire_owned().await, listener.accept().await);
    loop {
        let (permit, accepted) = tokio::select! {
            next = next() => next,
            Some(ended) = connections.join_next() => {
                note(ended);
                continue;
            }
            () = shutdown.cancelled() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let connection = graceful.watch(connection(stream, app.clone(), shutdown.clone()));
        connections.spawn(async move {
            // A client that goes away in the middle of a request is no fault of ours.
            let _ = connection.await;
            drop(permit);
        });
    }
    drop(listener);
    graceful.shutdown().await;
    while let Some(ended) = connections.join_next().await {
        note(ended);
    }
}

/// A panic outside of every route costs one client its connection, and no more: clients could bring it about.
fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        metrics::counter!("http_panics_total").increment(1);
        tracing::error!(%error, "a connection was closed without an answer");
    }
}

/// As many connections as there are file descriptors for, so that idle ones never take those of the database.
/// The soft limit, often 1024, is raised to the hard one.
pub fn connections_max() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let free = descriptors.saturating_sub(DESCRIPTORS_KEPT).max(1);
    CONNECTIONS_MAX.min(usize::try_from(free).unwrap_or(CONNECTIONS_MAX))
}

fn connection(
    stream: TcpStream,
    app: Router,
    shutdown: CancellationToken,
) -> http1::Connection<
    TokioIo<ClientStream>,
    impl Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send>,
> {
    let _ = stream.set_nodelay(true);
    let unread = Unread::default();
    let stream = ClientStream::new(stream, unread.clone(), shutdown);
    let service = service_fn(move |request: Request<Incoming>| {
        let (head, body) = request.into_parts();
        let (body, ended) = unread.until_the_end_of(body);
        let answering = app.clone().oneshot(Request::from_parts(head, Body::new(body)));
        async move {
            let mut response = answering.await?;
            // What is left of the body stands before the next request, which may never be read.
            if !ended.load(Relaxed) {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_MAX_BYTES)
        .serve_connection(TokioIo::new(stream), service)
}

#[cfg(test)]
mod tests {
    use axum::routing::get;

    use super::*;
    use crate::operations::telemetry;

    fn panics() -> u64 {
        let metrics = telemetry::metrics().render();
        let count = metrics.lines().find_map(|line| line.strip_prefix("http_panics_total "));
        count.map_or(0, |count| count.parse().unwrap())
    }

    #[tokio::test]
    async fn a_panic_outside_of_every_route_is_counted_and_costs_only_its_own_connection() {
        let (before, shutdown) = (panics(), CancellationToken::new());
        let app = Router::new().route("/panic", get(async || panic!("as it must") as &str));
        let app = app.route("/", get(async || "served"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(serve(listener, app, shutdown.clone()));
        assert!(reqwest::get(format!("{url}/panic")).await.is_err());
        assert_eq!(reqwest::get(&url).await.unwrap().text().await.unwrap(), "served");
        shutdown.cancel();
        serving.await.unwrap();
        assert!(panics() > before);
    }
}
