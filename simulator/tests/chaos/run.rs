//! Whole runs of `sim chaos` on real processes: every kind of fault, and a verdict that is right in both
//! directions.

use std::time::Duration;

use simulator::binaries::Binaries;
use simulator::chaos::fault::{KINDS, Kind, Wanted};
use simulator::chaos::report::Report;
use simulator::chaos::{Finished, Plan, inject, keep_if_failed, schedule};
use tempfile::TempDir;
use testing::service::Db;

/// Small enough for a debug build beside other tests, and enough for a kill to hit something.
const MIN_PENDING: usize = 20;

async fn finished(faults: &[&str], duration: Duration) -> (Finished, TempDir) {
    let wanted: Vec<Wanted> = faults.iter().map(|fault| fault.parse().unwrap()).collect();
    let plan = Plan {
        seed: 1,
        duration,
        schedule: schedule::wanted(&wanted, duration),
        rate: 100,
        connections: 16,
        min_pending: MIN_PENDING,
        minimums: None,
    };
    let folder = tempfile::tempdir().unwrap();
    let binaries = Binaries::beside_test().unwrap();
    let finished = inject(&plan, binaries, folder.path(), |entry| println!("{entry}")).await.unwrap();
    (finished, folder)
}

async fn verdict((finished, folder): (Finished, TempDir)) -> Report {
    let report = keep_if_failed(folder, finished.audit().await).unwrap();
    println!("{report}");
    report
}

#[tokio::test]
async fn a_run_with_every_kind_of_fault_loses_no_order() {
    let faults = [
        "kill@1s:order+inventory+broker",
        "poison",
        "duplicate",
        "pause:inventory,500ms",
        "cut:order,1s",
        "stall-to-broker:inventory,1s",
        "stall-from-broker:order,1s",
        "slow:500ms",
        "reset",
        "wipe",
        "restart:order",
        "malformed",
        "attack",
        "log-gone:1s",
        "move-database",
        "clock:1s",
        "lock:1s",
        "panic",
        "kill:order",
    ];
    let report = verdict(finished(&faults, Duration::from_secs(24)).await).await;
    assert_eq!(report.verdict(), "PASSED");
    for (kind, word, ..) in KINDS {
        if kind == Kind::Clock && !report.skipped.is_empty() {
            println!("NOT TESTED: {}", report.skipped[0]);
            continue;
        }
        assert!(report.timeline.entries.iter().any(|entry| entry.fault.kind == kind), "no {word}");
    }
    assert_eq!(report.counts.kills.values().sum::<usize>(), 4, "{:?}", report.counts);
    assert!(report.counts.duplicates > 0 && report.counts.poison > 0, "{:?}", report.counts);
    assert!(report.totals.accepted >= 500, "{:?}", report.totals);
    assert_eq!(report.totals.accepted, report.totals.settled);
    assert!(report.kept.is_none());
}

#[tokio::test]
async fn a_lost_order_fails_the_run_and_keeps_its_folder() {
    let (finished, folder) = finished(&["kill:order"], Duration::from_secs(3)).await;
    let db = Db::of(&folder.path().join("order.db"));
    for statement in
        ["DROP TRIGGER orders_stay", "DELETE FROM orders WHERE id = (SELECT min(id) FROM orders)"]
    {
        db.change(statement).await;
    }
    db.close().await;
    let report = verdict((finished, folder)).await;
    assert!(!report.has_passed());
    assert!(report.verdict().starts_with("FAILED: I1 accepted_is_stored (1)"), "{}", report.verdict());
    let kept = report.kept.unwrap();
    assert!(kept.join("order.db").exists() && kept.join("order.log").exists());
    std::fs::remove_dir_all(kept).unwrap();
}

#[tokio::test]
async fn a_dead_letter_that_nobody_poisoned_fails_the_run() {
    let (finished, folder) = finished(&["poison"], Duration::from_secs(3)).await;
    let db = Db::of(&folder.path().join("inventory.db"));
    db.change("UPDATE dead_letters SET body = x'aa' WHERE id = (SELECT min(id) FROM dead_letters)").await;
    db.close().await;
    let report = verdict((finished, folder)).await;
    assert!(report.verdict().contains("left no dead letter"), "{}", report.verdict());
    assert!(report.verdict().contains("became a dead letter"), "{}", report.verdict());
    std::fs::remove_dir_all(report.kept.unwrap()).unwrap();
}
