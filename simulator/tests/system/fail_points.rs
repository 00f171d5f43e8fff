//! A process dies at each gap of the protocol, with orders under way, and is started again: nothing is lost, nothing is
//! done twice, and every order ends.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::process::ExitStatusExt,
    time::{Duration, Instant},
};

use serde_json::json;
use simulator::{
    topology::{Part, Topology},
    workspace,
};
use tempfile::TempDir;
use tokio::{task::JoinSet, time::timeout};

use crate::client::{Buyer, read_all, topology};

/// Callers, and the orders that each sends one after the other: enough for several batches at every gap.
const CALLERS: usize = 20;
const ORDERS_OF_A_CALLER: usize = 10;
/// A gap that orders lead to is passed so often before the process dies there.
const SKIP: &str = "2";
/// What orders lead to is reached this soon.
const REACHED_WITHIN: Duration = Duration::from_secs(30);
/// Less than the 30 s after which any lost event is sent again, so that no gap is closed by that alone.
const SETTLED_WITHIN: Duration = Duration::from_secs(20);
/// SIGABRT, the end that a fail-point makes.
const ABORTED: Option<i32> = Some(6);

/// What leads a process to a gap.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// Orders that are placed.
    Orders,
    /// Its start.
    Start,
    /// Its start, after it died with messages in hand.
    Held,
    /// Its start, after the broker was wiped while orders were pending.
    Wiped,
}

/// Every gap: the process, the fail-point's name, what leads to it, and what closes it.
const GAPS: [(Part, &str, Cause, &str); 32] = [
    (Part::Order, "orders: valid, not queued", Cause::Orders, "nothing stored; the client repeats"),
    (Part::Order, "orders: written, not committed", Cause::Orders, "rolled back; the client repeats"),
    (Part::Order, "orders: committed, not answered", Cause::Orders, "the key finds the order"),
    (Part::Order, "orders: answered", Cause::Orders, "the outbox row"),
    (Part::Order, "relay: stream noted, nothing published", Cause::Start, "the outbox row"),
    (Part::Order, "relay: rows read, nothing published", Cause::Orders, "the outbox row"),
    (Part::Order, "relay: published, no PubAck seen", Cause::Orders, "published again; a repeat"),
    (Part::Order, "relay: PubAcks seen, rows not deleted", Cause::Orders, "published again; a repeat"),
    (Part::Order, "relay: rows deleted, not committed", Cause::Orders, "published again; a repeat"),
    (Part::Order, "relay: delete committed", Cause::Orders, "nothing is left to do"),
    (Part::Inventory, "consumer: pulled, nothing decided", Cause::Orders, "delivered again"),
    (Part::Inventory, "consumer: decided, not committed", Cause::Orders, "rolled back; delivered again"),
    (Part::Inventory, "consumer: committed, not acked", Cause::Orders, "delivered again; a repeat"),
    (Part::Inventory, "consumer: acked", Cause::Orders, "the outbox row"),
    (Part::Inventory, "consumer: reset noted, not done", Cause::Held, "delivered again after ack_wait"),
    (Part::Inventory, "consumer: reset done", Cause::Held, "delivered again"),
    (Part::Inventory, "relay: stream noted, nothing published", Cause::Start, "the outbox row"),
    (Part::Inventory, "relay: rows read, nothing published", Cause::Orders, "the outbox row"),
    (Part::Inventory, "relay: published, no PubAck seen", Cause::Orders, "published again; a repeat"),
    (Part::Inventory, "relay: PubAcks seen, rows not deleted", Cause::Orders, "published again; a repeat"),
    (Part::Inventory, "relay: rows deleted, not committed", Cause::Orders, "published again; a repeat"),
    (Part::Inventory, "relay: delete committed", Cause::Orders, "nothing is left to do"),
    (Part::Order, "consumer: pulled, nothing decided", Cause::Orders, "delivered again"),
    (Part::Order, "consumer: decided, not committed", Cause::Orders, "rolled back; delivered again"),
    (Part::Order, "consumer: committed, not acked", Cause::Orders, "delivered again; a repeat"),
    (Part::Order, "consumer: acked", Cause::Orders, "nothing is left to do"),
    (Part::Order, "consumer: reset noted, not done", Cause::Held, "delivered again after ack_wait"),
    (Part::Order, "consumer: reset done", Cause::Held, "delivered again"),
    (Part::Order, "sweeper: loss noticed, not committed", Cause::Wiped, "rolled back; noticed again"),
    (Part::Order, "sweeper: loss committed, nothing swept", Cause::Wiped, "the orders stay marked; swept"),
    (Part::Order, "sweeper: swept, not committed", Cause::Wiped, "rolled back; swept again"),
    (Part::Order, "sweeper: committed, relay not woken", Cause::Wiped, "the outbox row"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_may_die_at_every_step_and_no_order_is_lost() {
    let stock = json!([{"productId": "1", "stock": 1_000_000}, {"productId": "2", "stock": 100}]);
    let (mut topology, folder) = topology(stock).await;
    let mut placed = BTreeSet::new();
    for (number, (part, point, cause, closed_by)) in GAPS.into_iter().enumerate() {
        let run = format!("run-{number}");
        let settled = crash_at(&mut topology, &folder, (part, point, cause), &run, &mut placed).await;
        println!("{:<9} | {point:<40} | {closed_by:<34} | {} ms", part.name(), settled.as_millis());
    }
    topology.stop().await.unwrap();
}

/// Lets the process die at the gap, starts it again, and waits until every order is settled. Returns how long that took.
async fn crash_at(
    topology: &mut Topology,
    folder: &TempDir,
    (part, point, cause): (Part, &str, Cause),
    run: &str,
    placed: &mut BTreeSet<String>,
) -> Duration {
    if cause == Cause::Held {
        let orders = place_orders(topology, &format!("{run}-before"));
        restart_armed(topology, part, "consumer: pulled, nothing decided", SKIP).await;
        await_abort(topology, part, "consumer: pulled, nothing decided").await;
        restart_armed(topology, part, point, "0").await;
        await_abort(topology, part, point).await;
        return recover(topology, part, orders, placed).await;
    }
    if cause == Cause::Wiped {
        topology.kill(Part::Inventory).await.unwrap();
        let orders = place_orders(topology, run);
        placed.extend(orders.join_all().await.into_iter().flatten());
        topology.kill(Part::Broker).await.unwrap();
        fs::remove_dir_all(folder.path().join("nats")).unwrap();
        topology.start_part(Part::Broker).await.unwrap();
    }
    let skip = if cause == Cause::Orders { SKIP } else { "0" };
    restart_armed(topology, part, point, skip).await;
    let orders = if cause == Cause::Wiped { JoinSet::new() } else { place_orders(topology, run) };
    await_abort(topology, part, point).await;
    if cause == Cause::Wiped {
        topology.set_environment(Vec::new());
        topology.start_part(Part::Inventory).await.unwrap();
    }
    recover(topology, part, orders, placed).await
}

async fn restart_armed(topology: &mut Topology, part: Part, point: &str, skip: &str) {
    topology.kill(part).await.unwrap();
    let variables = [("FAIL_POINT", point), ("FAIL_POINT_SKIP", skip)];
    topology.set_environment(variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    // A process that reaches its end at once is not ready before; the abort is what the caller waits for.
    let _ = topology.start_part(part).await;
}

async fn await_abort(topology: &mut Topology, part: Part, point: &str) {
    let ended = timeout(REACHED_WITHIN, topology.first_exit()).await;
    let (ended, status) =
        ended.unwrap_or_else(|_| panic!("{part:?} did not reach {point:?}; was it built by `cargo test`?"));
    assert_eq!((ended, status.unwrap().signal()), (part, ABORTED), "{point}");
}

async fn recover(
    topology: &mut Topology,
    part: Part,
    orders: JoinSet<Vec<String>>,
    placed: &mut BTreeSet<String>,
) -> Duration {
    topology.kill(part).await.unwrap();
    topology.set_environment(Vec::new());
    topology.start_part(part).await.unwrap();
    let mended = Instant::now();
    placed.extend(orders.join_all().await.into_iter().flatten());
    let buyer = Buyer::new(topology, "alice");
    while buyer.gauge("orders_pending").await != Some(0.0) {
        assert!(
            mended.elapsed() < SETTLED_WITHIN,
            "{:?} orders pending",
            buyer.gauge("orders_pending").await
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    mended.elapsed()
}

/// Callers that repeat each order under its key until it is accepted, and return the ids.
fn place_orders(topology: &Topology, run: &str) -> JoinSet<Vec<String>> {
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (buyer, run) = (Buyer::new(topology, "alice"), run.to_owned());
        callers.spawn(async move {
            let mut ids = Vec::new();
            for number in 0..ORDERS_OF_A_CALLER {
                // Of one product there is too little, so that both ends of an order occur.
                let product = if number == 0 { "2" } else { "1" };
                let key = format!("{run}-{caller}-{number}");
                ids.push(buyer.order_until_accepted(product, 1, &key).await);
            }
            ids
        });
    }
    callers
}

#[test]
fn every_fail_point_in_the_code_is_one_of_the_tested_gaps() {
    let mut tested: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (part, point, ..) in GAPS.into_iter() {
        tested.entry(point).or_default().insert(part.name());
    }
    let both = BTreeSet::from(["order", "inventory"]);
    let cases = [
        ("shared", both),
        ("order-service", BTreeSet::from(["order"])),
        ("inventory-service", BTreeSet::from(["inventory"])),
    ];
    let mut found = BTreeSet::new();
    for (package, parts) in cases {
        for name in fail_points_in(package) {
            assert_eq!(tested.get(name.as_str()), Some(&parts), "{package}: {name}");
            found.insert(name);
        }
    }
    assert_eq!(found.len(), tested.len(), "a tested gap is not in the code: {found:?}");
}

/// The names in all calls of `fail_point::reach` below a crate's `src`.
fn fail_points_in(package: &str) -> Vec<String> {
    let mut text = String::new();
    read_all(&workspace::root().join(package).join("src"), &mut text);
    let names =
        text.split("fail_point::reach(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
    names.collect()
}
