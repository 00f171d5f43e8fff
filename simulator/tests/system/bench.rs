//! `sim bench` as a user runs it, on what this build has and for a moment: its figures mean nothing here.

use std::fs;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::interrupt::folder_with_services;

#[tokio::test]
async fn a_bench_measures_every_load_in_each_round_and_writes_what_it_prints_and_all_figures() {
    let folder = folder_with_services();
    let (markdown, figures) = (folder.path().join("report.md"), folder.path().join("figures.json"));
    let mut bench = Command::new(env!("CARGO_BIN_EXE_sim"));
    bench.args(["bench", "--rounds", "2", "--duration", "300ms"]).env("CARGO", folder.path().join("cargo"));
    bench.arg("--markdown").arg(&markdown).arg("--json").arg(&figures);
    let output = bench.output().await.unwrap();
    let (printed, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{printed}{errors}");
    assert_eq!(fs::read_to_string(&markdown).unwrap(), printed);

    let report: Value = serde_json::from_slice(&fs::read(&figures).unwrap()).unwrap();
    assert_eq!((&report["rounds"], &report["seconds"]), (&json!(2), &json!(0.3)), "{report}");
    assert!(report["machine"]["fsync_ms"].as_f64().unwrap() > 0.0, "{report}");
    let loads = report["loads"].as_array().unwrap();
    assert_eq!(loads.len(), 7, "{report}");
    for load in loads {
        let name = load["name"].as_str().unwrap();
        assert!(printed.contains(&format!("\n| {name} | ")), "{name}: {printed}");
        for figure in ["rate", "post_p50_ms", "settled_p99_ms", "disk_bytes"] {
            let rounds = load["figures"][figure].as_array().unwrap();
            let is_measured = rounds.iter().all(|round| round.as_f64().unwrap() > 0.0);
            assert!(rounds.len() == 2 && is_measured, "{name}, {figure}: {rounds:?}");
        }
    }
}
