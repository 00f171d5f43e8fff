//! Every wrong request gets a true and helpful answer, and stores nothing.

use reqwest::Method;

use crate::fixture::raw::{exchange, post_head};
use crate::fixture::{alone, alone_with_alice, answer_to};

#[tokio::test]
async fn a_body_that_breaks_a_rule_is_refused_by_the_name_of_the_field_and_stores_nothing() {
    let (files, _app, alice) = alone_with_alice().await;
    let too_long = format!(r#"{{"productId":"{}","quantity":1}}"#, "p".repeat(65));
    let cases = [
        (r#"{"productId":"1","quantity":1,"status":"confirmed"}"#, "status"),
        (r#"{"id":"mine","productId":"1","quantity":1}"#, "id"),
        (r#"{"productId":"1","quantity":1,"userId":"bob"}"#, "userId"),
        (r#"{"productId":"1","quantity":1,"Quantity":1}"#, "Quantity"),
        (r#"{"quantity":1}"#, "productId"),
        (r#"{"productId":"","quantity":1}"#, "productId"),
        (r#"{"productId":"\u0000","quantity":1}"#, "productId"),
        (r#"{"productId":1,"quantity":1}"#, "productId"),
        (r#"{"productId":null,"quantity":1}"#, "productId"),
        (r#"{"productId":["1"],"quantity":1}"#, "productId"),
        (&too_long, "productId"),
        (r#"{"productId":"1"}"#, "quantity"),
        (r#"{"productId":"1","quantity":0}"#, "quantity"),
        (r#"{"productId":"1","quantity":-1}"#, "quantity"),
        (r#"{"productId":"1","quantity":1.5}"#, "quantity"),
        (r#"{"productId":"1","quantity":"1"}"#, "quantity"),
        (r#"{"productId":"1","quantity":true}"#, "quantity"),
        (r#"{"productId":"1","quantity":null}"#, "quantity"),
        (r#"{"productId":"1","quantity":1e9}"#, "quantity"),
        (r#"{"productId":"1","quantity":1000001}"#, "quantity"),
        (r#"{"productId":"1","quantity":9223372036854775808}"#, "quantity"),
        (r#"{"productId":"1","quantity":99999999999999999999999999}"#, "quantity"),
        (r#"{"productId":"1","quantity":1,"quantity":2}"#, "quantity"),
        (r#"{"productId":"1","quantity":1,"productId":"2"}"#, "productId"),
        (r#"{}"#, "productId"),
    ];
    for (body, field) in cases {
        alice.post_text(body).await.refused(field);
    }
    assert_eq!(files.orders_and_outbox().await, (0, 0));
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_refused_as_a_whole() {
    let (files, _app, alice) = alone_with_alice().await;
    let deep = format!(r#"{{"productId":{}"1","quantity":1}}"#, "[".repeat(10_000));
    let bodies = ["", "{", "[]", "null", "1", "\"x\"", r#"{"productId":"1","quantity":1}}"#, "\u{0}", &deep];
    for body in bodies {
        let detail = alice.post_text(body).await.refused("body");
        assert!(detail.starts_with("body must be one JSON object: "), "{body:.40}: {detail}");
    }
    let detail = alice.post_text("[]").await.problem(400);
    assert!(detail.contains("invalid type: sequence, expected a JSON object"), "{detail}");
    assert_eq!(alice.place("1", 1).await.len(), 36, "the service still accepts orders");
    assert_eq!(files.look().orders().await, 1);
}

#[tokio::test]
async fn a_wrong_path_method_or_media_type_is_told_as_such() {
    let (_files, _app, alice) = alone_with_alice().await;
    alice.get("/order").await.problem(404);
    alice.get("/orders/a/b").await.problem(404);
    alice.get("/docs/a").await.problem(404);
    for (method, path, allowed) in [
        (Method::DELETE, "/orders", vec!["GET", "HEAD", "POST"]),
        (Method::PUT, "/orders/1", vec!["GET", "HEAD"]),
        (Method::POST, "/livez", vec!["GET", "HEAD"]),
    ] {
        let answer = answer_to(alice.request(method, path)).await;
        answer.problem(405);
        let mut found: Vec<&str> = answer.header("allow").split(',').map(str::trim).collect();
        found.sort_unstable();
        assert_eq!(found, allowed, "{path}");
    }
    let body = r#"{"productId":"1","quantity":1}"#;
    for media_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""] {
        let request = alice.request(Method::POST, "/orders").header("Content-Type", media_type).body(body);
        answer_to(request).await.problem(415);
    }
    answer_to(alice.request(Method::POST, "/orders").body(body)).await.problem(415);
    let spelled =
        alice.request(Method::POST, "/orders").header("Content-Type", "Application/JSON; charset=utf-8");
    assert_eq!(answer_to(spelled.body(body)).await.status, 201);
}

#[tokio::test]
async fn an_encoded_body_is_refused_as_such_and_a_byte_order_mark_is_passed_over() {
    const ORDER: &[u8] = br#"{"productId":"1","quantity":1}"#;
    // What `printf '{"productId":"1","quantity":1}' | gzip` writes.
    const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xabV*(\xcaO)M.\xf1LQ\xb2R2T\xd2Q*,M\xcc+\xc9,\xa9T\xb22\xac\x05\x00\x87\xa5>)\x1e\x00\x00\x00";
    let (files, app, alice) = alone_with_alice().await;
    let post = async |body: &[u8], encodings: &[&str]| {
        let mut request = alice.request(Method::POST, "/orders").header("Content-Type", "application/json");
        for encoding in encodings {
            request = request.header("Content-Encoding", *encoding);
        }
        answer_to(request.body(body.to_vec())).await
    };
    for (body, encodings) in [
        (GZIP, &["gzip"][..]),
        (ORDER, &["gzip"]),
        (ORDER, &["br"]),
        (ORDER, &["identity, gzip"]),
        (ORDER, &["identity", "gzip"]),
        (ORDER, &[""]),
    ] {
        let answer = post(body, encodings).await;
        assert!(answer.problem(415).contains("Content-Encoding"), "{encodings:?}: {answer:?}");
        assert_eq!(answer.header("accept-encoding"), "identity", "{encodings:?}");
    }
    assert_eq!(files.look().orders().await, 0);
    assert_eq!(post(ORDER, &["Identity"]).await.status, 201);
    assert_eq!(post(&[b"\xef\xbb\xbf", ORDER].concat(), &[]).await.status, 201);
    post(&[b"\xef\xbb\xbf\xef\xbb\xbf", ORDER].concat(), &[]).await.problem(400);
    app.stop().await;
}

#[tokio::test]
async fn a_body_of_more_than_16_kilobytes_is_refused_with_and_without_a_length() {
    let (files, app, alice) = alone_with_alice().await;
    let padded = |size: usize| format!("{:size$}", r#"{"productId":"1","quantity":1}"#);
    alice.post_text(&padded(17 * 1024)).await.problem(413);
    assert_eq!(alice.post_text(&padded(16 * 1024)).await.status, 201, "exactly the limit");

    let head = post_head() + "Connection: close\r\n";
    let chunk = padded(17 * 1024);
    let chunked =
        format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{chunk}\r\n0\r\n\r\n", chunk.len());
    let answer = exchange(&app.url, chunked).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("application/problem+json") && answer.ends_with('}'), "{answer}");
    // A client that only announces the size is told before it sends anything.
    let answer = exchange(&app.url, format!("{head}Content-Length: 1000000000\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.ends_with('}'), "{answer}");
    assert_eq!(files.look().orders().await, 1);
}

#[tokio::test]
async fn a_body_that_never_arrives_is_not_waited_for() {
    let (files, app) = alone(&[]).await;
    let half = post_head() + "Content-Length: 30\r\n\r\n{\"productId\"";
    let answer = exchange(&app.url, half).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.ends_with('}'), "{answer}");
    assert_eq!(files.look().orders().await, 0);
}

#[tokio::test]
async fn the_probes_and_metrics_need_no_token() {
    let (_files, app) = alone(&[]).await;
    let nobody = app.caller("");
    for path in ["/livez", "/healthz", "/readyz", "/metrics"] {
        assert_eq!(nobody.get(path).await.status, 200, "{path}");
    }
    let (status, body) = app.readiness().await;
    assert_eq!(status, 200, "ready to accept although no broker is there");
    let expected = serde_json::json!({"status": "ready", "database": "writable", "broker": "unreachable"});
    assert_eq!(body, expected);
}
