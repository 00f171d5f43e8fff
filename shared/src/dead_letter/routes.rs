//! The admin routes of the dead letters. Each needs a token with the scope `admin`.

use axum::{
    Json, Router,
    extract::{
        FromRef, Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    redrive::{DeadLetters, Discarded, Mode, Redriven, Refusal},
    store::{self, DeadLetter},
};
use crate::{
    auth::{Admin, Tokens},
    events::rfc3339,
    http::read,
    problem::Problem,
};

/// Where the routes begin.
pub const PATH: &str = "/admin/dead-letters";
/// Dead letters in one list, or redriven in one request, at most.
pub const LIMIT_MAX: i64 = 200;
/// The same when the request does not say.
const LIMIT_DEFAULT: i64 = 50;

/// `GET` a list or one, `POST …/redrive` all or one, `DELETE` one.
pub fn routes<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Tokens: FromRef<S>,
    DeadLetters: FromRef<S>,
{
    Router::new()
        .route(PATH, get(list))
        .route(&format!("{PATH}/redrive"), post(redrive_all))
        .route(&format!("{PATH}/{{id}}"), get(show).delete(discard))
        .route(&format!("{PATH}/{{id}}/redrive"), post(redrive_one))
}

/// What a query may say.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wanted {
    #[serde(default)]
    after: i64,
    #[serde(default = "default_limit")]
    limit: i64,
    #[serde(default)]
    dry_run: bool,
}

fn default_limit() -> i64 {
    LIMIT_DEFAULT
}

impl Wanted {
    fn accept(query: Result<Query<Self>, QueryRejection>) -> Result<Self, Problem> {
        let Query(wanted) = query.map_err(|error| Problem::invalid("query", error.body_text()))?;
        if !(1..=LIMIT_MAX).contains(&wanted.limit) {
            return Err(Problem::invalid("limit", format!("must be from 1 to {LIMIT_MAX}")));
        }
        Ok(wanted)
    }

    fn mode(&self) -> Mode {
        if self.dry_run { Mode::DryRun } else { Mode::Commit }
    }
}

type WantedQuery = Result<Query<Wanted>, QueryRejection>;
type Id = Result<Path<i64>, PathRejection>;

/// A dead letter as an operator sees it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    id: i64,
    subject: String,
    reason: String,
    detail: String,
    attempts: i64,
    first_seen_at: String,
    last_seen_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Value>,
    body_bytes: i64,
    /// The body where it is UTF-8…
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// … and otherwise in base64. Either may be only the beginning of `body_bytes`.
    #[serde(skip_serializing_if = "Option::is_none")]
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

async fn list(_: Admin, State(letters): State<DeadLetters>, query: WantedQuery) -> Result<Response, Problem> {
    let Wanted { after, limit, .. } = Wanted::accept(query)?;
    // One more than asked for tells whether there is a next page.
    let mut found =
        read(letters.database(), store::oldest_after(letters.database().reader(), after, limit + 1)).await?;
    let more = found.len() as i64 > limit;
    found.truncate(limit as usize);
    let last = found.last().map_or(after, |letter| letter.id);
    let mut response = Json(found.into_iter().map(View::from).collect::<Vec<_>>()).into_response();
    if more && let Ok(link) = format!("<{PATH}?after={last}&limit={limit}>; rel=\"next\"").parse() {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

async fn show(_: Admin, State(letters): State<DeadLetters>, id: Id) -> Result<Response, Problem> {
    let Path(id) = id.map_err(|_| Problem::NotFound)?;
    let letter = read(letters.database(), store::find(letters.database().reader(), id))
        .await?
        .ok_or(Problem::NotFound)?;
    Ok(Json(View::from(letter)).into_response())
}

async fn redrive_one(
    admin: Admin,
    State(letters): State<DeadLetters>,
    id: Id,
    query: WantedQuery,
) -> Result<Response, Problem> {
    let (Path(id), wanted) = (id.map_err(|_| Problem::NotFound)?, Wanted::accept(query)?);
    match letters.redrive(id, wanted.mode(), &admin.id).await.map_err(refused)? {
        Redriven::Gone => Err(Problem::NotFound),
        redriven => Ok(Json(described(id, &redriven)).into_response()),
    }
}

/// Redrives up to `limit` dead letters with an id above `after`. `next` is the `after` of the following request; it
/// is absent once there is nothing left above it.
async fn redrive_all(
    admin: Admin,
    State(letters): State<DeadLetters>,
    query: WantedQuery,
) -> Result<Response, Problem> {
    let wanted = Wanted::accept(query)?;
    let found = read(
        letters.database(),
        store::oldest_after(letters.database().reader(), wanted.after, wanted.limit + 1),
    )
    .await?;
    let (mut done, mut stay, mut last) = (0, Vec::new(), wanted.after);
    let mut more = found.len() as i64 > wanted.limit;
    for letter in found.iter().take(wanted.limit as usize) {
        match letters.redrive(letter.id, wanted.mode(), &admin.id).await {
            Ok(Redriven::Gone) => {}
            Ok(Redriven::Done(_)) => done += 1,
            Ok(redriven) => stay.push(described(letter.id, &redriven)),
            // What was done so far is told; the next request says why it does not go on.
            Err(_) if last > wanted.after => {
                more = true;
                break;
            }
            Err(refusal) => return Err(refused(refusal)),
        }
        last = letter.id;
    }
    let mut report = json!({"done": done, "stay": stay});
    if more {
        report["next"] = json!(last);
    }
    Ok(Json(report).into_response())
}

fn described(id: i64, redriven: &Redriven) -> Value {
    match redriven {
        Redriven::Done(effect) => json!({"id": id, "outcome": "done", "effect": effect}),
        Redriven::Dead(never) => {
            json!({"id": id, "outcome": "dead", "reason": never.reason, "detail": never.detail})
        }
        Redriven::Failed(detail) => json!({"id": id, "outcome": "failed", "detail": detail}),
        Redriven::Gone => json!({"id": id, "outcome": "gone"}),
    }
}

async fn discard(admin: Admin, State(letters): State<DeadLetters>, id: Id) -> Result<StatusCode, Problem> {
    let Path(id) = id.map_err(|_| Problem::NotFound)?;
    match letters.discard(id, &admin.id).await.map_err(refused)? {
        Discarded::Done => Ok(StatusCode::NO_CONTENT),
        Discarded::Gone => Err(Problem::NotFound),
    }
}

fn refused(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::NotOwned => Problem::Unavailable(
            "the consumer belongs to another database, as /readyz says; nothing was changed",
        ),
        Refusal::NotNow => Problem::Unavailable("the database is not writable; nothing was changed"),
        Refusal::Unknown => Problem::Internal,
    }
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
