//! Schedules: the same one happens again, those that failed once do not any more, and those that find a planted fault still do.

use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use simulator::simulation::{Mutant, Schedule, run_alone};

#[tokio::test]
async fn the_same_schedule_happens_again_line_by_line() {
    for seed in 0..25 {
        let schedule = Schedule::draw(seed, 200);
        let (first, second) =
            (run_alone(&schedule, None).await.unwrap(), run_alone(&schedule, None).await.unwrap());
        assert_eq!(first.lines, second.lines, "seed {seed}");
        assert_eq!(first.hash, second.hash, "seed {seed}");
    }
}

#[tokio::test]
async fn schedules_that_failed_once_do_not_any_more() {
    for (path, schedule) in schedules("regressions") {
        let outcome = run_alone(&schedule, None).await.unwrap();
        let (path, lines) = (path.display(), outcome.lines.join("\n"));
        assert!(outcome.failures.is_empty(), "{path}: {:?}\n{lines}", outcome.failures);
    }
}

#[tokio::test]
async fn each_planted_fault_is_found_by_a_schedule_that_is_clean_without_it() {
    let kept = schedules("planted");
    for mutant in Mutant::value_variants() {
        let is_its = |path: &Path| path.file_stem().is_some_and(|stem| *stem == *mutant.name());
        let (_, schedule) = kept.iter().find(|(path, _)| is_its(path)).unwrap();
        let (with, without) = (run_alone(schedule, Some(*mutant)), run_alone(schedule, None));
        let (with, without) = (with.await.unwrap(), without.await.unwrap());
        assert!(!with.failures.is_empty(), "{mutant:?} is not found\n{}", with.lines.join("\n"));
        assert_eq!(without.failures, [""; 0], "without {mutant:?}");
    }
}

/// All schedules of a folder of this package.
fn schedules(folder: &str) -> Vec<(PathBuf, Schedule)> {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut read: Vec<(PathBuf, Schedule)> = paths
        .map(|path| {
            let schedule = Schedule::read(&path).unwrap();
            (path, schedule)
        })
        .collect();
    read.sort_by(|left, right| left.0.cmp(&right.0));
    read
}
