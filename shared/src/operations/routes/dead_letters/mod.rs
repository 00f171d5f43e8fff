//! The admin routes of the dead letters. Each needs a token with the scope `admin`.

pub mod redrive;
mod view;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use self::view::View;
use crate::delivery::dead_letter::redrive::{DeadLetters, RedriveError};
use crate::delivery::dead_letter::store;
use crate::delivery::dead_letter::store::DeadLetter;
use crate::http::auth::Admin;
use crate::http::database::{not_written, read};
use crate::http::paging::{Limit, limit_default, page, rows_to_read};
use crate::http::problem::Problem;
use crate::http::uri::{Name, Query};
use crate::number::integer_field;
use crate::operations::jobs::Jobs;

/// Where the routes begin.
pub const PATH: &str = "/admin/dead-letters";

/// Which dead letters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeadLettersQuery {
    /// Only those with a higher id.
    #[serde(default, deserialize_with = "integer_field")]
    after: i64,
    /// How many at most.
    #[serde(default = "limit_default")]
    #[param(inline)]
    limit: Limit,
}

/// Those with an id above `after`, and one more than `limit` if there are more.
async fn oldest(letters: &DeadLetters, after: i64, limit: Limit) -> Result<Vec<DeadLetter>, Problem> {
    let database = letters.database();
    read(database, store::oldest_after(database.reader(), after, rows_to_read(limit))).await
}

/// Dead letters, the oldest first
#[utoipa::path(get, path = PATH, tag = "admin", security(("token" = ["admin"])), params(DeadLettersQuery), responses(
    (status = 200, description = "Up to `limit`; `Link` leads to the next ones.", body = [View]),
))]
pub async fn list(
    _: Admin,
    State(letters): State<DeadLetters>,
    Query(query): Query<DeadLettersQuery>,
) -> Result<Response, Problem> {
    let found = oldest(&letters, query.after, query.limit).await?.into_iter().map(View::from).collect();
    let limit = query.limit.get();
    Ok(page(found, query.limit, |last: &View| Some(format!("{PATH}?after={}&limit={limit}", last.id))))
}

/// One dead letter with its headers
#[utoipa::path(get, path = format!("{PATH}/{{id}}"), tag = "admin", security(("token" = ["admin"])), params(("id" = i64, Path)), responses(
    (status = 200, description = "The dead letter.", body = View),
))]
pub async fn show(
    _: Admin,
    State(letters): State<DeadLetters>,
    Name(id): Name<i64>,
) -> Result<Response, Problem> {
    let letter = read(letters.database(), store::find(letters.database().reader(), id))
        .await?
        .ok_or(Problem::NotFound)?;
    Ok(Json(View::from(letter)).into_response())
}

/// Delete one for good
#[utoipa::path(delete, path = format!("{PATH}/{{id}}"), tag = "admin", security(("token" = ["admin"])), params(("id" = i64, Path)), responses(
    (status = 204, description = "It is gone."),
))]
pub async fn discard(
    admin: Admin,
    State(jobs): State<Jobs>,
    State(letters): State<DeadLetters>,
    Name(id): Name<i64>,
) -> Result<StatusCode, Problem> {
    let discarded = jobs.run(letters.discard(id, admin.id)).await.map_err(problem)?;
    discarded.map(|_| StatusCode::NO_CONTENT).ok_or(Problem::NotFound)
}

/// The problem to answer with when there is no result.
fn problem(error: RedriveError) -> Problem {
    match error {
        RedriveError::NotOwned => Problem::Unavailable(
            "the consumer belongs to another database, as /readyz says; nothing was changed",
        ),
        RedriveError::NotWritten(error) => not_written(&error),
    }
}
