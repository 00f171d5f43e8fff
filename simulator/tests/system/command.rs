//! `sim load` and `sim check` as a user runs them, against a topology that is up.

use std::path::Path;

use serde_json::json;
use tokio::process::Command;

use crate::client::topology;

/// Runs `sim`, which must succeed; its standard output. Nothing else is printed where nobody looks at a
/// terminal.
async fn sim(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_sim")).args(args).output().await.unwrap();
    let (printed, errors) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{args:?}: {printed}{errors}");
    assert_eq!(errors, "");
    printed
}

async fn check(folder: &Path, answers: &str) -> serde_json::Value {
    let (order, inventory) = (folder.join("order.db"), folder.join("inventory.db"));
    let (order, inventory) = (order.to_str().unwrap(), inventory.to_str().unwrap());
    let flags = ["check", "--order-db", order, "--inventory-db", inventory, "--answers", answers, "--json"];
    serde_json::from_str(&sim(&flags).await).unwrap()
}

#[tokio::test]
async fn a_load_on_a_running_topology_is_recorded_and_can_be_checked_while_it_runs() {
    let (mut topology, folder) = topology(json!([{"productId": "1", "stock": 100}])).await;
    let answers = folder.path().join("answers");
    let (answers, url) = (answers.to_str().unwrap(), topology.order_url());
    let load = ["load", "--target", &url, "--rate", "400", "--count", "200", "--seed", "3", "--users", "2"];
    let load = [&load[..], &["--unknown", "0.2", "--answers", answers]].concat();
    let printed = sim(&load).await;
    for line in ["seed             3", "accepted         200", "unsettled        0", "orders_pending   0"] {
        assert!(printed.lines().any(|found| found == line), "{line:?} is not in\n{printed}");
    }
    let report = check(folder.path(), answers).await;
    assert_eq!((&report["clean"], &report["orders"]), (&json!(true), &json!(200)), "{report}");
    let others = &report["invariants"][8]["notChecked"];
    assert!(others.as_str().unwrap().contains("others place orders"), "{report}");

    // The same seed on the same database means the same keys, and so the same orders.
    sim(&load).await;
    assert_eq!(check(folder.path(), answers).await["orders"], json!(200));
    topology.stop().await.unwrap();
}
