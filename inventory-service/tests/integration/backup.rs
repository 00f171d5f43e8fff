//! The `backup` command of the inventory, while it decides.

use testing::{Broker, wait_until};

use crate::bus::Publisher;
use crate::fixture::Home;

/// Orders that are decided meanwhile.
const ORDERS: usize = 4_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_made_while_orders_are_decided_explains_its_stock_and_opens_in_a_new_place() {
    let broker = Broker::start().await;
    let home = Home::at(&broker);
    let seed = home.write("seed.json", r#"[{"productId":"1","stock":3000},{"productId":"2","stock":0}]"#);
    let inventory = home.start(&["--seed-file", &seed]).await;
    inventory.until_broker_is("connected").await;
    let publisher = Publisher::new(&broker).await;
    let publishing = tokio::spawn(async move { publisher.backlog("order", ORDERS).await });
    wait_until("it decides", async || home.reservations().await > 0).await;

    let copy = Home::without_broker();
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_inventory-service"));
    command.env_clear().env("DATABASE", home.path("inventory.db"));
    let output = command.arg("backup").arg(copy.path("inventory.db")).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    copy.audit().await;
    let decided = copy.reservations().await;
    assert!(decided > 0);

    publishing.await.unwrap();
    wait_until("everything is decided", async || home.reservations().await == ORDERS as i64).await;
    inventory.stop().await;
    home.audit().await;
    assert_eq!(copy.reservations().await, decided, "the copy is nobody's but its own");
    let restored = copy.start(&["--seed-file", &seed]).await;
    let stock = copy.stock("1").await;
    assert_eq!(restored.json("/inventory/1").await["stock"], stock);
    restored.stop().await;
    copy.audit().await;
}
