//! What operators ask of a service: is it alive, is it ready, what does it count.

use std::sync::Arc;

use axum::{
    Json,
    extract::{FromRef, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    broker::{Broker, BrokerState},
    delivery::{dead_letter::store, outbox},
    http::answer::text,
    operations::{
        families::{self, Family},
        row_count::RowCount,
        telemetry,
    },
    storage::Database,
};

/// The body of `/livez`.
#[derive(Debug, Serialize, ToSchema)]
struct Liveness {
    /// Always `alive`.
    status: &'static str,
}

/// The body of `/readyz`.
#[derive(Debug, Serialize, ToSchema)]
struct Readiness {
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

/// What the probes look at.
pub struct Operations {
    /// The service's database.
    pub database: Database,
    /// The service's broker.
    pub broker: Broker,
    /// Cancelled while the process drains.
    pub shutdown: CancellationToken,
    outbox_rows: RowCount,
    dead_letters: RowCount,
}

impl Operations {
    /// Of a service that drains once `shutdown` is cancelled.
    pub fn new(database: Database, broker: Broker, shutdown: CancellationToken) -> Self {
        let (outbox_rows, dead_letters) = <(RowCount, RowCount)>::default();
        Self { database, broker, shutdown, outbox_rows, dead_letters }
    }

    /// `/readyz`: 503 only while the database is not writable, the process drains, or the consumer is another database's.
    ///
    /// A broker that is away must not take a service out of a load balancer that can still accept orders; its
    /// state, found by a round trip at most a second or two ago, is in the body.
    fn readiness(&self) -> Response {
        let (draining, failure) = (self.shutdown.is_cancelled(), self.database.failure());
        let writable = failure.is_none();
        let broker = self.broker.state().borrow().clone();
        let foreign = matches!(broker, BrokerState::Foreign(_));
        let ready = writable && !draining && !foreign;
        let body = Readiness {
            status: if draining {
                "draining"
            } else if ready {
                "ready"
            } else {
                "not ready"
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

    /// `/metrics`: counters as they stand, and the gauges of the delivery tables read now. `own` are the service's families
    /// besides those that every service has.
    pub async fn metrics(&self, service: &'static str, version: &'static str, own: &[Family]) -> Response {
        families::describe(service, own);
        metrics::gauge!("build_info", "service" => service, "version" => version).set(1.0);
        let broker = self.broker.state().borrow().clone();
        let (reachable, foreign) =
            (broker != BrokerState::Unreachable, matches!(broker, BrokerState::Foreign(_)));
        metrics::gauge!("broker_connected").set(f64::from(u8::from(reachable)));
        metrics::gauge!("consumer_owned").set(f64::from(u8::from(!foreign)));
        metrics::gauge!("database_writable").set(f64::from(u8::from(self.database.is_writable())));
        match self.outbox_rows.rows(outbox::count(self.database.reader())).await {
            Ok(rows) => metrics::gauge!("outbox_rows").set(rows as f64),
            Err(error) => {
                self.database.note_failure(&error);
                tracing::warn!(%error, "outbox not counted");
            }
        }
        match self.dead_letters.rows(store::count(self.database.reader())).await {
            Ok(rows) => metrics::gauge!("dead_letters").set(rows as f64),
            Err(error) => {
                self.database.note_failure(&error);
                tracing::warn!(%error, "dead letters not counted");
            }
        }
        text(telemetry::metrics().render())
    }
}

/// The routes of the probes: `/livez` and `/healthz` (the process answers), `/readyz`.
pub fn probes<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Arc<Operations>: FromRef<S>,
{
    OpenApiRouter::new().routes(routes!(livez)).routes(routes!(healthz)).routes(routes!(readyz))
}

/// The process answers
#[utoipa::path(get, path = "/livez", tag = "probes", responses((status = 200, description = "It is alive.", body = Liveness)))]
async fn livez() -> Json<Liveness> {
    Json(Liveness { status: "alive" })
}

/// The process answers, under another name
#[utoipa::path(get, path = "/healthz", tag = "probes", responses((status = 200, description = "It is alive.", body = Liveness)))]
async fn healthz() -> Json<Liveness> {
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
async fn readyz(State(operations): State<Arc<Operations>>) -> Response {
    operations.readiness()
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use clap::Parser;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::{broker::ownership::Ownership, settings::NatsSettings};

    #[derive(Parser)]
    struct Settings {
        #[command(flatten)]
        nats: NatsSettings,
    }

    async fn readyz(operations: &Arc<Operations>) -> (StatusCode, String) {
        let request = Request::get("/readyz").body(Body::empty()).unwrap();
        let routes = axum::Router::from(probes::<Arc<Operations>>()).with_state(operations.clone());
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
        let operations = Arc::new(Operations::new(database, broker, CancellationToken::new()));
        let ready = r#"{"status":"ready","database":"writable","broker":"unreachable"}"#;
        assert_eq!(readyz(&operations).await, (StatusCode::OK, ready.to_owned()));

        operations.database.note_failure(&sqlx::Error::WorkerCrashed);
        let (status, body) = readyz(&operations).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body.contains(r#""database":"not writable""#), "{body}");
        operations.database.probe().await.unwrap();
        assert_eq!(readyz(&operations).await.0, StatusCode::OK, "a write that succeeds makes it ready again");

        operations.shutdown.cancel();
        let (status, body) = readyz(&operations).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body.contains(r#""status":"draining""#), "{body}");
    }
}
