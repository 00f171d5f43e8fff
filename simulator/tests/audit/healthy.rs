//! The databases of a small load on the real topology, made once for all tests of this binary.

use std::fs;
use std::path::Path;

use serde_json::json;
use shared::http::auth::INVENTORY_WRITE_SCOPE;
use shared::settings::DEMO_SECRET;
use simulator::answers::{Coverage, Recorder};
use simulator::binaries::Binaries;
use simulator::check;
use simulator::check::{Databases, Moment};
use simulator::load::plan::{Limit, LoadPlan, Mix, Pace};
use simulator::load::{Load, Target};
use simulator::topology::{Topology, TopologyConfig};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::copy::Copy;

/// What a copy consists of.
pub const FILES: [&str; 3] = ["order.db", "inventory.db", "answers"];

const ORDERS: u64 = 300;
/// More than one page of a list; the first three are sold.
const PRODUCTS: usize = 250;
/// Corrections made while orders are decided, and as many restocks.
const CHANGES: i64 = 10;

static CONTENTS: OnceCell<Vec<Vec<u8>>> = OnceCell::const_new();

/// The contents of [`FILES`].
pub async fn contents() -> &'static [Vec<u8>] {
    CONTENTS.get_or_init(make).await
}

async fn make() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    run_load(folder.path()).await;
    FILES.iter().map(|name| fs::read(folder.path().join(name)).unwrap()).collect()
}

/// Scarce stock and unknown products: every kind of decision is among the orders.
async fn run_load(folder: &Path) {
    let mix = Mix { products: 3, hot: 0.3, unknown: 0.1, users: 3, quantity_max: 3 };
    let plan = LoadPlan::new(7, Pace::Closed { connections: 8 }, Limit::Count(ORDERS), mix);
    let stock: Vec<_> = (1..=PRODUCTS).map(|id| json!({"productId": id.to_string(), "stock": 60})).collect();
    let config = TopologyConfig::in_folder(folder.to_owned(), Binaries::beside_test().unwrap()).unwrap();
    let mut topology = Topology::start(config.with_stock(&json!(stock)).unwrap()).await.unwrap();
    let mut target = Target::signed(&topology.order_url(), DEMO_SECRET, &plan.mix).unwrap();
    target.inventory_url = Some(topology.inventory_url());
    let recorder = Recorder::create(&folder.join("answers"), Coverage::Complete).unwrap();
    let load = Load::new(plan, target, Some(recorder.clone()));
    let watch = load.watch(Some(&topology.nats_url())).await.unwrap();
    let (going_on, inventory) = (CancellationToken::new(), topology.inventory_url());
    let (sent, ()) = tokio::join!(load.send(&going_on), change_stock(&inventory));
    sent.unwrap();
    assert_eq!(load.wait_until_settled(testing::DEADLINE).await, 0, "orders are not settled");
    drop(watch);
    recorder.finish().unwrap();
    let live = check::read(&Databases::in_folder(folder), Some(&folder.join("answers"))).await.unwrap();
    let live = check::audit(&live, Moment::Running);
    assert!(live.clean, "while the services run: {live}");
    topology.stop().await.unwrap();
}

/// Corrects and restocks product 3, which is sold meanwhile.
async fn change_stock(url: &str) {
    let token = processes::token::sign_with_scope(DEMO_SECRET, "kim", Some(INVENTORY_WRITE_SCOPE)).unwrap();
    let http = reqwest::Client::new();
    for number in 0..CHANGES {
        let correction =
            http.put(format!("{url}/inventory/3")).json(&json!({"stock": 20 + number, "reason": "counted"}));
        let restock = http.post(format!("{url}/inventory/3/restock")).json(&json!({"quantity": 2}));
        for request in [correction, restock] {
            assert_eq!(request.bearer_auth(&token).send().await.unwrap().status(), 200);
        }
    }
}

#[tokio::test]
async fn stock_that_people_changed_while_it_was_sold_is_explained_by_their_adjustments() {
    let copy = Copy::new().await;
    copy.clean_report(Moment::Final).await;
    for kind in ["correction", "restock"] {
        let made = copy.number(&format!("SELECT count(*) FROM adjustments WHERE kind = '{kind}'")).await;
        assert_eq!(made, CHANGES, "{kind}");
    }
    let newest = "SELECT max(id) FROM adjustments WHERE kind = 'restock'";
    copy.inventory(&format!("DELETE FROM adjustments WHERE id = ({newest})")).await;
    copy.assert_violates("I2 stock_equation", "product 3: ").await;
}

#[tokio::test]
async fn a_healthy_copy_has_no_violation() {
    let copy = Copy::new().await;
    let report = copy.clean_report(Moment::Final).await;
    assert!(report.invariants.iter().all(|finding| finding.not_checked.is_none()), "{report}");
    assert_eq!((report.orders, report.confirmed + report.cancelled), (ORDERS, ORDERS));
    assert!(report.confirmed > 0 && report.cancelled > 0, "{report}");
    assert_eq!((report.not_settled.count, report.set_aside.count, report.foreign.count), (0, 0, 0));
    assert_eq!((report.outbox_rows, report.dead_letters, report.unknown_outcomes), (0, 0, 0));
    let answered = copy.read().await.answered.unwrap();
    assert!(answered.observed.len() as u64 >= ORDERS, "{} orders were seen settled", answered.observed.len());
    assert_eq!(answered.lowest_stock.len(), PRODUCTS, "the stock of every product was read");
}

#[tokio::test]
async fn the_command_exits_with_1_exactly_when_something_is_violated() {
    let copy = Copy::new().await;
    let (status, report) = copy.command(&["--final", "--json"]);
    assert!(status.success(), "{report}");
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["clean"], &report["orders"]), (&json!(true), &json!(ORDERS)));

    copy.inventory("UPDATE products SET stock = stock + 1 WHERE id = '1'").await;
    let (status, report) = copy.command(&["--final", "--json"]);
    assert_eq!(status.code(), Some(1), "{report}");
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["clean"], &report["invariants"][1]["count"]), (&json!(false), &json!(1)));
    let (status, report) = copy.command(&[]);
    assert_eq!(status.code(), Some(1), "{report}");
    assert!(report.contains("I2 stock_equation        1\n"), "{report}");
    assert!(report.contains("I2 stock_equation: product 1: "), "{report}");
}
