//! What every answer has: a request id, security headers, and an error as a problem in JSON.

use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Router, middleware};
use tower_http::catch_panic::CatchPanicLayer;
use uuid::Uuid;

use super::head;
use super::problem::Problem;

/// The longest request id that is taken over from a client, in bytes.
const REQUEST_ID_MAX_BYTES: usize = 128;
const REQUEST_ID: &str = "x-request-id";

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

/// What an answer says unless its route says otherwise (OWASP REST Security Cheat Sheet, "Security Headers").
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
            // Not logged: they come in thousands, and the log may lie on the disk that is full.
            metrics::counter!("http_requests_refused_total").increment(1);
        } else if response.status().is_server_error() {
            tracing::warn!(request_id = id, %method, path, ?problem, "request failed");
        }
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
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
        .get(REQUEST_ID)
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

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

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
        assert_eq!(panicked.status(), 500);
        assert_eq!(panicked.headers()["content-type"], "application/problem+json");
        for (name, value) in SECURITY_HEADERS {
            assert_eq!(panicked.headers().get_all(&name).iter().collect::<Vec<_>>(), [value], "{name}");
        }
    }
}
