//! The ratios that hold from machine to machine: each of two figures of one round, and then the median of the rounds.

use super::figures::{Figures, Measured};
use super::table::{Column, Table};

const COLUMNS: [Column; 1] = [("ratio", "ratio", 2)];

/// What is put beside each other.
pub struct Compared<'a> {
    pub waiting: &'a Figures,
    pub saturated: &'a Figures,
    pub quarter: &'a Figures,
    pub bound: &'a Figures,
    pub over_http: &'a Figures,
}

pub fn table(compared: &Compared<'_>) -> Table {
    let Compared { waiting, saturated, quarter, bound, over_http } = *compared;
    let same = |name: &str, above, below| ratio((above, name), (below, name));
    let rows = vec![
        ("settled/s at 64 connections ÷ the bound's", same("rate", saturated, bound)),
        ("CPU of the order service at 64 connections ÷ the bound's", same("order_cpu_us", saturated, bound)),
        ("CPU of the inventory at 64 connections ÷ the bound's", same("inventory_cpu_us", saturated, bound)),
        ("CPU of the broker at 64 connections ÷ the bound's", same("broker_cpu_us", saturated, bound)),
        ("settled/s at 64 connections ÷ the bound's over HTTP", same("rate", saturated, over_http)),
        (
            "CPU of the order service at 64 connections ÷ the bound's over HTTP",
            same("order_cpu_us", saturated, over_http),
        ),
        (
            "POST until settled, p50 at 1 connection ÷ its parts",
            ratio((waiting, "post_p50_ms"), (bound, "parts_ms")),
        ),
        ("POST p99 ÷ p50 at 64 connections", ratio((saturated, "post_p99_ms"), (saturated, "post_p50_ms"))),
        (
            "CPU of the order service at a quarter ÷ at 64 connections",
            same("order_cpu_us", quarter, saturated),
        ),
        (
            "CPU of the inventory at a quarter ÷ at 64 connections",
            same("inventory_cpu_us", quarter, saturated),
        ),
        ("CPU of the broker at a quarter ÷ at 64 connections", same("broker_cpu_us", quarter, saturated)),
    ];
    Table {
        name: "ratios",
        heading: "Ratios",
        note: "Of two figures of the same round.",
        columns: &COLUMNS,
        rows: rows.into_iter().map(|(name, figures)| (name.to_owned(), figures)).collect(),
    }
}

/// In each round; nothing where one of the two was not measured.
fn ratio(above: (&Figures, &str), below: (&Figures, &str)) -> Figures {
    let ((above, above_name), (below, below_name)) = (above, below);
    let rounds = above.rounds(above_name).iter().zip(below.rounds(below_name));
    let mut ratios = Figures::default();
    rounds.for_each(|(above, below)| ratios.add(Measured::from([("ratio", above / below)])));
    ratios
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_one_of_each_round_and_not_one_of_medians() {
        let figures = |name, rounds: [f64; 3]| {
            let mut figures = Figures::default();
            rounds.into_iter().for_each(|figure| figures.add(vec![(name, figure)]));
            figures
        };
        let (above, below) = (figures("rate", [10.0, 20.0, 60.0]), figures("rate", [20.0, 10.0, 30.0]));
        assert_eq!(ratio((&above, "rate"), (&below, "rate")).rounds("ratio"), [0.5, 2.0, 2.0]);
        assert!(ratio((&above, "rate"), (&below, "never")).rounds("ratio").is_empty());
    }
}
