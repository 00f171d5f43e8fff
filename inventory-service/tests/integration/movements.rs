//! The list of what moved a product's stock.

use serde_json::{Value, json};
use testing::service::run_sql;

use crate::fixture::{Caller, Home, Publisher, alone, connected, ends, order};

/// Orders before the first page, and then before each further one.
const ORDERS: usize = 100;

fn deltas(page: &[Value]) -> i64 {
    page.iter().map(|movement| movement["delta"].as_i64().unwrap()).sum()
}

/// The movements of a page, and the path of the next one.
async fn page(keeper: &Caller, path: &str) -> (Vec<Value>, Option<String>) {
    let answer = keeper.get(path).await;
    (answer.list().to_vec(), answer.next_page())
}

/// All movements, page by page, from this path on; `between` happens before each further page.
async fn all(keeper: &Caller, path: &str, mut between: impl AsyncFnMut()) -> Vec<Value> {
    let (mut movements, mut next) = page(keeper, path).await;
    while let Some(path) = next {
        between().await;
        let (more, after) = page(keeper, &path).await;
        assert!(!more.is_empty(), "a next page has something");
        movements.extend(more);
        assert!(movements.len() < 2_000, "pages that never end");
        next = after;
    }
    movements
}

/// What identifies a movement.
fn name(movement: &Value) -> String {
    format!("{} {}", movement["orderId"], movement["adjustmentId"])
}

#[tokio::test]
async fn movements_add_up_to_the_stock() {
    let (broker, home, inventory) = connected().await;
    let (publisher, mut observer) = ends(&broker).await;
    let keeper = inventory.keeper("kim");
    let orders = [("a", 3), ("refused", 9), ("b", 7)];
    for (id, quantity) in orders {
        publisher.publish(order(id, "1", quantity)).await;
        observer.next().await;
    }
    publisher.publish(order("elsewhere", "2", 1)).await;
    observer.next().await;
    keeper.restock("1", 40).await;
    keeper.put("1", 38, "two are broken").await;
    publisher.publish(order("c", "1", 8)).await;
    observer.next().await;

    let (movements, next) = page(&keeper, "/inventory/1/movements").await;
    assert_eq!(next, None);
    let pair = |movement: &Value| (movement["kind"].clone(), movement["delta"].as_i64().unwrap());
    let newest_first: Vec<_> = movements.iter().map(pair).collect();
    let expected = [
        ("reservation", -8),
        ("correction", -2),
        ("restock", 40),
        ("reservation", -7),
        ("reservation", -3),
        ("seed", 10),
    ];
    let expected = expected.map(|(kind, delta)| (json!(kind), delta));
    assert_eq!(newest_first, expected, "a refused order moved nothing");
    assert_eq!(deltas(&movements), home.stock("1").await);
    let at = |number: usize| movements[number]["at"].clone();
    let reservation = json!({"kind": "reservation", "delta": -8, "at": at(0), "orderId": "c"});
    assert_eq!(movements[0], reservation);
    let correction = json!({"kind": "correction", "delta": -2, "at": at(1), "adjustmentId": 4,
        "reason": "two are broken", "userId": "kim", "stockAfter": 38});
    assert_eq!(movements[1], correction);
    let seed = json!({"kind": "seed", "delta": 10, "at": at(5), "adjustmentId": 1, "reason": "first stock",
        "stockAfter": 10});
    assert_eq!(movements[5], seed);
    for limit in 1..=6 {
        let pages = keeper.pages(&format!("/inventory/1/movements?limit={limit}")).await;
        assert_eq!(pages, movements, "{limit} a page");
    }
    home.close(inventory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn movements_are_stable_while_orders_arrive() {
    let (broker, home, inventory) = connected().await;
    let keeper = inventory.keeper("kim");
    keeper.put("1", 1_000_000, "plenty").await;
    let publisher = Publisher::order(&broker).await;
    let mut decided = 0;
    let mut more = async || {
        publisher.backlog(&format!("order-{decided}"), ORDERS).await;
        keeper.restock("1", 1).await;
        decided += ORDERS;
        home.until_reservations_are(decided).await;
    };
    for _ in 0..3 {
        more().await;
    }
    let (before, next) = page(&keeper, "/inventory/1/movements?limit=200").await;
    let mut before = before;
    before.extend(page(&keeper, &next.unwrap()).await.0);
    let there: Vec<String> = before.iter().map(name).collect();
    assert_eq!(there.len(), 3 * ORDERS + 3 + 2, "all that moved it so far");

    // Many orders of one batch share their millisecond, and pages end in the middle of them.
    let read = all(&keeper, "/inventory/1/movements?limit=70", more).await;
    let read: Vec<String> = read.iter().map(name).collect();
    assert_eq!(read, there, "exactly what was there at the first page, each once, in the same order");
    home.close(inventory).await;
}

/// Gives a product 6 restocks in two milliseconds, and sells from it in the same two.
async fn many_in_one_millisecond(home: &Home) {
    let database = home.database().await;
    let data = "
        INSERT INTO products (id, stock) VALUES ('pen', 90);
        INSERT INTO adjustments (product_id, kind, delta, reason, created_at)
            SELECT 'pen', 'restock', 20, 'restock', 1000 + value / 4 FROM json_each('[0,1,2,3,4,5]');
        INSERT INTO reservations
            SELECT 'o-' || value, 'pen', 5, 'confirmed', NULL, 1000 + value / 5, '' FROM json_each('[0,1,2,3,4,5]');";
    run_sql(database, data).await;
}

#[tokio::test]
async fn movements_of_one_millisecond_are_each_on_one_page() {
    let home = Home::without_broker();
    home.start(&[]).await.stop().await;
    many_in_one_millisecond(&home).await;
    let inventory = home.start(&[]).await;
    let keeper = inventory.keeper("kim");
    let (movements, _) = page(&keeper, "/inventory/pen/movements").await;
    assert_eq!((movements.len(), deltas(&movements)), (12, 90));
    for limit in 1..=12 {
        let pages = keeper.pages(&format!("/inventory/pen/movements?limit={limit}")).await;
        assert_eq!(pages, movements, "{limit} a page");
    }
    home.audit().await;
}

#[tokio::test]
async fn movements_are_for_stock_keepers_and_of_known_products_only() {
    let (_home, inventory) = alone().await;
    inventory.caller("").get("/inventory/1/movements").await.problem(401);
    inventory.user("alice").get("/inventory/1/movements").await.problem(403);
    let keeper = inventory.keeper("kim");
    for path in ["/inventory/unknown/movements", "/inventory/%FF/movements", "/inventory/%00/movements"] {
        keeper.get(path).await.problem(404);
    }
    for (query, field) in
        [("limit=0", "limit"), ("limit=201", "limit"), ("cursor=x", "cursor"), ("page=2", "page")]
    {
        keeper.get(&format!("/inventory/1/movements?{query}")).await.refused(field);
    }
    assert_eq!(page(&keeper, "/inventory/1/movements").await.0.len(), 1);
}
