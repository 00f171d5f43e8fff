//! Who may not come in.

use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use ring::hmac;
use serde_json::{Value, json};
use shared::clock::now_ms;

use crate::fixture::signer::{hmac_token, hmac_token_with};
use crate::fixture::{Files, NO_BROKER, SECRET, alone, answer_to, start};

fn signed(secret: &str, claims: Value) -> String {
    hmac_token(json!({"alg": "HS256"}), secret.as_bytes(), &claims)
}

#[tokio::test]
async fn a_token_that_does_not_verify_is_refused_and_stores_nothing() {
    let (files, app) = alone(&[]).await;
    let now = now_ms() / 1000;
    let hs256 = |claims| signed(SECRET, claims);
    let good = hs256(json!({"sub": "alice"}));
    let (head_and_claims, signature) = good.rsplit_once('.').unwrap();
    let cases = [
        ("empty", String::new()),
        ("garbage", "garbage".to_owned()),
        ("three parts of garbage", "a.b.c".to_owned()),
        // {"alg":"none","typ":"JWT"} . {"sub":"alice"} . nothing
        ("alg none", "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJhbGljZSJ9.".to_owned()),
        ("no signature", format!("{head_and_claims}.")),
        ("another user's claims", {
            let other = hs256(json!({"sub": "bob"}));
            format!("{}.{signature}", other.rsplit_once('.').unwrap().0)
        }),
        ("wrong secret", signed("another-secret-of-more-than-32-bytes", json!({"sub": "a"}))),
        (
            "HS512",
            hmac_token_with(
                hmac::HMAC_SHA512,
                json!({"alg": "HS512"}),
                SECRET.as_bytes(),
                &json!({"sub": "alice"}),
            ),
        ),
        (
            "HS384",
            hmac_token_with(
                hmac::HMAC_SHA384,
                json!({"alg": "HS384"}),
                SECRET.as_bytes(),
                &json!({"sub": "alice"}),
            ),
        ),
        ("expired", hs256(json!({"sub": "alice", "exp": now - 60}))),
        ("exp as a string", hs256(json!({"sub": "alice", "exp": (now + 60).to_string()}))),
        ("not yet valid", hs256(json!({"sub": "alice", "nbf": now + 60}))),
        ("no sub", hs256(json!({"username": "alice"}))),
        ("empty sub", hs256(json!({"sub": ""}))),
        ("sub of 256 characters", hs256(json!({"sub": "a".repeat(256)}))),
        ("10 KB", hs256(json!({"sub": "alice", "filler": "x".repeat(10 * 1024)}))),
    ];
    for (name, token) in cases {
        let caller = app.caller(&token);
        for answer in [caller.post("1", 1).await, caller.get("/orders").await] {
            let detail = answer.problem(401);
            assert_eq!(answer.header("www-authenticate"), "Bearer", "{name}");
            assert!(token.is_empty() || !detail.contains(&token), "{name}: {detail}");
        }
    }
    assert_eq!(files.look().orders().await, 0);
    assert_eq!(app.caller(&good).post("1", 1).await.status, 201);
}

#[tokio::test]
async fn a_request_without_exactly_one_bearer_token_is_refused() {
    let (_files, app) = alone(&[]).await;
    let good = signed(SECRET, json!({"sub": "alice"}));
    let send = async |values: &[String]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        answer_to(app.http.request(Method::GET, format!("{}/orders", app.url)).headers(headers)).await
    };
    let bearer = format!("Bearer {good}");
    for values in
        [vec![], vec![good.clone()], vec![format!("Basic {good}")], vec![bearer.clone(), bearer.clone()]]
    {
        let answer = send(&values).await;
        answer.problem(401);
        assert_eq!(answer.header("www-authenticate"), "Bearer", "{values:?}");
    }
    assert_eq!(send(&[format!("bEARER {good}")]).await.status, 200, "the scheme is case-insensitive");
}

#[tokio::test]
async fn a_token_without_exp_is_refused_only_where_exp_is_required() {
    let (lax_files, strict_files) = (Files::new(), Files::new());
    let lax = start(&lax_files, NO_BROKER, &[]).await;
    let strict = start(&strict_files, NO_BROKER, &["--jwt-require-exp"]).await;
    let token = signed(SECRET, json!({"sub": "someUserId", "username": "testuser"}));
    assert_eq!(lax.caller(&token).post("1", 1).await.status, 201);
    let refused = strict.caller(&token).post("1", 1).await;
    assert!(refused.problem(401).contains("claim exp"), "{refused:?}");
    assert_eq!(strict.user("someUserId").post("1", 1).await.status, 201);
}
