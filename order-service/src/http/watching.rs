//! `GET /orders/events`: the status changes of the caller's orders as server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
//!
//! Every event carries the id of its change, from which a client resumes without a gap. A stream ends with
//! the drain and with its token; a client then comes back.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, Uri, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use futures_util::stream::{once, unfold};
use serde::Serialize;
use shared::clock::{now_ms, rfc3339};
use shared::contract::status::{Reason, Status};
use shared::http::auth::User;
use shared::http::database::read;
use shared::http::problem::Problem;
use shared::http::uri::parameters;
use tokio::sync::OwnedSemaphorePermit;

use super::open_requests::OpenRequests;
use crate::orders::feed::{Subscription, Topic};
use crate::orders::status_changes::{self, StatusChange};

const LAST_EVENT_ID: &str = "Last-Event-ID";
/// The same in the query, as `event-source-polyfill` sends it.
const LAST_EVENT_ID_PARAMETER: &str = "lastEventId";
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// A silent stream carries a comment this often, so that nobody in between takes it for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a client should wait before it comes back.
const RETRY: Duration = Duration::from_secs(1);
/// Changes read at once by a stream that is behind.
const PAGE_MAX: usize = 200;

/// Watch your orders
///
/// Server-sent events: `event: order` with the new status of an order of yours, and the `id` of the change. The first event is
/// `event: ready`; its `id` is what a client resumes from that has seen no other.
#[utoipa::path(get, path = "/orders/events", tag = "orders", security(("token" = [])),
    params(
        ("Last-Event-ID" = Option<String>, Header, pattern = "^[0-9]+$", description = "Begin with the change behind this one. Without it, with the next one that happens."),
        ("lastEventId" = Option<String>, Query, pattern = "^[0-9]+$", description = "The same, for a client that cannot set the header. The header counts where both are given."),
    ),
    responses(
        (status = 200, description = "A stream, until the token expires or the service stops. Come back with the last `id`.", body = String, content_type = "text/event-stream"),
    ))]
pub async fn watch_orders(
    user: User,
    State(open_requests): State<OpenRequests>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let last_event_id = last_event_id(&headers, &uri)?;
    let slot = open_requests.slot().ok_or(Problem::Unavailable("too many requests stay open; come back"))?;
    let end = end(open_requests.clone(), user.until_ms);
    let watch = Watch::open(open_requests, user.id, last_event_id, slot).await?;
    // It has data, since some clients keep no id of an event without, or hand it on as an empty one.
    let first = Event::default().event("ready").id(watch.last_id.to_string()).retry(RETRY).data("{}");
    let changes = unfold(watch, async |mut watch| {
        let change = watch.next().await.ok()?;
        Some((Ok(event(&change)), watch))
    });
    let events = once(async { Ok::<_, Infallible>(first) }).chain(changes).take_until(Box::pin(end));
    let stream = Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT).text("heartbeat"));
    // No cache keeps a stream, and no buffer (nginx reads the second header).
    Ok(([(header::CACHE_CONTROL, "no-store"), (X_ACCEL_BUFFERING, "no")], stream).into_response())
}

/// The header comes before the parameter: a browser repeats the parameter of its URL for ever, and tells how
/// far it came in the header.
fn last_event_id(headers: &HeaderMap, uri: &Uri) -> Result<Option<i64>, Problem> {
    let header = headers.get_all(LAST_EVENT_ID).iter().map(|value| value.to_str().unwrap_or_default());
    if let Some(id) = one_id(LAST_EVENT_ID, &header.collect::<Vec<_>>())? {
        return Ok(Some(id));
    }
    let parameters = parameters(uri)?;
    let named = parameters.iter().filter(|(name, _)| name == LAST_EVENT_ID_PARAMETER);
    one_id(LAST_EVENT_ID_PARAMETER, &named.map(|(_, value)| value.as_str()).collect::<Vec<_>>())
}

fn one_id(field: &str, values: &[&str]) -> Result<Option<i64>, Problem> {
    match values {
        [] => Ok(None),
        // More digits than an id can have are above the newest.
        [digits] if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(Some(digits.parse().unwrap_or(i64::MAX)))
        }
        _ => Err(Problem::invalid(field, "must be one integer from 0, the id of an event")),
    }
}

/// Returns when the drain begins or the token is no longer valid.
async fn end(open_requests: OpenRequests, until_ms: Option<u64>) {
    let expired = async {
        let Some(until_ms) = until_ms else { return std::future::pending().await };
        tokio::time::sleep(Duration::from_millis(until_ms.saturating_sub(now_ms() as u64))).await;
    };
    tokio::select! {
        () = expired => {}
        () = open_requests.shutdown.cancelled() => {}
    }
}

/// The data of an event.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChangeView<'a> {
    order_id: &'a str,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    at: String,
}

fn event(change: &StatusChange) -> Event {
    let data = ChangeView {
        order_id: &change.order_id,
        status: change.status,
        reason: change.reason,
        at: rfc3339(change.at),
    };
    // Texts always have a JSON form.
    Event::default().id(change.id.to_string()).event("order").json_data(data).unwrap_or_default()
}

/// One user's changes in the order of their ids, each once.
struct Watch {
    open_requests: OpenRequests,
    user_id: String,
    subscription: Subscription,
    /// The id of the last change that was returned.
    last_id: i64,
    /// Some changes behind `last_id` will not come from the feed; the database has them.
    behind: bool,
    /// Read from the database and not returned yet.
    page: VecDeque<StatusChange>,
    _slot: OwnedSemaphorePermit,
}

impl Watch {
    /// Begins behind `after`; behind the newest change without it, and when there is no such change yet, as
    /// after the return to an older backup.
    async fn open(
        open_requests: OpenRequests,
        user_id: String,
        after: Option<i64>,
        slot: OwnedSemaphorePermit,
    ) -> Result<Self, Problem> {
        // First subscribed, then read, so that no change falls between the two.
        let subscription = open_requests.feed.subscribe(Topic::User(user_id.clone()));
        let database = &open_requests.database;
        let newest = read(database, status_changes::newest(database.reader())).await?;
        let last_id = after.unwrap_or(newest).min(newest);
        let (behind, page) = (last_id < newest, VecDeque::new());
        Ok(Self { open_requests, user_id, subscription, last_id, behind, page, _slot: slot })
    }

    async fn next(&mut self) -> Result<Arc<StatusChange>, Problem> {
        loop {
            if self.behind && self.page.is_empty() {
                self.read_on().await?;
            }
            let next = match self.page.pop_front() {
                Some(change) => Some(Arc::new(change)),
                None => self.subscription.next().await,
            };
            match next {
                Some(change) if change.id > self.last_id => {
                    self.last_id = change.id;
                    return Ok(change);
                }
                // The database had it already.
                Some(_) => {}
                None => self.behind = true,
            }
        }
    }

    /// Reads the next page. One that is not full is the last: the feed hands over what it does not show.
    async fn read_on(&mut self) -> Result<(), Problem> {
        let database = &self.open_requests.database;
        let (reader, limit) = (database.reader(), PAGE_MAX as i64);
        let page = status_changes::of_a_user_after(reader, &self.user_id, self.last_id, limit);
        self.page = read(database, page).await?.into();
        self.behind = self.page.len() == PAGE_MAX;
        Ok(())
    }
}
