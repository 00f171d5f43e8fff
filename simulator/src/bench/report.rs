//! The report: tables for people, in Markdown, and all figures in JSON.

use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

use super::machine::Machine;
use super::table::Table;

/// What a run measured.
pub struct Report {
    pub machine: Machine,
    /// 0 when nothing was measured in rounds.
    pub rounds: u32,
    pub seconds: f64,
    pub tables: Vec<Table>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, rounds, seconds, tables } = self;
        writeln!(f, "{machine}.\n")?;
        match rounds {
            0 | 1 => writeln!(f, "Each measured once, loads and reads for {seconds} s.")?,
            _ => writeln!(
                f,
                "{rounds} rounds, {seconds} s for each load and each kind of read. The median, and in brackets the lowest and the \
                 highest round; what has no brackets was measured once."
            )?,
        }
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
