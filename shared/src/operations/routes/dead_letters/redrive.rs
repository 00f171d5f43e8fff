//! Redrives of one dead letter or of many, each a job of its own.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{PATH, oldest, problem};
use crate::delivery::dead_letter::redrive::{DeadLetters, Mode, Redriven};
use crate::http::auth::Admin;
use crate::http::paging::{Limit, limit_default};
use crate::http::problem::Problem;
use crate::http::uri::{Name, Query};
use crate::number::integer_field;
use crate::operations::jobs::Jobs;

/// Whether to do it.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OneQuery {
    /// Tell what would happen, and change nothing.
    #[serde(default)]
    dry_run: bool,
}

/// Which of them, and whether to do it.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ManyQuery {
    /// Only those with a higher id.
    #[serde(default, deserialize_with = "integer_field")]
    after: i64,
    /// How many at most.
    #[serde(default = "limit_default")]
    #[param(inline)]
    limit: Limit,
    /// Tell what would happen, and change nothing.
    #[serde(default)]
    dry_run: bool,
}

/// Handle one again, as if it were delivered now
#[utoipa::path(post, path = format!("{PATH}/{{id}}/redrive"), tag = "admin", security(("token" = ["admin"])), params(("id" = i64, Path), OneQuery), responses(
    (status = 200, description = "What became of it.", body = RedrivenView),
))]
pub async fn redrive_one(
    admin: Admin,
    State(jobs): State<Jobs>,
    State(letters): State<DeadLetters>,
    Name(id): Name<i64>,
    Query(query): Query<OneQuery>,
) -> Result<Response, Problem> {
    match jobs.run(letters.redrive(id, mode(query.dry_run), admin.id)).await.map_err(problem)? {
        Redriven::Gone => Err(Problem::NotFound),
        redriven => Ok(Json(described(id, redriven)).into_response()),
    }
}

/// Handle many again, the oldest first
#[utoipa::path(post, path = format!("{PATH}/redrive"), tag = "admin", security(("token" = ["admin"])), params(ManyQuery), responses(
    (status = 200, description = "What became of them.", body = Report),
))]
pub async fn redrive_all(
    admin: Admin,
    State(jobs): State<Jobs>,
    State(letters): State<DeadLetters>,
    Query(query): Query<ManyQuery>,
) -> Result<Response, Problem> {
    let (found, limit) = (oldest(&letters, query.after, query.limit).await?, query.limit.get() as usize);
    let (mut done, mut stay, mut last, mut more) = (0, Vec::new(), query.after, found.len() > limit);
    for letter in found.iter().take(limit) {
        let redrive = letters.clone().redrive(letter.id, mode(query.dry_run), admin.id.clone());
        match jobs.run(redrive).await.map_err(problem) {
            Ok(Redriven::Gone) => {}
            Ok(Redriven::Done(_)) => done += 1,
            Ok(redriven) => stay.push(described(letter.id, redriven)),
            Err(Problem::OutcomeUnknown) => stay.push(unknown(letter.id)),
            // What was done so far is told; the next request says why it does not go on.
            Err(_) if last > query.after => {
                more = true;
                break;
            }
            Err(problem) => return Err(problem),
        }
        last = letter.id;
    }
    Ok(Json(Report { done, stay, next: more.then_some(last) }).into_response())
}

fn mode(dry_run: bool) -> Mode {
    if dry_run { Mode::DryRun } else { Mode::Commit }
}

/// What a redrive of all did.
#[derive(Debug, Serialize, ToSchema)]
pub struct Report {
    /// How many are dead letters no more.
    done: i64,
    /// Those that stay, or of which nobody can tell.
    stay: Vec<RedrivenView>,
    /// The `after` of the following request; absent once there is nothing left above it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<i64>,
}

/// What became of one dead letter.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Redriven)]
pub struct RedrivenView {
    id: i64,
    /// `done`, `dead` (it stays, for this reason), `failed` (it stays, and can be tried again) or `unknown` (it is
    /// still there exactly if nothing happened).
    outcome: &'static str,
    /// What the message did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    effect: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    detail: Option<String>,
}

fn unknown(id: i64) -> RedrivenView {
    let detail = Some("its commit failed; it is still there exactly if nothing happened".to_owned());
    RedrivenView { id, outcome: "unknown", effect: None, reason: None, detail }
}

fn described(id: i64, redriven: Redriven) -> RedrivenView {
    let view = RedrivenView { id, outcome: "gone", effect: None, reason: None, detail: None };
    match redriven {
        Redriven::Done(effect) => RedrivenView { outcome: "done", effect: Some(effect), ..view },
        Redriven::Dead(never) => {
            let (reason, detail) = (Some(never.reason.to_owned()), Some(never.detail));
            RedrivenView { outcome: "dead", reason, detail, ..view }
        }
        Redriven::Failed(detail) => RedrivenView { outcome: "failed", detail: Some(detail), ..view },
        Redriven::Gone => view,
    }
}
