//! Keyset paging: a page ends at a key, and the next one begins behind it, however much arrives meanwhile.
//! `Link: …; rel="next"` (RFC 8288) leads there, with a cursor that is opaque to clients.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::openapi::{KnownFormat, RefOr, Schema, SchemaFormat};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::fields;
use super::problem::Problem;
use super::uri::{number, parameters, texts};
use crate::number::Within;

pub const LIMIT_MAX: i64 = 200;
/// How many rows a page may have.
pub type Limit = Within<1, LIMIT_MAX>;

/// Which page of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageParameters {
    /// How many at most; 50 without it.
    #[serde(default = "limit_default")]
    #[param(value_type = SmallLimit, inline)]
    limit: Limit,
    /// Opaque, from the `Link` of a page.
    #[param(nullable = false)]
    cursor: Option<String>,
}

pub fn limit_default() -> Limit {
    Limit::new(50)
}

/// A [`Limit`] whose schema says that it is small.
struct SmallLimit;

impl PartialSchema for SmallLimit {
    fn schema() -> RefOr<Schema> {
        Limit::object().format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32))).into()
    }
}

impl ToSchema for SmallLimit {}

/// For a list that cannot be filtered.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NoFilters {}

/// What a request for a page says.
#[derive(Debug)]
pub struct PageQuery<F = NoFilters> {
    path: String,
    page: PageParameters,
    pub filters: F,
}

impl<S: Send + Sync, F: DeserializeOwned> FromRequestParts<S> for PageQuery<F> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::read(&parts.uri)
    }
}

impl<F: DeserializeOwned> PageQuery<F> {
    fn read(uri: &Uri) -> Result<Self, Problem> {
        let (page, filters): (Vec<_>, _) =
            parameters(uri)?.into_iter().partition(|(name, _)| matches!(name.as_str(), "limit" | "cursor"));
        let page = page.into_iter().map(|(name, text)| match name.as_str() {
            "limit" => (name, number(text)),
            _ => (name, Value::String(text)),
        });
        let page = fields::parse(page.collect())?;
        Ok(Self { path: uri.path().to_owned(), page, filters: texts(filters)? })
    }
}

impl<F: Serialize> PageQuery<F> {
    pub fn rows_to_read(&self) -> i64 {
        rows_to_read(self.page.limit)
    }

    /// The key behind which the page begins; `None` for the first page.
    pub fn key<K: DeserializeOwned>(&self) -> Result<Option<K>, Problem> {
        let Some(cursor) = &self.page.cursor else { return Ok(None) };
        let json = BASE64_URL_SAFE_NO_PAD.decode(cursor).unwrap_or_default();
        let foreign = |_| Problem::invalid("cursor", "must come from the Link header of a page");
        serde_json::from_slice(&json).map(Some).map_err(foreign)
    }

    /// The page that `rows` are; `key` tells at which key a page ends with this row.
    pub fn page<T: Serialize, K: Serialize>(&self, rows: Vec<T>, key: impl Fn(&T) -> K) -> Response {
        page(rows, self.page.limit, |last| {
            let cursor = BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(&key(last)).ok()?);
            let page = [("limit", self.page.limit.get().to_string()), ("cursor", cursor)];
            let page = serde_urlencoded::to_string(page).ok()?;
            let filters = serde_urlencoded::to_string(&self.filters).ok()?;
            let and = if filters.is_empty() { "" } else { "&" };
            Some(format!("{}?{filters}{and}{page}", self.path))
        })
    }
}

/// How many rows to read: one more than the page has, which tells whether there is a next one.
pub fn rows_to_read(limit: Limit) -> i64 {
    limit.get() + 1
}

/// The page that `rows` are; `next` makes the link that leads behind its last row.
pub fn page<T: Serialize>(
    mut rows: Vec<T>,
    limit: Limit,
    next: impl FnOnce(&T) -> Option<String>,
) -> Response {
    let limit = limit.get() as usize;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).and_then(next);
    let link = next.map(|next| [(header::LINK, format!("<{next}>; rel=\"next\""))]);
    (link, Json(rows)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, Serialize)]
    #[serde(deny_unknown_fields)]
    struct Filters {
        status: Option<String>,
    }

    fn read(query: &str) -> Result<PageQuery<Filters>, Problem> {
        PageQuery::read(&format!("/orders?{query}").parse().unwrap())
    }

    #[test]
    fn a_parameter_that_breaks_a_rule_is_named() {
        for query in [
            "limit=0",
            "limit=201",
            "limit=x",
            "limit=5.0",
            "limit=null",
            "limit=1&limit=1",
            "status=a&status=b",
            "page=2",
        ] {
            let name = query.split('=').next().unwrap();
            let problem = read(query).unwrap_err();
            let names_it = matches!(&problem, Problem::InvalidField { field, .. } if field == name);
            assert!(names_it, "{query}: {problem:?}");
        }
        for cursor in ["nonsense", "null", "7", "true"] {
            assert!(read(&format!("cursor={cursor}")).unwrap().key::<String>().is_err(), "{cursor}");
        }
        assert_eq!(read("limit=010").unwrap().rows_to_read(), 11);
    }

    #[test]
    fn the_link_leads_behind_the_last_row_and_keeps_the_filters() {
        let query = read("limit=2&status=a%26b").unwrap();
        let page = query.page(vec!["c", "b", "a"], |row| row.to_string());
        let link = page.headers()[header::LINK].to_str().unwrap();
        let next = link.strip_prefix("</orders?").unwrap().strip_suffix(">; rel=\"next\"").unwrap();
        let next = read(next).unwrap();
        assert_eq!((next.rows_to_read(), next.filters.status.as_deref()), (3, Some("a&b")));
        assert_eq!(next.key::<String>().unwrap().as_deref(), Some("b"));
        assert!(query.page(vec!["b", "a"], |row| row.to_string()).headers().get(header::LINK).is_none());
    }
}
