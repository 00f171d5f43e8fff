//! `POST /admin/adopt`: the running service takes over the consumer.

use anyhow::Result;
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    broker::adoption::{self, Adoption, Healing},
    http::{auth::Admin, problem::Problem},
    operations::probes::Operations,
};

/// Where the route is.
pub const PATH: &str = "/admin/adopt";

/// The body of an adoption.
#[derive(Debug, Serialize, ToSchema)]
pub struct Adopted {
    /// `adopted` or `unnecessary`.
    result: &'static str,
    /// What was done.
    detail: String,
}

impl Operations {
    /// `POST /admin/adopt`: takes over the consumer, and tells what was done.
    pub async fn adopt(&self, admin: Admin, healing: Healing) -> Result<Response, Problem> {
        let broker = self.broker.clone();
        tracing::info!(admin = admin.id, "the consumer is to be adopted");
        // A task of its own: a caller who goes away must not leave a commit half-way.
        let adopting = tokio::spawn(async move { adoption::adopt(&broker, healing).await });
        match adopting.await.map_err(anyhow::Error::from).flatten() {
            Ok(adoption) => {
                let name = self.broker.ownership().consumer;
                let result = if adoption == Adoption::Unnecessary { "unnecessary" } else { "adopted" };
                let detail = adoption::describe(name, &adoption, healing);
                Ok(Json(Adopted { result, detail }).into_response())
            }
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "consumer not adopted");
                Err(Problem::Unavailable(
                    "the consumer was not adopted, the log says why; it can be tried again",
                ))
            }
        }
    }
}
