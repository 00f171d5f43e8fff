//! What an API promises: its OpenAPI document, against which every answer that a test sees is checked.
//!
//! Stricter than a client should be: a field that the document does not have fails, too.

use std::env;
use std::fs;

use hyper::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap};
use processes::workspace;
use reqwest::{RequestBuilder, Response};
use serde_json::{Map, Value, json};

#[derive(Debug)]
pub struct Contract {
    document: Value,
}

/// A request and what came of it.
struct Seen<'a> {
    method: &'a str,
    path: &'a str,
    status: u16,
    headers: &'a HeaderMap,
    body: &'a [u8],
}

impl Contract {
    pub fn new(document: Value) -> Self {
        Self { document }
    }

    /// Sends the request, and panics unless it is answered as the document has it.
    pub async fn send(&self, request: RequestBuilder) -> Response {
        self.try_send(request).await.expect("an answer")
    }

    /// The same, where there may be no answer or half of one. The body of a stream is left alone.
    pub async fn try_send(&self, request: RequestBuilder) -> reqwest::Result<Response> {
        let (client, request) = request.build_split();
        let request = request?;
        let (method, path) = (request.method().to_string(), request.url().path().to_owned());
        let response = client.execute(request).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let seen =
            |body| Seen { method: &method, path: &path, status: status.as_u16(), headers: &headers, body };
        if media_type(&headers) == "text/event-stream" {
            self.check(&Seen { body: b"", ..seen(b"") });
            return Ok(response);
        }
        let body = response.bytes().await?;
        self.check(&seen(&body));
        let mut rebuilt = hyper::Response::new(body);
        *rebuilt.status_mut() = status;
        *rebuilt.headers_mut() = headers;
        Ok(rebuilt.into())
    }

    fn check(&self, seen: &Seen<'_>) {
        let fail = |why: String| {
            let (Seen { method, path, status, .. }, body) = (seen, String::from_utf8_lossy(seen.body));
            panic!("the OpenAPI document does not have this answer: {method} {path} → {status} {body}: {why}")
        };
        // What no operation takes is a problem all the same.
        let problem = json!({"content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}});
        // A HEAD is a GET whose answer has no body (RFC 9110, section 9.3.2).
        let method = if seen.method == "HEAD" { "GET" } else { seen.method };
        let expected = match self.operation(method, seen.path) {
            Some(operation) => &operation["responses"][seen.status.to_string()],
            None if matches!(seen.status, 404 | 405) => &problem,
            None => return fail("no operation has this method and path".to_owned()),
        };
        let expected = if expected.is_null() && seen.status == 404 && !self.has_parameters(seen.path) {
            &problem
        } else {
            expected
        };
        if let Err(why) = self.compare(expected, seen) {
            fail(why);
        }
    }

    fn compare(&self, expected: &Value, seen: &Seen<'_>) -> Result<(), String> {
        let expected = expected.as_object().ok_or("the operation does not have this status")?;
        for (name, header) in expected.get("headers").and_then(Value::as_object).into_iter().flatten() {
            if header["required"] == true && !seen.headers.contains_key(name) {
                return Err(format!("the header {name} is missing"));
            }
        }
        if seen.method == "HEAD" {
            return Ok(());
        }
        let Some(content) = expected.get("content").and_then(Value::as_object) else {
            return if seen.body.is_empty() { Ok(()) } else { Err("it has a body".to_owned()) };
        };
        let media_type = media_type(seen.headers);
        let form = content.get(media_type).ok_or(format!("its media type is {media_type:?}"))?;
        if !media_type.ends_with("json") {
            return Ok(());
        }
        let body = serde_json::from_slice(seen.body).map_err(|error| error.to_string())?;
        self.validate(&form["schema"], &body)
    }

    fn validate(&self, schema: &Value, body: &Value) -> Result<(), String> {
        let mut schema = closed(schema);
        schema["components"] = self.document["components"].clone();
        let validator = jsonschema::draft202012::new(&schema).map_err(|error| error.to_string())?;
        validator.validate(body).map_err(|error| format!("{error} at {}", error.instance_path()))
    }

    /// The operation of a request. A path without parameters comes before one with them.
    fn operation(&self, method: &str, path: &str) -> Option<&Value> {
        let paths = self.document["paths"].as_object()?;
        let operation = |template: &Map<String, Value>| template.contains_key(&method.to_lowercase());
        let matching = paths.iter().filter(|(template, _)| matches(template, path));
        let mut matching: Vec<_> =
            matching.filter(|(_, item)| item.as_object().is_some_and(operation)).collect();
        matching.sort_by_key(|(template, _)| template.matches('{').count());
        Some(&matching.first()?.1[method.to_lowercase()])
    }

    fn has_parameters(&self, path: &str) -> bool {
        let paths = self.document["paths"].as_object();
        paths.is_some_and(|paths| {
            paths.keys().any(|template| template.contains('{') && matches(template, path))
        })
    }
}

/// The schema, refusing fields that it does not name: in an object, or in each object of an array.
fn closed(schema: &Value) -> Value {
    match schema.get("items") {
        Some(items) => {
            json!({"allOf": [schema], "items": {"allOf": [items], "unevaluatedProperties": false}})
        }
        None => json!({"allOf": [schema], "unevaluatedProperties": false}),
    }
}

fn matches(template: &str, path: &str) -> bool {
    let (mut left, mut right) = (template.split('/'), path.split('/'));
    loop {
        match (left.next(), right.next()) {
            (None, None) => return true,
            (Some(left), Some(right)) if left == right || (left.starts_with('{') && !right.is_empty()) => {}
            _ => return false,
        }
    }
}

fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// Panics unless this file holds the document. With `UPDATE_DOCUMENTS=1` it writes the file.
pub fn assert_committed(file: &str, document: &Value) {
    let path = workspace::root().join(file);
    let text = format!("{document:#}\n");
    if env::var_os("UPDATE_DOCUMENTS").is_some() {
        fs::write(&path, &text).expect("write the document");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == text,
        "{file} is not what the routes make; UPDATE_DOCUMENTS=1 cargo test document writes it"
    );
}

/// Panics unless every operation says whether it needs a token, and every time which format it has.
pub fn assert_complete(document: &Value) {
    assert!(document["servers"][0]["url"].is_string(), "there is a server");
    let paths = document["paths"].as_object().expect("paths");
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().expect("operations") {
            assert!(operation["security"].is_array(), "{method} {path} says nothing of tokens");
            assert!(operation["operationId"].is_string(), "{method} {path} has no id");
        }
    }
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    for (schema, object) in schemas {
        for (name, property) in object["properties"].as_object().into_iter().flatten() {
            let is_time = name == "at" || name.ends_with("At");
            assert_eq!(property["format"] == "date-time", is_time, "{schema}.{name}");
            assert!(!name.contains('_'), "{schema}.{name} is not in camel case");
        }
    }
}

/// Panics unless the service at `url` serves the document, and a page that shows it without any other origin.
pub async fn assert_served(url: &str, document: &Value) {
    let get = async |path: &str| {
        let response = reqwest::get(format!("{url}{path}")).await.expect("an answer");
        assert_eq!(response.status(), 200, "{path}");
        let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap_or_default().to_owned();
        (policy, response.text().await.expect("a text"))
    };
    assert_eq!(serde_json::from_str::<Value>(&get("/openapi.json").await.1).ok().as_ref(), Some(document));
    let (policy, page) = get("/docs").await;
    assert!(policy.starts_with("default-src 'self';") && !policy.contains("http"), "{policy}");
    let references = page.split(['"', '\'']).filter(|text| text.starts_with("./") || text.contains("//"));
    let references: Vec<_> = references.collect();
    assert!(references.len() >= 4, "scripts and styles: {references:?}");
    for reference in references {
        let file = reference.strip_prefix("./").unwrap_or_else(|| panic!("another origin: {reference}"));
        get(&format!("/docs/{file}")).await;
    }
    let (_, set_up) = get("/docs/swagger-initializer.js").await;
    assert!(
        set_up.contains("\"/openapi.json\"") && set_up.contains("\"validatorUrl\": \"none\""),
        "{set_up}"
    );
}
