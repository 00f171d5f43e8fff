//! Keyset paging: a page ends at a key, and the next one goes on behind that key, however much arrives meanwhile.
//!
//! A list is an array; its `Link: …; rel="next"` (RFC 8288) leads to the next page. The cursor in it is opaque to clients.

use axum::{
    Json,
    http::{HeaderValue, Uri, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};
use utoipa::IntoParams;

use crate::http::problem::Problem;

/// Rows of one page, at most.
pub const LIMIT_MAX: usize = 200;
/// Rows of a page when the request does not say.
pub const LIMIT_DEFAULT: usize = 50;

/// The parameters in the document of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(
    dead_code,
    reason = "only its description is used; `PageQuery` names the parameter that breaks a rule"
)]
pub struct PageParameters {
    /// How many at most; 50 without it.
    #[param(minimum = 1, maximum = 200, nullable = false)]
    limit: Option<u16>,
    /// Opaque, from the `Link` of a page.
    #[param(nullable = false)]
    cursor: Option<String>,
}

/// What a request for a page says.
#[derive(Debug, Default)]
pub struct PageQuery {
    limit: Option<usize>,
    cursor: Option<String>,
    filters: Vec<(String, String)>,
}

/// The parameters of a query, decoded, in their order.
pub fn parameters(uri: &Uri) -> Result<Vec<(String, String)>, Problem> {
    serde_urlencoded::from_str(uri.query().unwrap_or_default())
        .map_err(|error| Problem::invalid("query", format!("must be form-encoded: {error}")))
}

impl PageQuery {
    /// Reads `limit`, `cursor` and those of `filters` that are given. Any other parameter is an error, and one given twice.
    pub fn read(uri: &Uri, filters: &[&str]) -> Result<Self, Problem> {
        let mut query = Self::default();
        for (name, value) in parameters(uri)? {
            let before = match name.as_str() {
                "limit" => query.limit.replace(limit(&value)?).is_some(),
                "cursor" => query.cursor.replace(value).is_some(),
                filter if filters.contains(&filter) => {
                    let before = query.filter(filter).is_some();
                    query.filters.push((name.clone(), value));
                    before
                }
                _ => return Err(Problem::invalid(&name, "is not a parameter of this list")),
            };
            if before {
                return Err(Problem::invalid(&name, "must be given once"));
            }
        }
        Ok(query)
    }

    /// The value of a filter; `None` when it is not given.
    pub fn filter(&self, name: &str) -> Option<&str> {
        self.filters.iter().find(|(filter, _)| filter == name).map(|(_, value)| value.as_str())
    }

    /// How many rows to read: one more than the page has, which tells whether there is a next one.
    pub fn rows_to_read(&self) -> i64 {
        self.limit() as i64 + 1
    }

    /// The key behind which the page begins; `None` for the first page.
    pub fn key<K: DeserializeOwned>(&self) -> Result<Option<K>, Problem> {
        let decode = |cursor| serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?).ok();
        let Some(cursor) = &self.cursor else { return Ok(None) };
        decode(cursor)
            .ok_or_else(|| Problem::invalid("cursor", "must come from the Link header of a page"))
            .map(Some)
    }

    /// The page that `rows` are, at the path of the request; `key` tells at which key a page ends with this row.
    pub fn page<T: Serialize, K: Serialize>(
        &self,
        path: &str,
        mut rows: Vec<T>,
        key: impl Fn(&T) -> K,
    ) -> Response {
        let more = rows.len() > self.limit();
        rows.truncate(self.limit());
        let next = rows.last().filter(|_| more).and_then(|last| self.link(path, &key(last)));
        let mut response = Json(rows).into_response();
        if let Some(next) = next {
            response.headers_mut().insert(header::LINK, next);
        }
        response
    }

    fn limit(&self) -> usize {
        self.limit.unwrap_or(LIMIT_DEFAULT)
    }

    fn link<K: Serialize>(&self, path: &str, key: &K) -> Option<HeaderValue> {
        let cursor = BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(key).ok()?);
        let (limit, mut parameters) = (self.limit().to_string(), self.filters.clone());
        parameters.extend([("limit".to_owned(), limit), ("cursor".to_owned(), cursor)]);
        let query = serde_urlencoded::to_string(parameters).ok()?;
        HeaderValue::from_str(&format!("<{path}?{query}>; rel=\"next\"")).ok()
    }
}

fn limit(value: &str) -> Result<usize, Problem> {
    let limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| Problem::invalid("limit", format!("must be an integer from 1 to {LIMIT_MAX}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<PageQuery, Problem> {
        PageQuery::read(&format!("/orders?{query}").parse().unwrap(), &["status"])
    }

    #[test]
    fn a_parameter_that_breaks_a_rule_is_named() {
        let cases = [
            ("limit=0", "limit"),
            ("limit=201", "limit"),
            ("limit=x", "limit"),
            ("limit=1&limit=1", "limit"),
            ("status=a&status=b", "status"),
            ("page=2", "page"),
        ];
        for (query, name) in cases {
            let problem = read(query).unwrap_err();
            assert!(
                matches!(&problem, Problem::InvalidField { field, .. } if field == name),
                "{query}: {problem:?}"
            );
        }
        assert!(read("cursor=nonsense").unwrap().key::<String>().is_err());
    }

    #[test]
    fn the_link_leads_behind_the_last_row_and_keeps_the_filters() {
        let query = read("limit=2&status=a%26b").unwrap();
        let page = query.page("/orders", vec!["c", "b", "a"], |row| row.to_string());
        let link = page.headers()[header::LINK].to_str().unwrap();
        let next = link.strip_prefix("</orders?").unwrap().strip_suffix(">; rel=\"next\"").unwrap();
        let next = read(next).unwrap();
        assert_eq!((next.rows_to_read(), next.filter("status")), (3, Some("a&b")));
        assert_eq!(next.key::<String>().unwrap().as_deref(), Some("b"));
        assert!(
            query
                .page("/orders", vec!["b", "a"], |row| row.to_string())
                .headers()
                .get(header::LINK)
                .is_none()
        );
    }
}
