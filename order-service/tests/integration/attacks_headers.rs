//! What every answer tells a browser or a cache, whatever the answer is.

use reqwest::Method;
use serde_json::json;
use shared::http::auth::{ADMIN_SCOPE, Tokens};
use shared::settings::JwtSettings;
use tokio::task::JoinSet;

use crate::fixture::raw::{exchange, post_head};
use crate::fixture::signer::hmac_token;
use crate::fixture::{Answer, SECRET, alone, answer_to};

#[track_caller]
fn check(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    answer.assert_secured();
}

#[tokio::test]
async fn every_answer_has_the_security_headers() {
    let (files, app) = alone(&["--queue-size", "1"]).await;
    let alice = app.user("alice");
    let nobody = app.caller("");
    check(&alice.post("1", 1).await, 201);
    for path in ["/orders", "/livez", "/healthz", "/readyz", "/metrics"] {
        check(&alice.get(path).await, 200);
    }
    check(&answer_to(alice.request(Method::HEAD, "/orders")).await, 200);
    check(&alice.post_text("{").await, 400);
    check(&nobody.get("/orders").await, 401);
    check(&alice.get("/admin/dead-letters").await, 403);
    check(&alice.get("/nowhere").await, 404);
    check(&alice.get("/orders/x").await, 404);
    check(&answer_to(alice.request(Method::DELETE, "/orders")).await, 405);
    check(&alice.post_text(&" ".repeat(17 * 1024)).await, 413);
    check(&answer_to(alice.request(Method::POST, "/orders").body("{}")).await, 415);
    check(&alice.post_with_key("key", "1", 1).await, 201);
    check(&alice.post_with_key("key", "1", 2).await, 422);

    // As many POSTs as find no room while commits wait for the lock.
    let lock = files.hold_write_lock().await;
    let mut posts = JoinSet::new();
    for _ in 0..6 {
        let alice = alice.clone();
        posts.spawn(async move { alice.post("1", 1).await });
    }
    check(&posts.join_next().await.unwrap().unwrap(), 503);
    lock.release().await;
    posts.join_all().await;
}

#[tokio::test]
async fn what_is_refused_before_it_is_a_request_has_no_body_and_only_the_headers_of_http() {
    let (_files, app) = alone(&[]).await;
    let headers = "X: y\r\n".repeat(100);
    for (request, status) in [
        ("GET /livez HTTP/1.1\r\nX : y\r\n\r\n".to_owned(), "400 Bad Request"),
        (format!("GET /livez HTTP/1.1\r\n{headers}\r\n"), "431 Request Header Fields Too Large"),
    ] {
        let answer = exchange(&app.url, request).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        assert_eq!(lines.next(), Some(&*format!("HTTP/1.1 {status}")));
        let names: Vec<_> = lines.filter_map(|line| line.split(':').next()).collect();
        assert_eq!((names, body), (vec!["connection", "content-length", "date"], ""), "{answer}");
    }
}

#[tokio::test]
async fn an_admin_route_is_refused_to_every_token_without_the_exact_scope() {
    let (_files, app) = alone(&[]).await;
    let jwt_secret = Some(SECRET.into());
    let tokens = Tokens::new(&JwtSettings { jwt_secret, ..JwtSettings::default() }).unwrap();
    let routes = [
        (Method::GET, "/admin/dead-letters"),
        (Method::GET, "/admin/dead-letters/1"),
        (Method::POST, "/admin/dead-letters/redrive"),
        (Method::POST, "/admin/dead-letters/1/redrive"),
        (Method::DELETE, "/admin/dead-letters/1"),
        (Method::POST, "/admin/adopt"),
    ];
    let scopes = [
        None,
        Some(""),
        Some("Admin"),
        Some("admin2"),
        Some("xadmin"),
        Some("admin,orders"),
        Some("inventory:write"),
    ];
    for (method, path) in &routes {
        for scope in scopes {
            let token = tokens.sign("alice", scope, None).unwrap();
            let answer = answer_to(app.caller(&token).request(method.clone(), path)).await;
            answer.problem(403);
            assert_eq!(answer.header("www-authenticate"), "Bearer error=\"insufficient_scope\"");
        }
        let answer = answer_to(app.caller("").request(method.clone(), path)).await;
        answer.problem(401);
    }
    let admin = tokens.sign("root", Some(&format!("orders {ADMIN_SCOPE}")), None).unwrap();
    assert_eq!(app.caller(&admin).get("/admin/dead-letters").await.status, 200);
    // A scope that is no string is no scope.
    let listed = json!({"sub": "alice", "scope": ["admin"]});
    let forged = hmac_token(json!({"alg": "HS256"}), SECRET.as_bytes(), &listed);
    app.caller(&forged).get("/admin/dead-letters").await.problem(401);
    let twice = post_head().replace("POST /orders", "GET /orders");
    let line = twice.lines().find(|line| line.starts_with("Authorization")).unwrap().to_owned();
    let answer = exchange(&app.url, format!("{twice}Connection: close\r\n{line}\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "two tokens: {answer}");
}
