//! The admin routes of the dead letters. Each needs a token with the scope `admin`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::clock::rfc3339;
use crate::delivery::dead_letter::redrive::{DeadLetters, Mode, RedriveError, Redriven};
use crate::delivery::dead_letter::store;
use crate::delivery::dead_letter::store::DeadLetter;
use crate::http::auth::Admin;
use crate::http::database::read;
use crate::http::paging::{Limit, limit_default, page, rows_to_read};
use crate::http::problem::Problem;
use crate::http::uri::{Name, Query};
use crate::number::integer_field;
use crate::operations::jobs::Jobs;

/// Where the routes begin.
pub const PATH: &str = "/admin/dead-letters";

/// Which dead letters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeadLettersQuery {
    /// Only those with a higher id.
    #[serde(default, deserialize_with = "integer_field")]
    after: i64,
    /// How many at most.
    #[serde(default = "limit_default")]
    #[param(inline)]
    limit: Limit,
    /// Redrive only: tell what would happen, and change nothing.
    #[serde(default)]
    dry_run: bool,
}

impl DeadLettersQuery {
    /// Those that it asks for, and one more if there are more.
    async fn read(&self, letters: &DeadLetters) -> Result<Vec<DeadLetter>, Problem> {
        let (database, limit) = (letters.database(), rows_to_read(self.limit));
        read(database, store::oldest_after(database.reader(), self.after, limit)).await
    }

    fn mode(&self) -> Mode {
        if self.dry_run { Mode::DryRun } else { Mode::Commit }
    }
}

/// A dead letter as an operator sees it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeadLetter)]
pub struct View {
    id: i64,
    subject: String,
    reason: String,
    detail: String,
    attempts: i64,
    #[schema(format = DateTime)]
    first_seen_at: String,
    #[schema(format = DateTime)]
    last_seen_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object, nullable = false)]
    headers: Option<Value>,
    body_bytes: i64,
    /// The body where it is UTF-8…
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    body: Option<String>,
    /// … and otherwise in base64. Either may be only the beginning of the `bodyBytes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    body_base64: Option<String>,
}

impl From<DeadLetter> for View {
    fn from(letter: DeadLetter) -> Self {
        let cut = (letter.body.len() as i64) < letter.body_bytes;
        let text = text(&letter.body, cut).map(str::to_owned);
        Self {
            id: letter.id,
            subject: letter.subject,
            reason: letter.reason,
            detail: letter.detail,
            attempts: letter.attempts,
            first_seen_at: rfc3339(letter.first_seen_at),
            last_seen_at: rfc3339(letter.last_seen_at),
            headers: letter.headers.and_then(|headers| serde_json::from_str(&headers).ok()),
            body_bytes: letter.body_bytes,
            body_base64: text.is_none().then(|| BASE64_STANDARD.encode(&letter.body)),
            body: text,
        }
    }
}

/// The bytes as text; a `cut` may go through the last character, which is then left out.
fn text(bytes: &[u8], cut: bool) -> Option<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) if cut && error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    }
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
    let found = query.read(&letters).await?.into_iter().map(View::from).collect();
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

/// Handle one again, as if it were delivered now
#[utoipa::path(post, path = format!("{PATH}/{{id}}/redrive"), tag = "admin", security(("token" = ["admin"])), params(("id" = i64, Path), DeadLettersQuery), responses(
    (status = 200, description = "What became of it.", body = RedrivenView),
))]
pub async fn redrive_one(
    admin: Admin,
    State(jobs): State<Jobs>,
    State(letters): State<DeadLetters>,
    Name(id): Name<i64>,
    Query(query): Query<DeadLettersQuery>,
) -> Result<Response, Problem> {
    match result(jobs.run(letters.redrive(id, query.mode(), admin.id)).await)? {
        Redriven::Gone => Err(Problem::NotFound),
        redriven => Ok(Json(described(id, redriven)).into_response()),
    }
}

/// Handle many again, the oldest first
#[utoipa::path(post, path = format!("{PATH}/redrive"), tag = "admin", security(("token" = ["admin"])), params(DeadLettersQuery), responses(
    (status = 200, description = "What became of them.", body = Report),
))]
pub async fn redrive_all(
    admin: Admin,
    State(jobs): State<Jobs>,
    State(letters): State<DeadLetters>,
    Query(query): Query<DeadLettersQuery>,
) -> Result<Response, Problem> {
    let (found, limit) = (query.read(&letters).await?, query.limit.get() as usize);
    let (mut done, mut stay, mut last, mut more) = (0, Vec::new(), query.after, found.len() > limit);
    for letter in found.iter().take(limit) {
        let redrive = letters.clone().redrive(letter.id, query.mode(), admin.id.clone());
        match result(jobs.run(redrive).await) {
            Ok(Redriven::Gone) => {}
            Ok(Redriven::Done(_)) => done += 1,
            Ok(redriven) => stay.push(described(letter.id, redriven)),
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

/// What a redrive of all did.
#[derive(Debug, Serialize, ToSchema)]
pub struct Report {
    /// How many are dead letters no more.
    done: i64,
    /// Those that stay.
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
    /// `done`, `dead` (it stays, for this reason), `failed` (it stays, and can be tried again) or `gone`.
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
    let discarded = result(jobs.run(letters.discard(id, admin.id)).await)?;
    discarded.map(|_| StatusCode::NO_CONTENT).ok_or(Problem::NotFound)
}

fn result<T>(ended: Option<Result<T, RedriveError>>) -> Result<T, Problem> {
    ended.unwrap_or(Err(RedriveError::Unknown)).map_err(|error| match error {
        RedriveError::NotOwned => Problem::Unavailable(
            "the consumer belongs to another database, as /readyz says; nothing was changed",
        ),
        RedriveError::NotNow => Problem::Unavailable("the database is not writable; nothing was changed"),
        RedriveError::Unknown => Problem::Internal,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_text_where_it_is_utf8_also_when_a_cut_goes_through_a_character() {
        assert_eq!(text("grün".as_bytes(), false), Some("grün"));
        assert_eq!(text(&"grün".as_bytes()[..3], true), Some("gr"));
        assert_eq!(text(&"grün".as_bytes()[..3], false), None, "whole, and so not UTF-8");
        assert_eq!(text(b"\xff\xfe", true), None);
    }
}
