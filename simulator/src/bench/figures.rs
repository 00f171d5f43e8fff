//! The figures of one thing that is measured, round by round.

use std::collections::BTreeMap;

use serde::Serialize;

/// What was measured once, by name.
pub type Measured = Vec<(&'static str, f64)>;

/// What was measured in each round, by name.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Figures(BTreeMap<&'static str, Vec<f64>>);

/// The middle of the rounds, and how far they lie apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Figures {
    /// What was measured once and for all.
    pub fn once(measured: Measured) -> Self {
        let mut figures = Self::default();
        figures.add(measured);
        figures
    }

    /// One more round. What is no number, as a ratio to what was too little to be measured, is left out.
    pub fn add(&mut self, round: Measured) {
        for (name, figure) in round.into_iter().filter(|(_, figure)| figure.is_finite()) {
            self.0.entry(name).or_default().push(figure);
        }
    }

    /// A figure in each round; empty where it was not measured, as processor time outside of Linux.
    pub fn rounds(&self, name: &str) -> &[f64] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// `None` where it was not measured.
    pub fn spread(&self, name: &str) -> Option<Spread> {
        spread(self.rounds(name))
    }
}

fn spread(figures: &[f64]) -> Option<Spread> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (min, max) = (*sorted.first()?, *sorted.last()?);
    // Of an even number the mean of the two in the middle.
    let (below, above) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
    Some(Spread { median: f64::midpoint(below, above), min, max })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_two_in_the_middle() {
        let median = |figures: &[f64]| spread(figures).map(|spread| spread.median);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[]), None);
        assert_eq!(Figures::once(vec![("ratio", 1.0 / 0.0), ("rate", f64::NAN)]).spread("ratio"), None);
        assert_eq!(spread(&[3.0, 1.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
    }
}
