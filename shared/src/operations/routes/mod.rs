//! The table of all routes: those of the service itself are handed in, those of every service stand here. The
//! probes and metrics among them are in [`probes`]. It knows no order and no stock.

pub mod adopt;
pub mod dead_letters;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::broker::Broker;
use crate::broker::adoption::Healing;
use crate::delivery::dead_letter::redrive::DeadLetters;
use crate::http::answer::with_defaults;
use crate::http::auth::Tokens;
use crate::http::openapi;
use crate::operations::jobs::Jobs;
use crate::operations::probes::{self, Probes};

/// What the routes of every service work with.
#[derive(Clone, FromRef)]
pub struct OperatorState {
    pub tokens: Tokens,
    pub broker: Broker,
    pub healing: Healing,
    pub probes: Arc<Probes>,
    pub dead_letters: DeadLetters,
    pub jobs: Jobs,
}

/// The routes that every service has.
fn of_every_service() -> OpenApiRouter<OperatorState> {
    OpenApiRouter::new()
        .routes(routes!(probes::livez))
        .routes(routes!(probes::healthz))
        .routes(routes!(probes::readyz))
        .routes(routes!(probes::metrics))
        .routes(routes!(adopt::adopt))
        .routes(routes!(dead_letters::list))
        .routes(routes!(dead_letters::redrive::redrive_all))
        .routes(routes!(dead_letters::show, dead_letters::discard))
        .routes(routes!(dead_letters::redrive::redrive_one))
}

/// All routes of the service whose `own` these are, with the document that describes them.
pub fn all(own: OpenApiRouter, state: OperatorState) -> Router {
    with_defaults(openapi::with_document(own.merge(of_every_service().with_state(state))))
}

/// The document alone.
pub fn document<S: Clone + Send + Sync + 'static>(own: OpenApiRouter<S>) -> Value {
    let mut document = own.into_openapi();
    document.merge(of_every_service().into_openapi());
    openapi::complete(&document)
}
