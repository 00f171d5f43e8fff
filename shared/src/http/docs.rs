//! The page at `/docs` that shows the document: Swagger UI, from this binary, which asks no other origin.
//!
//! Its script and style lie here as they are sent, gzipped (`build.rs`). There is no other form of them: every
//! browser reads this one.

use axum::Router;
use axum::http::header::{CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;

/// Swagger UI sets styles of elements and has images in its CSS.
const POLICY: &str =
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'";

const PAGE: &str = r#"<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>API</title>
    <link rel="icon" type="image/png" href="./favicon-32x32.png">
    <link rel="stylesheet" href="./swagger-ui.css">
    <style>body { margin: 0; background: #fafafa; }</style>
  </head>
  <body>
    <div id="swagger-ui"></div>
    <script src="./swagger-ui-bundle.js"></script>
    <script src="./swagger-initializer.js"></script>
  </body>
</html>
"#;

/// The validator would be another origin; the token stays in the browser's memory only.
const SET_UP: &str = r##"SwaggerUIBundle({
  "dom_id": "#swagger-ui",
  "url": "/openapi.json",
  "deepLinking": true,
  "validatorUrl": "none",
  "persistAuthorization": false
});
"##;

const BUNDLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui-bundle.js.gz"));
const STYLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui.css.gz"));
const ICON: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/favicon-32x32.png"));

const SCRIPT_TYPE: &str = "text/javascript; charset=utf-8";

pub fn router() -> Router {
    Router::new()
        .route("/docs", get(async || Redirect::to("/docs/")))
        .route("/docs/", get(async || file("text/html; charset=utf-8", PAGE)))
        .route("/docs/swagger-initializer.js", get(async || file(SCRIPT_TYPE, SET_UP)))
        .route("/docs/swagger-ui-bundle.js", get(async || gzipped(SCRIPT_TYPE, BUNDLE)))
        .route("/docs/swagger-ui.css", get(async || gzipped("text/css; charset=utf-8", STYLE)))
        .route("/docs/favicon-32x32.png", get(async || file("image/png", ICON)))
}

fn file(media_type: &'static str, content: impl IntoResponse) -> impl IntoResponse {
    ([(CONTENT_TYPE, media_type), (CONTENT_SECURITY_POLICY, POLICY)], content)
}

fn gzipped(media_type: &'static str, content: &'static [u8]) -> impl IntoResponse {
    ([(CONTENT_ENCODING, "gzip")], file(media_type, content))
}
