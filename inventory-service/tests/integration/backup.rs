//! The `backup` command of the inventory, while it decides.

use testing::{Broker, wait_until};

use crate::fixture::{Home, Publisher};

/// Orders that are decided meanwhile.
const ORDERS: usize = 4_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_made_while_orders_are_decided_explains_its_stock_and_opens_in_a_new_place() {
    let broker = Broker::start().await;
    let home = Home::at(&broker);
    let seed = home.write("seed.json", r#"[{"productId":"1","stock":3000},{"productId":"2","stock":0}]"#);
    let inventory = home.start(&["--seed-file", &seed]).await;
    inventory.until_broker_is("connected").await;
    let publisher = Publisher::order(&broker).await;
    let publishing = tokio::spawn(async move { publisher.backlog("order", ORDERS).await });
    wait_until("it decides", async || home.reservations().await > 0).await;

    let copy = Home::without_broker();
    home.back_up_to(&copy).await;
    copy.audit().await;
    let decided = copy.reservations().await;
    assert!(decided > 0);

    publishing.await.unwrap();
    home.until_reservations_are(ORDERS).await;
    home.close(inventory).await;
    assert_eq!(copy.reservations().await, decided, "the copy is nobody's but its own");
    let restored = copy.start(&["--seed-file", &seed]).await;
    let stock = copy.stock("1").await;
    assert_eq!(restored.json("/inventory/1").await["stock"], stock);
    copy.close(restored).await;
}
