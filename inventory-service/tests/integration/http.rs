//! What can be asked over HTTP, without a token and without a broker.

use reqwest::{Client, Method};
use serde_json::json;
use testing::families;

use crate::fixture::{Home, alone, answer_to};

#[tokio::test]
async fn stock_is_public_and_has_exactly_the_documented_form() {
    let (home, inventory) = alone().await;
    let all = inventory.get("/inventory").await;
    assert_eq!(all.status(), 200);
    assert_eq!(all.headers()["content-type"], "application/json");
    assert_eq!(all.text().await.unwrap(), r#"[{"productId":"1","stock":10},{"productId":"2","stock":5}]"#);
    let one = inventory.get("/inventory/2").await;
    assert_eq!(one.status(), 200);
    assert_eq!(one.text().await.unwrap(), r#"{"productId":"2","stock":5}"#);
    home.close(inventory).await;
}

#[tokio::test]
async fn products_are_listed_page_by_page_in_the_order_of_their_ids() {
    let home = Home::without_broker();
    let products: Vec<_> =
        (0..120).map(|number| json!({"productId": format!("p-{number:03}"), "stock": number})).collect();
    let file = home.write("seed.json", &json!(products).to_string());
    let inventory = home.start(&["--seed-file", &file]).await;
    for (query, pages) in [("", 3), ("?limit=7", 18), ("?limit=120", 1), ("?limit=200", 1)] {
        let (mut listed, mut read, mut next) = (Vec::new(), 0, Some(format!("/inventory{query}")));
        while let Some(path) = next {
            let answer = inventory.caller("").get(&path).await;
            listed.extend(answer.list().to_vec());
            next = answer.next_page();
            read += 1;
        }
        assert_eq!((listed.as_slice(), read), (products.as_slice(), pages), "{query}");
    }
    for (query, field) in
        [("limit=0", "limit"), ("limit=x", "limit"), ("cursor=%7B", "cursor"), ("page=1", "page")]
    {
        inventory.caller("").get(&format!("/inventory?{query}")).await.refused(field);
    }
}

#[tokio::test]
async fn a_product_id_is_found_verbatim_whatever_its_characters() {
    let home = Home::without_broker();
    let odd = "a/b c'; DROP TABLE products;-- ü";
    let file = home.write("seed.json", &json!([{"productId": odd, "stock": 3}]).to_string());
    let inventory = home.start(&["--seed-file", &file]).await;
    let path = "/inventory/a%2Fb%20c%27%3B%20DROP%20TABLE%20products%3B--%20%C3%BC";
    assert_eq!(inventory.json(path).await, json!({"productId": odd, "stock": 3}));
    assert_eq!(inventory.get("/inventory/%FF").await.status(), 404, "no text, no product");
}

#[tokio::test]
async fn what_is_not_there_is_answered_as_a_problem_with_the_requests_id() {
    let (_home, inventory) = alone().await;
    let client = Client::new();
    let cases = [
        (Method::GET, "/inventory/3", 404, "Not Found"),
        (Method::GET, "/nowhere", 404, "Not Found"),
        (Method::GET, "/inventory/1/", 404, "Not Found"),
        (Method::POST, "/inventory", 405, "Method Not Allowed"),
        (Method::DELETE, "/inventory/1", 405, "Method Not Allowed"),
        (Method::PUT, "/metrics", 405, "Method Not Allowed"),
    ];
    for (method, path, status, title) in cases {
        let request = client.request(method.clone(), inventory.at(path)).header("x-request-id", "test-1");
        let answer = answer_to(request).await;
        answer.problem(status);
        assert_eq!(answer.header("x-request-id"), "test-1");
        assert_eq!(answer.headers.contains_key("allow"), status == 405, "{method} {path}");
        assert_eq!(answer.body["title"], title, "{method} {path}");
    }
}

#[tokio::test]
async fn probes_and_metrics_tell_the_state_of_the_service() {
    let (_home, inventory) = alone().await;
    for path in ["/livez", "/healthz"] {
        assert_eq!(inventory.json(path).await, json!({"status": "alive"}));
    }
    let expected = json!({"status": "ready", "database": "writable", "broker": "unreachable"});
    assert_eq!(inventory.readiness().await, (200, expected), "ready while NATS is away");
    let metrics = inventory.get("/metrics").await;
    assert_eq!(metrics.headers()["content-type"], "text/plain; version=0.0.4");
    let metrics = metrics.text().await.unwrap();
    let build = format!(r#"service="inventory-service",version="{}""#, env!("CARGO_PKG_VERSION"));
    for line in [&build, "broker_connected ", "database_writable ", "outbox_rows "] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn every_metric_family_is_there_from_the_start_with_what_it_tells() {
    let (_home, inventory) = alone().await;
    let metrics = inventory.metrics().await;
    families::assert_all_described(&metrics, &["shared", "inventory-service"]);
    inventory.stop().await;
}
