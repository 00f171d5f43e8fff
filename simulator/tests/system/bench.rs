//! `sim bench` as a user runs it, on what this build has and for a moment: its figures mean nothing here.

use std::fs;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use testing::DEADLINE;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::client::topology;
use crate::interrupt::folder_with_services;

/// `sim bench` with services that are built already.
fn command(folder: &TempDir, flags: &[&str]) -> Command {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_sim"));
    bench.arg("bench").args(flags).env("CARGO", folder.path().join("cargo"));
    bench
}

/// The printed report, and the same as JSON.
async fn bench(folder: &TempDir, flags: &[&str]) -> (String, Value) {
    let (markdown, figures) = (folder.path().join("report.md"), folder.path().join("figures.json"));
    let mut bench = command(folder, flags);
    bench.args(["--duration", "300ms"]);
    bench.arg("--markdown").arg(&markdown).arg("--json").arg(&figures);
    let output = bench.output().await.unwrap();
    let (printed, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{printed}{errors}");
    assert_eq!(fs::read_to_string(&markdown).unwrap(), printed);
    (printed.into_owned(), serde_json::from_slice(&fs::read(&figures).unwrap()).unwrap())
}

/// The names of a table's rows, each of which is printed and has these figures in so many rounds.
fn rows(printed: &str, table: &Value, figures: &[&str], rounds: usize) -> Vec<String> {
    let row = |row: &Value| {
        let name = row["name"].as_str().unwrap();
        assert!(printed.contains(&format!("\n| {name} | ")), "{name}: {printed}");
        for figure in figures {
            let measured = row["figures"][figure].as_array().unwrap();
            let is_measured = measured.iter().all(|round| round.as_f64().unwrap() > 0.0);
            assert!(measured.len() == rounds && is_measured, "{name}, {figure}: {measured:?}");
        }
        name.to_owned()
    };
    table.as_array().unwrap().iter().map(row).collect()
}

#[tokio::test]
async fn a_bench_measures_every_load_and_the_bound_in_each_round_and_writes_what_it_prints_and_all_figures() {
    let (printed, report) = bench(&folder_with_services(), &["load", "--rounds", "2"]).await;
    assert_eq!((&report["rounds"], &report["seconds"]), (&json!(2), &json!(0.3)), "{report}");
    assert!(report["machine"]["fsync_ms"].as_f64().unwrap() > 0.0, "{report}");
    let figures = ["rate", "post_p50_ms", "decided_p99_ms", "disk_bytes"];
    assert_eq!(rows(&printed, &report["loads"], &figures, 2).len(), 8);
    let bounds = rows(&printed, &report["bound"], &["rate"], 2);
    assert_eq!(bounds, ["64 clients", "64 clients over HTTP"]);
    assert!(printed.contains("together ms"), "{printed}");
    assert_eq!(rows(&printed, &report["idle"], &[], 2).len(), 1);
    let ratios = rows(&printed, &report["ratios"], &[], 2);
    assert_eq!((ratios.len(), ratios[0].as_str()), (11, "settled/s at 64 connections ÷ the bound's"));
}

#[tokio::test]
async fn a_bench_of_the_other_parts_reads_drains_a_backlog_grows_and_restarts() {
    let sizes = ["--stored", "30,60", "--backlog", "50", "--growth", "1000"];
    let flags = [&["reads", "backlog", "growth", "--rounds", "1"][..], &sizes].concat();
    let (printed, report) = bench(&folder_with_services(), &flags).await;
    assert!(report["loads"].is_null(), "{report}");
    let reads = rows(&printed, &report["reads"], &["rate", "p50_ms", "p99_ms"], 1);
    assert_eq!(reads.len(), 6);
    assert!(reads.contains(&"GET /orders/{id} of 60 orders".to_owned()), "{reads:?}");
    assert_eq!(rows(&printed, &report["backlog"], &["rate", "seconds"], 1), ["50 orders"]);
    let tenths = rows(&printed, &report["growth"], &["rate", "order_wal_mb"], 1);
    assert_eq!(tenths.last().unwrap(), "until 1000");
    let restart = ["order_ready_ms", "inventory_ready_ms", "settled_ms", "disk_bytes"];
    assert_eq!(rows(&printed, &report["restart"], &restart, 1), ["1000 orders"]);
    assert_eq!(rows(&printed, &report["sizes"], &["binary_mb"], 1).len(), 2);
}

#[tokio::test]
async fn a_bench_refuses_a_file_that_it_cannot_write_before_it_measures_keeps_an_older_one_until_then_and_needs_no_reader()
 {
    let folder = folder_with_services();
    let flags = ["backlog", "--backlog", "10", "--json"];
    let mut bench = command(&folder, &flags);
    let mut unwritable = bench.arg("/proc/none/figures.json").stderr(Stdio::piped()).spawn().unwrap();
    assert_eq!(unwritable.wait().await.unwrap().code(), Some(1));
    let mut errors = String::new();
    unwritable.stderr.take().unwrap().read_to_string(&mut errors).await.unwrap();
    assert!(
        errors.contains("cannot write /proc/none/figures.json") && !errors.contains("backlog"),
        "{errors}"
    );

    let (old, nobody) = (folder.path().join("old.md"), folder.path().join("no cargo"));
    fs::write(&old, "an older report").unwrap();
    for (json, rule) in [(&old, "name the same file"), (&nobody, "cannot run cargo")] {
        let mut failing = command(&folder, &["backlog", "--markdown"]);
        failing.env("CARGO", &nobody).arg(&old).arg("--json").arg(json);
        let errors = String::from_utf8(failing.output().await.unwrap().stderr).unwrap();
        assert!(errors.contains(rule), "{errors}");
        assert_eq!(fs::read_to_string(&old).unwrap(), "an older report");
    }

    let figures = folder.path().join("figures.json");
    let mut unread = command(&folder, &flags).arg(&figures).stdout(Stdio::piped()).spawn().unwrap();
    drop(unread.stdout.take());
    assert!(unread.wait().await.unwrap().success());
    let figures: Value = serde_json::from_slice(&fs::read(&figures).unwrap()).unwrap();
    assert_eq!((&figures["rounds"], figures["backlog"][0]["name"].as_str()), (&json!(0), Some("10 orders")));
}

#[tokio::test]
async fn a_half_of_the_bound_ends_with_the_bench_that_started_it() {
    let (mut topology, folder) = topology(json!([])).await;
    let mut half = Command::new(env!("CARGO_BIN_EXE_sim"));
    half.args(["bound", "order", "--duration", "1h", "--nats-url", &topology.nats_url()]);
    half.arg("--database").arg(folder.path().join("bound.db")).kill_on_drop(true);
    half.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut half = half.spawn().unwrap();
    let mut output = BufReader::new(half.stdout.take().unwrap()).lines();
    assert_eq!(output.next_line().await.unwrap().unwrap(), "ready");
    // The pipe of a bench that is killed closes.
    let mut bench = half.stdin.take().unwrap();
    bench.write_all(b"go\n").await.unwrap();
    drop(bench);
    let ended = timeout(DEADLINE, half.wait_with_output()).await.expect("it ends").unwrap();
    let errors = String::from_utf8(ended.stderr).unwrap();
    assert!(errors.contains("told to end before every order was settled"), "{errors}");
    topology.stop().await.unwrap();
}
