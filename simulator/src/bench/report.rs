//! The report: a table for people, in Markdown, and all figures in JSON.

use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

use super::figures::{Figures, Spread};
use super::machine::Machine;
use super::scenario::Scenario;

/// The columns: a figure's name, its heading, and how many digits stand behind the point.
const COLUMNS: [(&str, &str, usize); 11] = [
    ("rate", "settled/s", 0),
    ("post_p50_ms", "POST p50 ms", 2),
    ("post_p99_ms", "POST p99 ms", 2),
    ("settled_p50_ms", "settled p50 ms", 2),
    ("settled_p99_ms", "settled p99 ms", 2),
    ("order_cpu_us", "order µs", 0),
    ("inventory_cpu_us", "inventory µs", 0),
    ("broker_cpu_us", "broker µs", 0),
    ("order_mb", "order MB", 1),
    ("inventory_mb", "inventory MB", 1),
    ("disk_bytes", "bytes on disk", 0),
];

/// What a run measured.
pub struct Report {
    pub machine: Machine,
    pub rounds: u32,
    pub seconds: f64,
    pub figures: Vec<(&'static Scenario, Figures)>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, rounds, seconds, figures } = self;
        writeln!(f, "{machine}.\n")?;
        writeln!(
            f,
            "{rounds} rounds of {seconds} s each. The median, and in brackets the lowest and the highest round."
        )?;
        writeln!(
            f,
            "POST: until its 201. Settled: from the POST until the order is confirmed or cancelled. µs: CPU time of a process for \
             each order. MB: its memory in the end. Bytes: of both databases for each order.\n"
        )?;
        let headings: Vec<&str> = COLUMNS.iter().map(|(_, heading, _)| *heading).collect();
        writeln!(f, "| load | {} |", headings.join(" | "))?;
        writeln!(f, "|---|{}", "---|".repeat(COLUMNS.len()))?;
        for (scenario, figures) in figures {
            let cells: Vec<String> = COLUMNS.iter().map(|column| cell(figures, column)).collect();
            writeln!(f, "| {} | {} |", scenario.name, cells.join(" | "))?;
        }
        Ok(())
    }
}

fn cell(figures: &Figures, (name, _, digits): &(&str, &str, usize)) -> String {
    let Some(Spread { median, min, max }) = figures.spread(name) else { return "–".to_owned() };
    format!("{median:.digits$} ({min:.digits$}–{max:.digits$})")
}

impl Serialize for Report {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let scenario =
            |(scenario, figures): &(&Scenario, Figures)| json!({"name": scenario.name, "figures": figures});
        let loads: Vec<Value> = self.figures.iter().map(scenario).collect();
        let Self { machine, rounds, seconds, .. } = self;
        json!({"machine": machine, "rounds": rounds, "seconds": seconds, "loads": loads})
            .serialize(serializer)
    }
}
