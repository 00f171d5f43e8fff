//! What operators ask of a service: is it alive, is it ready, what does it count.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::broker::{Broker, BrokerState};
use crate::delivery::dead_letter::store;
use crate::delivery::outbox;
use crate::operations::families::{self, Family};
use crate::operations::gauge::Gauge;
use crate::operations::telemetry;
use crate::storage::Database;

/// The body of `/livez`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Liveness {
    /// Always `alive`.
    status: &'static str,
}

/// The body of `/readyz`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// `ready`, `not ready` or `draining`.
    status: &'static str,
    /// `writable` or `not writable`.
    database: &'static str,
    /// `connected` or `unreachable`.
    broker: &'static str,
    /// `not owned` when the consumer belongs to another database.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    consumer: Option<&'static str>,
    /// Why it is not ready, where that needs words, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    detail: Option<String>,
}

/// What `/livez`, `/readyz` and `/metrics` look at.
pub struct Probes {
    pub service: &'static str,
    /// The service's own.
    pub families: &'static [Family],
    pub gauges: Vec<Gauge>,
    pub database: Database,
    pub broker: Broker,
    /// Cancelled while the process drains.
    pub shutdown: CancellationToken,
}

/// The gauges that every service has.
pub fn gauges() -> [Gauge; 2] {
    [
        Gauge::new("outbox", metrics::gauge!("outbox_rows"), |reader| Box::pin(outbox::count(reader))),
        Gauge::new("dead letters", metrics::gauge!("dead_letters"), |reader| Box::pin(store::count(reader))),
    ]
}

/// The process answers
#[utoipa::path(get, path = "/livez", tag = "probes", responses((status = 200, description = "It is alive.", body = Liveness)))]
pub async fn livez() -> Json<Liveness> {
    Json(Liveness { status: "alive" })
}

/// The process answers, under another name
#[utoipa::path(get, path = "/healthz", tag = "probes", responses((status = 200, description = "It is alive.", body = Liveness)))]
pub async fn healthz() -> Json<Liveness> {
    livez().await
}

/// Whether the service can do its work
///
/// 503 only while the database is not writable, the process drains, or the consumer belongs to another database. A broker that is away
/// is told in the body.
#[utoipa::path(get, path = "/readyz", tag = "probes", responses(
    (status = 200, description = "It is ready.", body = Readiness),
    (status = 503, description = "It is not ready.", body = Readiness),
))]
pub async fn readyz(State(probes): State<Arc<Probes>>) -> Response {
    // A broker that is away must not take a service out of a load balancer that can still accept orders.
    let (draining, failure) = (probes.shutdown.is_cancelled(), probes.database.failure());
    let writable = failure.is_none();
    let broker = probes.broker.state().borrow().clone();
    let foreign = matches!(broker, BrokerState::Foreign(_));
    let ready = writable && !draining && !foreign;
    let body = Readiness {
        status: match (draining, ready) {
            (true, _) => "draining",
            (false, true) => "ready",
            (false, false) => "not ready",
        },
        database: if writable { "writable" } else { "not writable" },
        broker: if broker == BrokerState::Unreachable { "unreachable" } else { "connected" },
        consumer: foreign.then_some("not owned"),
        detail: match (failure, broker) {
            (Some(failure), _) => Some(failure.why().to_owned()),
            (None, BrokerState::Foreign(why)) => Some(why),
            _ => None,
        },
    };
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(body)).into_response()
}

/// Counters and gauges for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "probes", responses(
    (status = 200, description = "The text format 0.0.4.", body = String, content_type = "text/plain"),
))]
pub async fn metrics(State(probes): State<Arc<Probes>>) -> Response {
    families::describe(probes.service, probes.families);
    metrics::gauge!("build_info", "service" => probes.service, "version" => env!("CARGO_PKG_VERSION"))
        .set(1.0);
    let broker = probes.broker.state().borrow().clone();
    let owned = !matches!(broker, BrokerState::Foreign(_));
    metrics::gauge!("broker_connected").set(u8::from(broker != BrokerState::Unreachable));
    metrics::gauge!("consumer_owned").set(u8::from(owned));
    metrics::gauge!("database_writable").set(u8::from(probes.database.is_writable()));
    for gauge in &probes.gauges {
        gauge.read(&probes.database).await;
    }
    let form = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (form, telemetry::metrics().render()).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use axum::routing::get;
    use clap::Parser;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::broker::ownership::Ownership;
    use crate::settings::NatsSettings;

    #[derive(Parser)]
    struct Settings {
        #[command(flatten)]
        nats: NatsSettings,
    }

    async fn readyz(probes: &Arc<Probes>) -> (StatusCode, String) {
        let request = Request::get("/readyz").body(Body::empty()).unwrap();
        let routes = axum::Router::new().route("/readyz", get(super::readyz)).with_state(probes.clone());
        let answer = routes.oneshot(request).await.unwrap();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_service_is_not_ready_only_while_its_database_is_not_writable_or_it_drains() {
        let folder = tempfile::tempdir().unwrap();
        let none = sqlx::migrate::Migrator::with_migrations(Vec::new());
        let database = Database::open(&folder.path().join("test.db"), &none).await.unwrap();
        // Nothing listens on port 1: the broker is away all the time.
        let settings = Settings::parse_from(["test", "--nats-url", "nats://127.0.0.1:1"]);
        let ownership = Ownership::establish(database.clone(), "test", "test").await.unwrap();
        let broker = Broker::connect(&settings.nats, ownership).await.unwrap();
        let (gauges, shutdown) = (Vec::new(), CancellationToken::new());
        let probes = Probes { service: "test", families: &[], gauges, database, broker, shutdown };
        let probes = Arc::new(probes);
        let ready = r#"{"status":"ready","database":"writable","broker":"unreachable"}"#;
        assert_eq!(readyz(&probes).await, (StatusCode::OK, ready.to_owned()));

        probes.database.note_failure(&sqlx::Error::WorkerCrashed);
        let (status, body) = readyz(&probes).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body.contains(r#""database":"not writable""#), "{body}");
        probes.database.probe().await.unwrap();
        assert_eq!(readyz(&probes).await.0, StatusCode::OK, "a write that succeeds makes it ready again");

        probes.shutdown.cancel();
        let (status, body) = readyz(&probes).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body.contains(r#""status":"draining""#), "{body}");
    }
}
