//! A load whose services go away under it: it finds out what became of every order, and the auditor agrees.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use simulator::answers::{Coverage, Recorder};
use simulator::check;
use simulator::check::{Databases, Moment, Report};
use simulator::load::plan::{Limit, LoadPlan, Mix, Pace};
use simulator::load::{Load, Target};
use simulator::topology::{Part, Topology};
use testing::{DEADLINE, wait_until};
use tokio_util::sync::CancellationToken;

use crate::client::topology;

const ORDERS: u64 = 3_000;

fn load(topology: &Topology, folder: &Path, pace: Pace) -> (Load, Recorder) {
    let mix = Mix { products: 3, hot: 0.5, unknown: 0.05, users: 4, quantity_max: 2 };
    let plan = LoadPlan::new(11, pace, Limit::Count(ORDERS), mix);
    let secret = shared::settings::DEMO_SECRET;
    let mut target = Target::signed(&topology.order_url(), secret, &plan.mix).unwrap();
    target.inventory_url = Some(topology.inventory_url());
    let recorder = Recorder::create(&folder.join("answers"), Coverage::Complete).unwrap();
    (Load::new(plan, target, Some(recorder.clone())), recorder)
}

pub async fn audit(folder: &Path, moment: Moment) -> Report {
    let answers = folder.join("answers");
    check::audit(&check::read(&Databases::in_folder(folder), Some(&answers)).await.unwrap(), moment)
}

async fn kill_under(pace: Pace) {
    let stock = ["1", "2", "3"].map(|id| json!({"productId": id, "stock": 500}));
    let (mut topology, folder) = topology(json!(stock)).await;
    let (load, recorder) = load(&topology, folder.path(), pace);
    let watch = load.watch(Some(&topology.nats_url())).await.unwrap();
    let sending = tokio::spawn({
        let load = load.clone();
        async move { load.send(&CancellationToken::new()).await }
    });
    wait_until("a tenth is accepted", async || load.tally.totals().accepted > ORDERS / 10).await;
    topology.kill(Part::Order).await.unwrap();
    let report = audit(folder.path(), Moment::Running).await;
    assert!(report.clean, "in the middle: {report}");
    wait_until("somebody does not know", async || load.tally.totals().unknown > 0).await;
    assert!(load.tally.totals().accepted < ORDERS, "the kill came too late");
    topology.start_part(Part::Order).await.unwrap();

    sending.await.unwrap().unwrap();
    assert_eq!(load.wait_until_settled(DEADLINE).await, 0, "orders are not settled");
    drop(watch);
    recorder.finish().unwrap();
    topology.stop().await.unwrap();
    let tally = load.tally.totals();
    assert_eq!((tally.accepted, tally.unknown, tally.refused), (ORDERS, 0, 0));
    assert!(tally.resolved > 0, "no order was repeated by its key");
    let report = audit(folder.path(), Moment::Final).await;
    assert!(report.clean, "{report}");
    assert_eq!((report.orders, report.unknown_outcomes), (ORDERS, 0));
    assert!(report.invariants.iter().all(|finding| finding.not_checked.is_none()), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_loop_learns_what_became_of_every_order_of_a_killed_service() {
    kill_under(Pace::Closed { connections: 16 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_loop_learns_what_became_of_every_order_of_a_killed_service() {
    kill_under(Pace::Open { rate: 1_000.0, connections: 32 }).await;
}

#[tokio::test]
async fn a_load_that_is_told_to_stop_sends_nothing_more() {
    let (mut topology, folder) = topology(json!([{"productId": "1", "stock": 5}])).await;
    let (load, _recorder) = load(&topology, folder.path(), Pace::Open { rate: 20.0, connections: 4 });
    let stop = CancellationToken::new();
    let (sent, ()) = tokio::join!(load.send(&stop), async {
        wait_until("an order is accepted", async || load.tally.totals().accepted > 0).await;
        stop.cancel();
    });
    sent.unwrap();
    let accepted = load.tally.totals().accepted;
    assert!(accepted < ORDERS / 10, "{accepted}");
    tokio::time::timeout(Duration::from_secs(5), load.send(&stop)).await.unwrap().unwrap();
    assert_eq!(load.tally.totals().accepted, accepted);
    topology.stop().await.unwrap();
}
