//! Each background task of each service is made to panic, one after the other, with orders under way: the
//! process says which one it was and ends, and after its next start nothing is lost, nothing is done twice,
//! and every order ends.

use std::collections::BTreeSet;

use serde_json::json;
use simulator::topology::Part;
use testing::wait_until;

use crate::fail_points::{Cause, End, Failure, SKIP, World};

/// The tasks of the order service, what sets each to work, and how many of its steps go well before.
const ORDER: [(&str, Cause, &str); 10] = [
    ("signals", Cause::Start, "0"),
    ("server", Cause::Orders, SKIP),
    ("committer", Cause::Orders, SKIP),
    ("consumer", Cause::Orders, SKIP),
    ("jobs", Cause::Redrive, "1"),
    ("sweeper", Cause::Orders, SKIP),
    ("feed reader", Cause::Orders, SKIP),
    ("broker watch", Cause::Orders, SKIP),
    ("database watch", Cause::Orders, SKIP),
    ("relay", Cause::Orders, SKIP),
];
/// The same of the inventory service.
const INVENTORY: [(&str, Cause, &str); 8] = [
    ("signals", Cause::Start, "0"),
    ("server", Cause::Start, "1"),
    ("committer", Cause::Start, "0"),
    ("consumer", Cause::Orders, SKIP),
    ("jobs", Cause::Redrive, "1"),
    ("broker watch", Cause::Orders, SKIP),
    ("database watch", Cause::Orders, SKIP),
    ("relay", Cause::Orders, SKIP),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_task_may_panic_and_the_process_names_it_and_ends_and_no_order_is_lost() {
    let mut world =
        World::start(json!([{"productId": "1", "stock": 1_000_000}, {"productId": "2", "stock": 100}])).await;
    for (part, tasks) in [(Part::Order, &ORDER[..]), (Part::Inventory, &INVENTORY)] {
        for (number, (task, cause, skip)) in tasks.iter().enumerate() {
            let point = &format!("task: {task}");
            let failure = Failure { part, point, cause: *cause, skip, end: End::Panic };
            let settled = world.fail(failure, &format!("{}-{number}", part.name())).await;
            let error =
                format!("the task \"{task}\" panicked: fail-point reached: {point}; the service stops");
            let log = log(&world, part);
            assert!(log.contains(&format!("{}-service: {error}", part.name())), "{log}");
            assert!(log.contains(&format!("panicked: fail-point reached: {point}")), "{log}");
            println!("{:<9} | {task:<14} | {} ms", part.name(), settled.as_millis());
        }
    }
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_task_that_runs_is_one_of_those_made_to_panic() {
    let mut world = World::start(json!([])).await;
    for (part, tasks) in [(Part::Order, &ORDER[..]), (Part::Inventory, &INVENTORY)] {
        world.topology.kill(part).await.unwrap();
        world.topology.set_environment(vec![("RUST_LOG".to_owned(), "shared=debug".to_owned())]);
        world.topology.start_part(part).await.unwrap();
        // It is the last one, and the log may be written after it.
        wait_until("the server's start is in the log", async || {
            log(&world, part).contains("task started task=\"server\"")
        })
        .await;
        let log = log(&world, part);
        let started =
            log.lines().filter_map(|line| line.split("task started task=\"").nth(1)?.split('"').next());
        let started: BTreeSet<_> = started.collect();
        assert_eq!(started, tasks.iter().map(|(task, ..)| *task).collect(), "{log}");
    }
}

fn log(world: &World, part: Part) -> String {
    std::fs::read_to_string(world.folder.path().join(format!("{}.log", part.name()))).unwrap()
}
