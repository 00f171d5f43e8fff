//! What each tenth of the orders took.

use std::time::Instant;

use crate::bench::figures::{Figures, Measured};
use crate::bench::footprint;
use crate::load::{CpuMeter, micros_each};
use crate::topology::Topology;

pub struct Tenths {
    orders: u64,
    /// The tenth under way.
    meter: CpuMeter,
    started: Instant,
    settled_before: u64,
    /// By how many orders were settled in the end of each.
    complete: Vec<(u64, Measured)>,
}

impl Tenths {
    /// The first tenth begins now.
    pub fn start(topology: &Topology, orders: u64) -> Self {
        let meter = CpuMeter::start(topology);
        Self { orders, meter, started: Instant::now(), settled_before: 0, complete: Vec::new() }
    }

    /// Ends the tenth under way where so many settled orders complete it. Where the look comes late, it is a longer one.
    pub fn look(&mut self, topology: &Topology, settled: u64) {
        let tenth = |settled: u64| settled * 10 / self.orders;
        if tenth(settled) == tenth(self.settled_before) {
            return;
        }
        let (more, now) = (settled - self.settled_before, Instant::now());
        let mut measured = vec![("rate", more as f64 / (now - self.started).as_secs_f64())];
        measured.extend(micros_each(&self.meter.used(), more));
        measured.extend(footprint::memory(topology));
        measured.extend(footprint::wal(topology));
        self.complete.push((settled, measured));
        (self.meter, self.started, self.settled_before) = (CpuMeter::start(topology), now, settled);
    }

    /// Each figure of the last tenth in proportion to that of the first.
    pub fn last_to_first(&self) -> Figures {
        let (Some((_, first)), Some((_, last))) = (self.complete.first(), self.complete.last()) else {
            return Figures::default();
        };
        let before = |name| first.iter().find(|(other, _)| *other == name).map(|(_, figure)| *figure);
        Figures::once(last.iter().filter_map(|(name, after)| Some((*name, after / before(*name)?))).collect())
    }

    pub fn into_rows(self) -> Vec<(String, Figures)> {
        let named = |(settled, measured)| (format!("until {settled}"), Figures::once(measured));
        self.complete.into_iter().map(named).collect()
    }
}
