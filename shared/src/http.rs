//! The HTTP server: bounded connections and headers, a request id and security headers on every answer, problems as JSON, and a drain.
//! [`head`]: what every request must say. [`linger`]: an early answer reaches a client that is still sending.
//!
//! `axum::serve` has no header timeout, so connections are served through hyper directly.

mod head;
mod linger;

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;
use uuid::Uuid;

use self::linger::{Lingering, Unread};
use crate::{problem::Problem, sqlite::Database, write_deadline::WriteDeadline};

/// A connection that does not deliver a whole request head within this time is closed, idle ones too.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// More headers than this are answered with 431.
const HEADERS_MAX: usize = 64;
/// Connections served at once; further ones wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 16_384;
/// File descriptors for everything that is no client's connection: database, broker, log.
const DESCRIPTORS_KEPT: u64 = 128;
/// The longest request head in bytes, and what one connection may have in memory; a longer one is answered with 431.
const HEAD_MAX_BYTES: usize = 32 * 1024;
/// The pause after a failed accept, for example when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A request that writes waits this long for its commit before the answer is 504.
pub const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);
/// A read waits this long for the database before the answer is 503.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest request id that is taken over from a client, in bytes.
const REQUEST_ID_MAX_BYTES: usize = 128;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Adds what every route needs: 404 and 405 as problems, panics caught, one valid `Host`, a request id.
pub fn with_defaults(routes: Router) -> Router {
    routes
        .fallback(async || Problem::NotFound)
        .method_not_allowed_fallback(async || Problem::MethodNotAllowed)
        .layer(CatchPanicLayer::custom(|_| {
            metrics::counter!("http_panics_total").increment(1);
            Problem::Internal.into_response()
        }))
        .layer(middleware::from_fn(head::check))
        .layer(middleware::from_fn(answer))
}

/// What every answer says, unless its route says otherwise: it is for nobody else, never stored, and no web page.
///
/// Source: the OWASP REST Security Cheat Sheet, "Security Headers".
const SECURITY_HEADERS: [(HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

/// Gives the request its id, writes the body of a problem, and completes the headers.
async fn answer(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(&request);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = next.run(request).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        render(&mut response, &problem, &id);
        if let Problem::Unavailable(_) = problem {
            // Counted and not logged one by one: they come in thousands, and the log may lie on the disk that is full.
            metrics::counter!("http_requests_refused_total").increment(1);
        } else if response.status().is_server_error() {
            tracing::warn!(request_id = id, %method, path, ?problem, "request failed");
        }
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID.clone(), value);
    }
    for (name, value) in SECURITY_HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    let (status, elapsed_us) = (response.status().as_u16(), started.elapsed().as_micros() as u64);
    tracing::debug!(request_id = id, %method, path, status, elapsed_us, "request answered");
    response
}

/// The client's `x-request-id` where it is sane, otherwise a UUID v7.
fn request_id(request: &Request) -> String {
    request
        .headers()
        .get(&REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| (1..=REQUEST_ID_MAX_BYTES).contains(&id.len()))
        .filter(|id| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)))
        .map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

fn render(response: &mut Response, problem: &Problem, id: &str) {
    *response.body_mut() = Body::from(problem.body(id).to_string());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.remove(header::CONTENT_LENGTH);
}

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

/// A panic outside of every route costs one client its connection. It must not cost more: clients could bring it about.
fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        metrics::counter!("http_panics_total").increment(1);
        tracing::error!(%error, "a connection was closed without an answer");
    }
}

/// As many connections as there are file descriptors for, so that idle ones never take those of the database.
///
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
) -> hyper::server::conn::http1::Connection<
    TokioIo<WriteDeadline<Lingering>>,
    impl hyper::service::Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send>,
> {
    let _ = stream.set_nodelay(true);
    let unread = Unread::default();
    let stream = Lingering::new(stream, unread.clone(), shutdown);
    let service = service_fn(move |request: Request<Incoming>| {
        let (head, body) = request.into_parts();
        let (body, end) = unread.until_the_end_of(body);
        let answering = app.clone().oneshot(Request::from_parts(head, Body::new(body)));
        async move {
            let mut response = answering.await?;
            // What is left of the body stands before the next request, which may never be read.
            if !end.is_reached() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_MAX_BYTES)
        .serve_connection(TokioIo::new(WriteDeadline::new(stream)), service)
}

/// The rows of a query that a request waits for, or the problem to answer with. Nothing is read from a damaged file.
pub async fn read<T>(
    database: &Database,
    query: impl Future<Output = sqlx::Result<T>>,
) -> Result<T, Problem> {
    if database.is_broken() {
        return Err(Problem::Unavailable("the database is damaged or gone; the service stops"));
    }
    match tokio::time::timeout(READ_TIMEOUT, query).await {
        Ok(Ok(rows)) => Ok(rows),
        Ok(Err(error)) => {
            database.notice(&error);
            tracing::error!(%error, "read failed");
            Err(Problem::Internal)
        }
        Err(_) => Err(Problem::Unavailable("the database is busy")),
    }
}

/// 200 with a plain text body, for probes and metrics.
pub fn text(body: String) -> Response {
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4"))];
    (StatusCode::OK, headers, body).into_response()
}

#[cfg(test)]
mod tests {
    use axum::routing::get;

    use super::*;
    use crate::telemetry;

    async fn ask(path: &str) -> Response {
        let own =
            [(header::CACHE_CONTROL, "max-age=60"), (header::CONTENT_SECURITY_POLICY, "default-src 'self'")];
        let routes = Router::new()
            .route("/own", get(async move || (own, "a page")))
            .route("/panic", get(async || panic!("as it must") as &str));
        let request = Request::get(path).header(header::HOST, "x").body(Body::empty()).unwrap();
        with_defaults(routes).oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn a_route_may_say_otherwise_and_a_panic_is_answered_like_any_other_problem() {
        let own = ask("/own").await;
        assert_eq!(own.headers()["cache-control"], "max-age=60");
        assert_eq!(own.headers()["content-security-policy"], "default-src 'self'");
        assert_eq!(own.headers()["x-content-type-options"], "nosniff");
        let panicked = ask("/panic").await;
        assert_eq!(panicked.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(panicked.headers()["content-type"], "application/problem+json");
        for (name, value) in SECURITY_HEADERS {
            assert_eq!(panicked.headers().get_all(&name).iter().collect::<Vec<_>>(), [value], "{name}");
        }
    }

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
