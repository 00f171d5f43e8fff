//! The first stock: applied once per product, and never again over real stock.

use serde_json::json;
use testing::Broker;

use crate::fixture::{Home, Observer, Publisher, body, confirmed, order};

#[tokio::test]
async fn a_seed_is_applied_once_per_product_and_never_over_real_stock() {
    let broker = Broker::start().await;
    let home = Home::at(&broker);
    let file = home.write("seed.json", r#"[{"productId":"pen","stock":20},{"productId":"ink","stock":0}]"#);
    let inventory = home.start(&["--seed-file", &file]).await;
    let seeded = json!([{"productId": "ink", "stock": 0}, {"productId": "pen", "stock": 20}]);
    assert_eq!(inventory.json("/inventory").await, seeded, "the built-in products are not added to a file's");
    inventory.until_broker_is("connected").await;
    let mut observer = Observer::of_answers(&broker).await;
    Publisher::order(&broker).await.publish(order("a", "pen", 8)).await;
    assert_eq!(body(&observer.next().await), confirmed("a"));
    inventory.stop().await;

    // The file says something else about known products, has lost one, and knows a new one.
    home.write("seed.json", r#"[{"productId":"pen","stock":500},{"productId":"cap","stock":7}]"#);
    for _ in 0..2 {
        let inventory = home.start(&["--seed-file", &file]).await;
        let expected = json!([
            {"productId": "cap", "stock": 7},
            {"productId": "ink", "stock": 0},
            {"productId": "pen", "stock": 12},
        ]);
        assert_eq!(inventory.json("/inventory").await, expected);
        inventory.stop().await;
    }
    let seeds = home.number("SELECT count(*) FROM adjustments WHERE kind = 'seed'").await;
    assert_eq!(seeds, 3, "one per product");
    assert_eq!(home.number("SELECT sum(delta) FROM adjustments").await, 27);
    home.audit().await;
}

#[tokio::test]
async fn without_a_seed_file_there_are_the_two_default_products() {
    let home = Home::without_broker();
    // An empty value is what a compose file passes for a variable that nobody has set.
    let inventory = home.start(&["--seed-file="]).await;
    let expected = json!([{"productId": "1", "stock": 10}, {"productId": "2", "stock": 5}]);
    assert_eq!(inventory.json("/inventory").await, expected);
    home.close(inventory).await;
}

#[tokio::test]
async fn a_seed_file_may_begin_with_a_byte_order_mark() {
    let home = Home::without_broker();
    let file = home.write("seed.json", "\u{feff}[{\"productId\":\"pen\",\"stock\":20}]\r\n");
    let inventory = home.start(&["--seed-file", &file]).await;
    assert_eq!(inventory.json("/inventory").await, json!([{"productId": "pen", "stock": 20}]));
    inventory.stop().await;
}

#[tokio::test]
async fn a_bad_seed_file_refuses_to_start_and_names_seed_file_and_the_rule() {
    let home = Home::without_broker();
    let missing = home.path("no-such.json").display().to_string();
    let error = home.refusal(&["--seed-file", &missing]).await;
    assert!(error.contains("SEED_FILE") && error.contains("no-such.json"), "{error}");
    let cases = [
        ("not json", "expected"),
        (r#"[{"productId":"a","stock":1.5}]"#, "floating point"),
        (r#"[{"productId":"a","stock":-1}]"#, "stock of product a must be from 0"),
        (r#"[{"productId":"a"}]"#, "missing field `stock`"),
        (r#"[{"productId":"a","stock":1},{"productId":"a","stock":1}]"#, "product a must be given once"),
    ];
    for (text, rule) in cases {
        let file = home.write("seed.json", text);
        let error = home.refusal(&["--seed-file", &file]).await;
        assert!(
            error.contains("SEED_FILE") && error.contains(&file) && error.contains(rule),
            "{text}: {error}"
        );
    }
    assert!(!home.path("inventory.db").exists(), "nothing was made before the file was read");
}
