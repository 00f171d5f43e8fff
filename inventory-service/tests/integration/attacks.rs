//! The edge under attack: the same server code as the order service's, on the inventory's own routes.

use reqwest::{Client, Method};
use testing::service::raw::{exchange, statuses};

use crate::fixture::{alone, answer_to, token};

#[tokio::test]
async fn raw_attacks_on_the_inventory_are_refused_and_never_hide_a_second_request() {
    let (home, inventory) = alone().await;
    let get = |path: &str, headers: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n")
    };
    let hidden = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
    // Without `Connection: close`, so that the service would answer what it took for a second request.
    let with_body = |headers: &str, body: &str| {
        format!("GET /inventory HTTP/1.1\r\nHost: x\r\n{headers}\r\n{body}{hidden}")
    };
    let many: String = (0..100).map(|number| format!("X-{number}: y\r\n")).collect();
    let large = format!("X: {}\r\n", "y".repeat(100 * 1024));
    let cases = [
        (with_body("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), "200"),
        (with_body("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), "200"),
        (with_body("Content-Length: 5\r\nContent-Length: 6\r\n", "12345"), "400"),
        (with_body("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n"), "400"),
        (with_body("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), "400"),
        (with_body("X: a\0b\r\n", ""), "400"),
        (get("/inventory", &many), "431"),
        (get("/inventory", &large), "431"),
        (get(&format!("/inventory/{}", "a".repeat(100 * 1024)), ""), "431"),
        (get("/inventory/%00", ""), "404"),
        (get("/inventory/%2e%2e%2flivez", ""), "404"),
        (get("/inventory/../livez", ""), "404"),
        (get("/inventory/1%00", ""), "404"),
        (get("/inventory/%ff", ""), "404"),
        (get("/inventory/%zz", ""), "404"),
        ("GET /inventory HTTP/1.0\r\n\r\n".to_owned(), "200"),
    ];
    for (request, status) in cases {
        let received = exchange(&inventory.url, &request).await;
        assert_eq!(statuses(&received), [status], "{request:.200}: {received:.400}");
        assert!(!received.contains("alive"), "{request:.200}: {received}");
    }
    home.close(inventory).await;
}

#[tokio::test]
async fn a_hostile_body_from_a_stock_keeper_changes_nothing() {
    let (home, inventory) = alone().await;
    let put = |scope: &str, media_type: &str, rest: &str| {
        format!(
            "PUT /inventory/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
             Idempotency-Key: a\r\nContent-Type: {media_type}\r\n{rest}",
            token("alice", Some(scope))
        )
    };
    let sized = |body: &str| format!("Content-Length: {}\r\n\r\n{body}", body.len());
    let chunk = format!("4000\r\n{}\r\n", " ".repeat(0x4000));
    let chunked = format!("Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(64));
    let stolen = r#"{"stock":1000000,"reason":"x"}"#;
    let (keeper, json) = ("inventory:write", "application/json");
    let cases = [
        (put("orders", json, &sized(stolen)), "403"),
        (put("inventory:writer", json, &sized(stolen)), "403"),
        (put(keeper, "text/plain", &sized(stolen)), "415"),
        (put(keeper, json, &sized(&" ".repeat(1024 * 1024))), "413"),
        (put(keeper, json, &chunked), "413"),
        (put(keeper, json, &sized(&"[".repeat(10_000))), "400"),
        (put(keeper, json, &sized(&stolen[1..])), "400"),
        (put(keeper, json, &sized(&stolen.replace("reason", "delta"))), "400"),
        (put(keeper, json, &format!("Content-Length: 1000\r\n\r\n{stolen}")), "408"),
    ];
    for (request, status) in cases {
        let received = exchange(&inventory.url, &request).await;
        assert_eq!(statuses(&received), [status], "{request:.400}: {received:.400}");
        assert!(received.contains("application/problem+json"), "{received}");
    }
    assert_eq!(home.stock("1").await, 10);
    home.close(inventory).await;
}

#[tokio::test]
async fn every_answer_of_the_inventory_has_the_security_headers() {
    let (_home, inventory) = alone().await;
    let client = Client::new();
    let [user, admin] = ["orders", "admin"].map(|scope| token("alice", Some(scope)));
    let cases = [
        (Method::GET, "/inventory", "", 200),
        (Method::GET, "/inventory/1", "", 200),
        (Method::HEAD, "/inventory", "", 200),
        (Method::GET, "/readyz", "", 200),
        (Method::GET, "/metrics", "", 200),
        (Method::GET, "/inventory/3", "", 404),
        (Method::GET, "/nowhere", "", 404),
        (Method::DELETE, "/inventory", "", 405),
        (Method::GET, "/admin/dead-letters", "", 401),
        (Method::GET, "/admin/dead-letters", "garbage", 401),
        (Method::GET, "/admin/dead-letters", &user, 403),
        (Method::POST, "/admin/adopt", &user, 403),
        (Method::GET, "/admin/dead-letters", &admin, 200),
        (Method::GET, "/admin/dead-letters?limit=0", &admin, 400),
        (Method::GET, "/admin/dead-letters/1", &admin, 404),
        // The broker is away, and with it the consumer.
        (Method::POST, "/admin/adopt", &admin, 503),
    ];
    for (method, path, bearer, status) in cases {
        let request = client.request(method.clone(), inventory.at(path)).bearer_auth(bearer);
        let answer = answer_to(request).await;
        assert_eq!(answer.status, status, "{method} {path}");
        answer.assert_secured();
        if status >= 400 && method != Method::HEAD {
            answer.problem(status);
        }
    }
    inventory.stop().await;
}
