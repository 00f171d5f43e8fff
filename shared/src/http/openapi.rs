//! The OpenAPI 3.1 document of a service, made from its routes.
//!
//! A handler documents its own. What every route answers (problems, the request id) is added here by rule.

use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::{docs, idempotency_key};

const LICENSE: &str = env!("CARGO_PKG_LICENSE");

/// A router whose document begins with this title and description. `tag` is that of the service's own routes.
pub fn router<S: Clone + Send + Sync + 'static>(
    title: &str,
    description: &str,
    tag: &str,
) -> OpenApiRouter<S> {
    OpenApiRouter::with_openapi(beginning(title, description, tag))
}

fn beginning(title: &str, description: &str, tag: &str) -> OpenApi {
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "description": description,
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": LICENSE, "identifier": LICENSE},
        },
        // Relative to the document: the service does not know under which name it is reached.
        "servers": [{"url": "/", "description": "The service that serves this document."}],
        "tags": [
            {"name": tag, "description": "What the service is for."},
            {"name": "admin", "description": "What operators do. Tokens need the scope `admin`."},
            {"name": "probes", "description": "What machines ask about the service."},
        ],
        "paths": {},
        "components": {"securitySchemes": {
            "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        }},
    });
    serde_json::from_value(document).unwrap_or_default()
}

/// `routes` together with their document and the page that shows it.
pub fn with_document(routes: OpenApiRouter) -> Router {
    let (routes, openapi) = routes.split_for_parts();
    let document = complete(&openapi);
    routes.route("/openapi.json", get(async move || Json(document))).merge(docs::router())
}

/// The document with what every operation answers besides its own.
pub fn complete(openapi: &OpenApi) -> Value {
    // The types of the document always have a JSON form.
    let mut document = serde_json::to_value(openapi).unwrap_or_default();
    document["components"]["schemas"]["Problem"] = problem_schema();
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (method, operation) in paths.flat_map(|(_, path)| path.as_object_mut().into_iter().flatten()) {
        complete_operation(method, operation);
    }
    document
}

fn complete_operation(method: &str, operation: &mut Value) {
    let problems = problems_of(method, operation);
    // Said, and not only left out: no token is needed.
    if operation["security"].is_null() {
        operation["security"] = json!([]);
    }
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    for (status, text) in problems {
        let problem = json!({"schema": {"$ref": "#/components/schemas/Problem"}});
        let response = json!({"description": text, "content": {"application/problem+json": problem}});
        responses.entry(status).or_insert(response);
    }
    for (status, response) in responses {
        let mut required = vec![("x-request-id", "The id of the request, in the service's log, too.")];
        match status.as_str() {
            "401" | "403" => required.push(("www-authenticate", "`Bearer`, and what is missing.")),
            "503" if response["content"]["application/problem+json"].is_object() => {
                required.push(("retry-after", "Seconds."));
            }
            _ => {}
        }
        for (name, text) in required {
            response["headers"][name] =
                json!({"description": text, "required": true, "schema": {"type": "string"}});
        }
    }
}

/// Which problems an operation may answer, by its method and by what it takes.
fn problems_of(method: &str, operation: &Value) -> Vec<(&'static str, &'static str)> {
    let takes = |key: &str, value: &str| {
        let parameters = operation["parameters"].as_array();
        parameters.is_some_and(|all| all.iter().any(|parameter| parameter[key] == value))
    };
    let is_probe = operation["tags"].as_array().is_some_and(|tags| tags.iter().any(|tag| tag == "probes"));
    let scopes = operation["security"][0]["token"].as_array();
    let (has_key, has_body) = (takes("name", idempotency_key::NAME), operation["requestBody"].is_object());
    let problems = [
        // No operation is without a `Host`.
        (true, "400", "A field, a header or a parameter breaks a rule."),
        (true, "500", "Something failed on our side."),
        (!is_probe, "503", "Not now. Certainly nothing was stored."),
        (takes("in", "path"), "404", "Unknown, or somebody else's."),
        (scopes.is_some(), "401", "No token, or one that does not verify."),
        (scopes.is_some_and(|scopes| !scopes.is_empty()), "403", "The token lacks a scope."),
        (has_key, "422", "The `Idempotency-Key` was used for another request."),
        (has_key, "504", "It is not known whether it was stored: repeat it with the same `Idempotency-Key`."),
        (!has_key && method != "get", "504", "It is not known whether it was done: read what there is now."),
        (has_body, "408", "The body did not arrive in time."),
        (has_body, "413", "The body is too large."),
        (has_body, "415", "The body is not declared as JSON, or is encoded."),
    ];
    problems.into_iter().filter(|(applies, ..)| *applies).map(|(_, status, text)| (status, text)).collect()
}

/// RFC 9457, with the request's id and, for a 400, the field.
fn problem_schema() -> Value {
    json!({
        "type": "object",
        "description": "An error (RFC 9457).",
        "required": ["type", "title", "status", "detail", "requestId"],
        "additionalProperties": false,
        "properties": {
            "type": {"const": "about:blank"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "What is wrong, and what to do."},
            "field": {"type": "string", "description": "The field, header or parameter that breaks a rule."},
            "requestId": {"type": "string"},
        },
    })
}
