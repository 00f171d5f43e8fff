//! A process dies at each gap of the protocol, with orders under way, and is started again: nothing is lost,
//! nothing is done twice, and every order ends.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use processes::{broker, token, workspace};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use shared::http::auth::ADMIN_SCOPE;
use shared::settings::DEMO_SECRET;
use simulator::answers::Line;
use simulator::topology::{Part, Topology};
use tempfile::TempDir;
use testing::{text_below, wait_until};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client::{Buyer, accepted, audited, topology};

/// Callers, and the orders that each sends one after the other: enough for several batches at every gap.
const CALLERS: usize = 20;
const ORDERS_OF_A_CALLER: usize = 10;
/// A gap that orders lead to is passed so often before the process dies there.
pub const SKIP: &str = "2";
/// After this time without the end more orders are placed.
const ROUND: Duration = Duration::from_millis(500);
/// What orders lead to is reached this soon.
const REACHED_WITHIN: Duration = Duration::from_secs(30);
/// SIGABRT, the end that a fail-point makes.
const ABORTED: Option<i32> = Some(6);

/// What leads a process to a gap.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Orders that are placed.
    Orders,
    /// Its start.
    Start,
    /// Its start, after it died with messages in hand.
    Held,
    /// A dead letter that is redriven.
    Redrive,
    /// Its start, after the broker was wiped while orders were pending.
    Wiped,
}

const BOTH: &[Part] = &[Part::Order, Part::Inventory];
const ORDER: &[Part] = &[Part::Order];
const INVENTORY: &[Part] = &[Part::Inventory];

/// Every gap: the processes, the fail-point's name, what leads to it, and what closes it.
const GAPS: [(&[Part], &str, Cause, &str); 24] = [
    (ORDER, "orders: valid, not queued", Cause::Orders, "nothing stored; the client repeats"),
    (ORDER, "orders: written, not committed", Cause::Orders, "rolled back; the client repeats"),
    (ORDER, "orders: committed, not answered", Cause::Orders, "the key finds the order"),
    (ORDER, "orders: answered", Cause::Orders, "the outbox row"),
    (BOTH, "relay: stream noted, nothing published", Cause::Start, "the outbox row"),
    (BOTH, "relay: rows read, nothing published", Cause::Orders, "the outbox row"),
    (BOTH, "relay: published, no PubAck seen", Cause::Orders, "published again; a repeat"),
    (BOTH, "relay: PubAcks seen, rows not deleted", Cause::Orders, "published again; a repeat"),
    (BOTH, "relay: rows deleted, not committed", Cause::Orders, "published again; a repeat"),
    (BOTH, "relay: delete committed", Cause::Orders, "nothing is left to do"),
    (BOTH, "consumer: pulled, nothing decided", Cause::Orders, "delivered again"),
    (BOTH, "consumer: decided, not committed", Cause::Orders, "rolled back; delivered again"),
    (BOTH, "consumer: committed, not acked", Cause::Orders, "delivered again; a repeat"),
    (INVENTORY, "consumer: acked", Cause::Orders, "the outbox row"),
    (BOTH, "consumer: reset noted, not done", Cause::Held, "delivered again after ack_wait"),
    (BOTH, "consumer: reset done", Cause::Held, "delivered again"),
    (ORDER, "consumer: acked", Cause::Orders, "nothing is left to do"),
    (ORDER, "sweeper: loss noticed, not committed", Cause::Wiped, "rolled back; noticed again"),
    (ORDER, "sweeper: loss committed, nothing swept", Cause::Wiped, "the orders stay marked; swept"),
    (ORDER, "sweeper: swept, not committed", Cause::Wiped, "rolled back; swept again"),
    (ORDER, "sweeper: sweep committed", Cause::Wiped, "the outbox row"),
    (BOTH, "identity: generation committed, not at the broker", Cause::Start, "lower there, never higher"),
    (BOTH, "redrive: handled, not committed", Cause::Redrive, "rolled back; the dead letter stays"),
    (BOTH, "redrive: committed, not answered", Cause::Redrive, "nothing is left to do"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_may_die_at_every_step_and_no_order_is_lost() {
    let stock = json!([{"productId": "1", "stock": 1_000_000}, {"productId": "2", "stock": 100}]);
    let mut world = World::start(stock).await;
    let gaps = GAPS.iter().flat_map(|(parts, point, cause, closed_by)| {
        parts.iter().map(move |part| (*part, *point, *cause, *closed_by))
    });
    for (number, (part, point, cause, closed_by)) in gaps.enumerate() {
        let skip = if cause == Cause::Orders { SKIP } else { "0" };
        let failure = Failure { part, point, cause, skip, end: End::Abort };
        let settled = world.fail(failure, &format!("run-{number}")).await;
        println!("{:<9} | {point:<49} | {closed_by:<34} | {} ms", part.name(), settled.as_millis());
    }
    world.audit().await;
}

/// How a process ends at a fail-point.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// As a crash ends it.
    Abort,
    /// By itself, because a task of it panicked.
    Panic,
}

/// What is done to a process.
#[derive(Clone, Copy)]
pub struct Failure<'a> {
    pub part: Part,
    pub point: &'a str,
    pub cause: Cause,
    /// How often the point is passed unharmed.
    pub skip: &'a str,
    pub end: End,
}

/// The topology, and what every caller was told.
pub struct World {
    pub topology: Topology,
    pub folder: TempDir,
    told: Vec<Line>,
}

impl World {
    pub async fn start(stock: Value) -> Self {
        let (topology, folder) = topology(stock).await;
        Self { topology, folder, told: Vec::new() }
    }

    /// Lets the process fail, starts it again, and waits until every order is settled. Returns how long that
    /// took.
    pub async fn fail(&mut self, failure: Failure<'_>, run: &str) -> Duration {
        let Failure { part, cause, .. } = failure;
        let mut orders = self.prepare(part, cause, run).await;
        self.restart_armed(failure).await;
        if cause == Cause::Redrive {
            redrive_all(&self.topology, part).await;
        }
        if matches!(cause, Cause::Orders | Cause::Start) {
            place_orders(&self.topology, run, &mut orders);
        }
        self.await_end(failure, run, &mut orders).await;
        self.recover(part, orders).await
    }

    /// Ends with nothing violated, and with one dead letter at each service: the garbage whose redrive did
    /// not happen.
    pub async fn audit(mut self) {
        self.topology.stop().await.unwrap();
        let report = audited(self.folder.path(), &self.told).await;
        assert_eq!((report.foreign.count, report.dead_letters), (0, 2), "{report}");
    }

    /// What must be so before the process starts that dies. Returns callers that still wait for an answer.
    async fn prepare(&mut self, part: Part, cause: Cause, run: &str) -> JoinSet<Vec<Line>> {
        match cause {
            Cause::Orders | Cause::Start => {}
            Cause::Redrive => publish_garbage(&self.topology, part).await,
            Cause::Held => {
                let point = "consumer: pulled, nothing decided";
                let crash = Failure { part, point, cause: Cause::Orders, skip: SKIP, end: End::Abort };
                self.restart_armed(crash).await;
                let mut orders = JoinSet::new();
                place_orders(&self.topology, run, &mut orders);
                self.await_end(crash, run, &mut orders).await;
                return orders;
            }
            Cause::Wiped => {
                self.topology.kill(Part::Inventory).await.unwrap();
                let mut pending = JoinSet::new();
                place_orders(&self.topology, run, &mut pending);
                self.told.extend(pending.join_all().await.into_iter().flatten());
                self.topology.wipe_broker().await.unwrap();
                self.topology.start_part(Part::Broker).await.unwrap();
            }
        }
        JoinSet::new()
    }

    async fn restart_armed(&mut self, Failure { part, point, skip, end, .. }: Failure<'_>) {
        self.topology.kill(part).await.unwrap();
        let mut variables = vec![("FAIL_POINT".to_owned(), point.to_owned())];
        variables.push(("FAIL_POINT_SKIP".to_owned(), skip.to_owned()));
        if end == End::Panic {
            variables.push(("FAIL_POINT_PANIC".to_owned(), "1".to_owned()));
        }
        self.topology.set_environment(variables);
        // A process that reaches its end at once is not ready before; the abort is what the caller waits for.
        let _ = self.topology.start_part(part).await;
    }

    /// Waits for the end at the fail-point. Where callers lead to it, more of them come until it is reached.
    async fn await_end(&mut self, failure: Failure<'_>, run: &str, orders: &mut JoinSet<Vec<Line>>) {
        let Failure { part, point, end, .. } = failure;
        let (start, mut rounds) = (Instant::now(), 0);
        let (ended, status) = loop {
            if let Ok(exit) = timeout(ROUND, self.topology.first_exit()).await {
                break exit;
            }
            assert!(
                start.elapsed() < REACHED_WITHIN,
                "{part:?} did not reach {point:?}; was it built by `cargo test`?"
            );
            if !orders.is_empty() {
                rounds += 1;
                place_orders(&self.topology, &format!("{run}-again-{rounds}"), orders);
            }
        };
        let status = status.unwrap();
        let expected = if end == End::Abort { (part, ABORTED, None) } else { (part, None, Some(1)) };
        assert_eq!((ended, status.signal(), status.code()), expected, "{point}");
        self.topology.set_environment(Vec::new());
        self.topology.kill(part).await.unwrap();
    }

    async fn recover(&mut self, part: Part, orders: JoinSet<Vec<Line>>) -> Duration {
        self.topology.start_part(part).await.unwrap();
        let mended = Instant::now();
        // Where the gap needed pending orders, the inventory was left dead.
        if self.topology.pid(Part::Inventory).is_none() {
            self.topology.start_part(Part::Inventory).await.unwrap();
        }
        self.told.extend(orders.join_all().await.into_iter().flatten());
        let buyer = Buyer::new(&self.topology, "alice");
        buyer.until_all_is_settled(mended).await
    }
}

/// Has a dead letter made at the service: garbage on the subject that it consumes.
async fn publish_garbage(topology: &Topology, part: Part) {
    let (user, subject) = match part {
        Part::Inventory => ("order", "order_created"),
        _ => ("inventory", "order_processed"),
    };
    let client = broker::options(user).connect(topology.nats_url()).await.unwrap();
    client.publish(subject, "garbage".into()).await.unwrap();
    client.flush().await.unwrap();
    wait_until("the garbage is a dead letter", async || !dead_letters(topology, part).await.is_empty()).await;
}

async fn dead_letters(topology: &Topology, part: Part) -> Vec<Value> {
    let answer = admin(topology, part, Method::GET, "/admin/dead-letters").await.unwrap();
    answer.json().await.unwrap()
}

/// Asks for the redrive that the process does not survive.
async fn redrive_all(topology: &Topology, part: Part) {
    let answer = admin(topology, part, Method::POST, "/admin/dead-letters/redrive").await;
    assert!(!answer.as_ref().is_ok_and(|answer| answer.status().is_success()), "{answer:?}");
}

async fn admin(topology: &Topology, part: Part, method: Method, path: &str) -> reqwest::Result<Response> {
    let token = token::sign_with_scope(DEMO_SECRET, "operator", Some(ADMIN_SCOPE)).unwrap();
    let url = if part == Part::Order { topology.order_url() } else { topology.inventory_url() };
    Client::new().request(method, format!("{url}{path}")).bearer_auth(token).send().await
}

/// Callers that repeat each order under its key until it is accepted.
fn place_orders(topology: &Topology, run: &str, callers: &mut JoinSet<Vec<Line>>) {
    for caller in 0..CALLERS {
        let (buyer, run) = (Buyer::new(topology, "alice"), run.to_owned());
        callers.spawn(async move {
            let mut told = Vec::new();
            for number in 0..ORDERS_OF_A_CALLER {
                // Of one product there is too little, so that both ends of an order occur.
                let product = if number == 0 { "2" } else { "1" };
                let key = format!("{run}-{caller}-{number}");
                let id = buyer.order_until_accepted(product, 1, &key).await;
                told.push(accepted("alice", product, key, id));
            }
            told
        });
    }
}

#[test]
fn every_fail_point_in_the_code_is_one_of_the_tested_gaps() {
    let mut tested: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (parts, point, ..) in GAPS {
        tested.entry(point).or_default().extend(parts.iter().map(|part| part.name()));
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
    let text = text_below(&workspace::root().join(package).join("src"));
    let names =
        text.split("fail_point::reach(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
    names.collect()
}
