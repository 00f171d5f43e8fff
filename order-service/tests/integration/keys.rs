//! One key, one algorithm: which tokens it lets in.

use std::fs;

use serde_json::{Value, json};
use shared::clock::now_ms;

use crate::fixture::signer::{Signer, hmac_token, token};
use crate::fixture::{App, Files, NO_BROKER, SECRET, alone, start};

/// A service that verifies with the public key of `signer`; `flags` are added.
async fn app_of(signer: &Signer, files: &Files, flags: &[&str]) -> App {
    let path = files.path("public.pem");
    fs::write(&path, signer.public_pem()).unwrap();
    let all = [&["--jwt-public-key-file", path.to_str().unwrap()], flags].concat();
    start(files, NO_BROKER, &all).await
}

/// What the service says to a token that must be refused.
async fn refusal(app: &App, name: &str, token: &str) -> String {
    let answer = app.caller(token).get("/orders").await;
    assert_eq!(answer.status, 401, "{name}: {answer:?}");
    assert_eq!(answer.header("www-authenticate"), "Bearer", "{name}");
    answer.problem(401)
}

async fn accepted(app: &App, token: &str) {
    let answer = app.caller(token).post("1", 1).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

fn alice() -> Value {
    json!({"sub": "alice", "exp": now_ms() / 1000 + 60})
}

#[tokio::test]
async fn a_token_signed_with_the_private_key_is_accepted_for_both_kinds_of_key() {
    for signer in [Signer::ed25519(), Signer::rsa()] {
        let files = Files::new();
        let app = app_of(&signer, &files, &[]).await;
        accepted(&app, &signer.token(&alice())).await;
        refusal(&app, "expired", &signer.token(&json!({"sub": "alice", "exp": now_ms() / 1000 - 60}))).await;
        let other = if let Signer::Rsa(_) = signer { Signer::other_rsa() } else { Signer::ed25519() };
        let detail = refusal(&app, "somebody else's key", &other.token(&alice())).await;
        assert!(detail.contains("signature"), "{detail}");
        assert_eq!(files.look().orders().await, 1);
    }
}

#[tokio::test]
async fn each_key_accepts_only_its_own_algorithm() {
    let (ed25519, rsa) = (Signer::ed25519(), Signer::rsa());
    for (signer, own) in [(&ed25519, "EdDSA"), (&rsa, "RS256")] {
        let files = Files::new();
        let app = app_of(signer, &files, &[]).await;
        let pem = signer.public_pem();
        let lines: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let mut tokens = vec![
            ("HS256 with the PEM file", hmac_token(json!({"alg": "HS256"}), pem.as_bytes(), &alice())),
            ("HS256 with its text", hmac_token(json!({"alg": "HS256"}), pem.trim().as_bytes(), &alice())),
            ("HS256 with its base64", hmac_token(json!({"alg": "HS256"}), lines.as_bytes(), &alice())),
            ("HS512", hmac_token(json!({"alg": "HS512"}), pem.as_bytes(), &alice())),
            ("ES256", hmac_token(json!({"alg": "ES256"}), pem.as_bytes(), &alice())),
            ("RS512", rsa.rsa_token("RS512", &alice())),
            ("PS256", rsa.rsa_token("PS256", &alice())),
        ];
        tokens.push(if own == "EdDSA" {
            ("RS256", rsa.token(&alice()))
        } else {
            ("EdDSA", ed25519.token(&alice()))
        });
        for (name, token) in tokens {
            let detail = refusal(&app, name, &token).await;
            assert_eq!(detail, format!("the token must be signed with {own}"), "{name} for {own}");
        }
        refusal(&app, "none", &token(json!({"alg": "none"}), &alice(), |_| Vec::new())).await;
        refusal(&app, "None", &token(json!({"alg": "None"}), &alice(), |_| Vec::new())).await;
        let forged = hmac_token(json!({"alg": own}), pem.as_bytes(), &alice());
        assert!(refusal(&app, "a forged signature", &forged).await.contains("signature"));
        // A key in the header is no key.
        let own_key = json!({"alg": own, "jwk": {"kty": "oct", "k": "AAAA"}, "jku": "http://127.0.0.1:1/"});
        refusal(&app, "a key of its own", &hmac_token(own_key, &[0; 3], &alice())).await;
        assert_eq!(files.look().orders().await, 0);
    }
}

#[tokio::test]
async fn a_secret_accepts_only_hs256_and_no_extension_that_must_be_understood() {
    let (_files, app) = alone(&[]).await;
    for signer in [Signer::ed25519(), Signer::rsa()] {
        let detail = refusal(&app, "a public key's algorithm", &signer.token(&alice())).await;
        assert_eq!(detail, "the token must be signed with HS256");
    }
    let critical = json!({"alg": "HS256", "crit": ["b64"], "b64": false});
    let detail = refusal(&app, "crit", &hmac_token(critical, SECRET.as_bytes(), &alice())).await;
    assert!(detail.contains("crit"), "{detail}");
    accepted(&app, &hmac_token(json!({"alg": "HS256"}), SECRET.as_bytes(), &alice())).await;
}

#[tokio::test]
async fn issuer_and_audience_are_checked_when_set() {
    let (_files, app) = alone(&["--jwt-issuer", "us", "--jwt-audience", "orders"]).await;
    let signed = |claims: &Value| hmac_token(json!({"alg": "HS256"}), SECRET.as_bytes(), claims);
    for (claims, named) in [
        (json!({"sub": "alice", "aud": "orders"}), "claim iss"),
        (json!({"sub": "alice", "iss": "them", "aud": "orders"}), "claim iss"),
        (json!({"sub": "alice", "iss": "", "aud": "orders"}), "claim iss"),
        (json!({"sub": "alice", "iss": null, "aud": "orders"}), "claim iss"),
        (json!({"sub": "alice", "iss": ["us"], "aud": "orders"}), "iss"),
        (json!({"sub": "alice", "iss": 7, "aud": "orders"}), "iss"),
        (json!({"sub": "alice", "iss": "us"}), "claim aud"),
        (json!({"sub": "alice", "iss": "us", "aud": "others"}), "claim aud"),
        (json!({"sub": "alice", "iss": "us", "aud": "orders2"}), "claim aud"),
        (json!({"sub": "alice", "iss": "us", "aud": []}), "claim aud"),
        (json!({"sub": "alice", "iss": "us", "aud": ["a", "b"]}), "claim aud"),
        (json!({"sub": "alice", "iss": "us", "aud": 7}), "aud"),
        (json!({"sub": "alice", "iss": "us", "aud": {"orders": true}}), "aud"),
        (json!({"sub": "alice", "iss": "us", "aud": ["orders", 7]}), "aud"),
    ] {
        let detail = refusal(&app, &claims.to_string(), &signed(&claims)).await;
        assert!(detail.contains(named), "{claims}: {detail}");
    }
    accepted(&app, &signed(&json!({"sub": "alice", "iss": "us", "aud": "orders"}))).await;
    accepted(&app, &signed(&json!({"sub": "alice", "iss": "us", "aud": ["other", "orders"]}))).await;

    // Without the settings both claims are free, as long as they are what RFC 7519 says.
    let lax_files = Files::new();
    let lax = start(&lax_files, NO_BROKER, &["--jwt-issuer", "", "--jwt-audience", ""]).await;
    accepted(&lax, &signed(&json!({"sub": "alice", "iss": "anybody", "aud": "anything"}))).await;
    accepted(&lax, &signed(&json!({"sub": "alice", "aud": []}))).await;
    refusal(&lax, "iss", &signed(&json!({"sub": "alice", "iss": 7}))).await;
    refusal(&lax, "aud", &signed(&json!({"sub": "alice", "aud": 7}))).await;
}
