//! `POST /admin/adopt`: the running service takes over the consumer.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::broker::adoption::{Adoption, Healing};
use crate::broker::{Broker, adoption};
use crate::http::auth::Admin;
use crate::http::problem::Problem;
use crate::operations::jobs::Jobs;
use crate::storage::WriteError;

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

/// Take over the consumer that belongs to another database
///
/// For a service that is not ready for that reason. The other database must be stopped for good.
#[utoipa::path(post, path = PATH, tag = "admin", security(("token" = ["admin"])), responses(
    (status = 200, description = "What was done.", body = Adopted),
))]
pub async fn adopt(
    admin: Admin,
    State(broker): State<Broker>,
    State(healing): State<Healing>,
    State(jobs): State<Jobs>,
) -> Result<Json<Adopted>, Problem> {
    tracing::info!(admin = admin.id, "the consumer is to be adopted");
    let adopting = {
        let broker = broker.clone();
        async move {
            let adopted = adoption::adopt(&broker, healing).await;
            adopted.inspect_err(|error| tracing::error!(%error, "consumer not adopted"))
        }
    };
    let adoption = jobs.run(adopting).await.map_err(|error| match error {
        WriteError::Unknown(_) => Problem::OutcomeUnknown,
        _ => Problem::Unavailable(
            "the consumer was not adopted, the log says why; this database is unchanged, and it can be tried \
             again",
        ),
    })?;
    let name = broker.ownership.consumer;
    let result = if adoption == Adoption::Unnecessary { "unnecessary" } else { "adopted" };
    Ok(Json(Adopted { result, detail: adoption::describe(name, &adoption, healing) }))
}
