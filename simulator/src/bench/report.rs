//! The report: tables for people, in Markdown, and all figures in JSON.

use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

use super::machine::Machine;
use super::table::Table;

/// What a run measured.
pub struct Report {
    pub machine: Machine,
    pub rounds: u32,
    pub seconds: f64,
    pub tables: Vec<Table>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, rounds, seconds, tables } = self;
        writeln!(f, "{machine}.\n")?;
        writeln!(
            f,
            "{rounds} rounds, {seconds} s for each load. The median, and in brackets the lowest and the highest round; what has no \
             brackets was measured once."
        )?;
        tables.iter().try_for_each(|table| write!(f, "\n{table}"))
    }
}

impl Serialize for Report {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { machine, rounds, seconds, tables } = self;
        let mut report = json!({"machine": machine, "rounds": rounds, "seconds": seconds});
        for table in tables {
            report[table.name] = table.json();
        }
        Value::serialize(&report, serializer)
    }
}
