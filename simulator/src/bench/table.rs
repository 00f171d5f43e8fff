//! A table of the report: rows of figures, each as the median of its rounds.

use std::fmt;

use serde_json::{Value, json};

use super::figures::{Figures, Spread};

/// A figure's name, its heading, and how many digits stand behind the point.
pub type Column = (&'static str, &'static str, usize);

pub struct Table {
    /// Its name in JSON.
    pub name: &'static str,
    pub heading: &'static str,
    /// What the figures mean.
    pub note: &'static str,
    pub columns: &'static [Column],
    pub rows: Vec<(String, Figures)>,
}

impl Table {
    pub fn json(&self) -> Value {
        self.rows.iter().map(|(name, figures)| json!({"name": name, "figures": figures})).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { heading, note, columns, rows, .. } = self;
        writeln!(f, "## {heading}\n\n{note}\n")?;
        let headings: Vec<&str> = columns.iter().map(|(_, heading, _)| *heading).collect();
        writeln!(f, "| | {} |", headings.join(" | "))?;
        writeln!(f, "|---|{}", "---|".repeat(columns.len()))?;
        for (name, figures) in rows {
            let cells: Vec<String> = columns.iter().map(|column| cell(figures, column)).collect();
            writeln!(f, "| {name} | {} |", cells.join(" | "))?;
        }
        Ok(())
    }
}

/// The median, and in brackets the lowest and the highest round, where there are several.
fn cell(figures: &Figures, (name, _, digits): &Column) -> String {
    let Some(Spread { median, min, max }) = figures.spread(name) else { return "–".to_owned() };
    match figures.rounds(name).len() {
        1 => format!("{median:.digits$}"),
        _ => format!("{median:.digits$} ({min:.digits$}–{max:.digits$})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_of_one_round_has_no_range_and_a_missing_one_is_a_dash() {
        let mut figures = Figures::once(vec![("once", 1.25), ("twice", 1.0)]);
        figures.add(vec![("twice", 2.0)]);
        let columns = &[("once", "Once", 1), ("twice", "Twice", 2), ("never", "Never", 0)];
        let rows = vec![("row".to_owned(), figures)];
        let table = Table { name: "t", heading: "T", note: "N.", columns, rows };
        let lines = [
            "## T",
            "",
            "N.",
            "",
            "| | Once | Twice | Never |",
            "|---|---|---|---|",
            "| row | 1.2 | 1.50 (1.00–2.00) | – |",
        ];
        assert_eq!(table.to_string().lines().collect::<Vec<_>>(), lines);
        assert_eq!(table.json(), json!([{"name": "row", "figures": {"once": [1.25], "twice": [1.0, 2.0]}}]));
    }
}
