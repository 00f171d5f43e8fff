//! What `sim load` prints in the end.

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter, Result};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::Load;
use super::end::End;

/// The result of one run.
pub(super) struct Summary {
    pub(super) accepted: u64,
    pub(super) confirmed: u64,
    pub(super) cancelled: u64,
    /// Accepted, and not settled when the run gave up.
    pub(super) unsettled: usize,
    seed: u64,
    refused: BTreeMap<u16, u64>,
    unknown: u64,
    resolved: u64,
    unsent: u64,
    /// From the first POST to the last settled order.
    span: Duration,
    post: Percentiles,
    settle: Percentiles,
    pending: Option<u64>,
    cpu: Vec<(&'static str, Duration)>,
}

struct Percentiles {
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

impl Summary {
    pub(super) fn new(load: &Load, end: &End, cpu: Vec<(&'static str, Duration)>) -> Self {
        let tally = load.tally.lock();
        Self {
            seed: load.plan.seed,
            accepted: tally.accepted,
            confirmed: tally.confirmed,
            cancelled: tally.cancelled,
            unsettled: tally.open.len(),
            refused: tally.refused.clone(),
            unknown: tally.unknown,
            resolved: tally.resolved,
            unsent: tally.unsent,
            span: end.at.saturating_duration_since(tally.started),
            post: Percentiles::of(&tally.post),
            settle: Percentiles::of(&tally.settle),
            pending: end.pending,
            cpu,
        }
    }

    fn settled(&self) -> u64 {
        self.confirmed + self.cancelled
    }
}

impl Percentiles {
    fn of(histogram: &Histogram<u64>) -> Self {
        let milliseconds = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        Self { p50_ms: milliseconds(0.5), p99_ms: milliseconds(0.99), max_ms: milliseconds(1.0) }
    }
}

impl Display for Percentiles {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", self.p50_ms, self.p99_ms, self.max_ms)
    }
}

impl Display for Summary {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let rate = self.settled() as f64 / self.span.as_secs_f64().max(f64::EPSILON);
        writeln!(f, "seed             {}", self.seed)?;
        writeln!(f, "accepted         {}", self.accepted)?;
        writeln!(
            f,
            "settled          {} ({} confirmed, {} cancelled)",
            self.settled(),
            self.confirmed,
            self.cancelled
        )?;
        writeln!(f, "unsettled        {}", self.unsettled)?;
        writeln!(f, "refused          {}", Refusals(&self.refused))?;
        match self.resolved {
            0 => writeln!(f, "unknown outcome  {}", self.unknown)?,
            more => writeln!(
                f,
                "unknown outcome  {} ({more} more became known by repeating the key)",
                self.unknown
            )?,
        }
        if self.unsent > 0 {
            writeln!(f, "not sent         {}", self.unsent)?;
        }
        writeln!(
            f,
            "rate             {rate:.0} orders/s, first POST to last settled in {:.2} s",
            self.span.as_secs_f64()
        )?;
        writeln!(f, "POST to 201      {}", self.post)?;
        writeln!(f, "POST to settled  {}", self.settle)?;
        match self.pending {
            Some(pending) => writeln!(f, "orders_pending   {pending}")?,
            None => writeln!(f, "orders_pending   not among the order service's metrics")?,
        }
        for (name, used) in &self.cpu {
            let micros = used.as_secs_f64() * 1e6 / self.settled().max(1) as f64;
            writeln!(f, "CPU per order    {micros:.1} µs {name}")?;
        }
        Ok(())
    }
}

struct Refusals<'a>(&'a BTreeMap<u16, u64>);

impl Display for Refusals<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if self.0.is_empty() {
            return write!(f, "0");
        }
        let parts: Vec<String> =
            self.0.iter().map(|(status, count)| format!("{count} with {status}")).collect();
        write!(f, "{}", parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::Status;
    use crate::load::plan::{Limit, LoadPlan, Mix, Pace};
    use crate::load::tally::Open;
    use crate::load::target::Target;
    use std::time::Instant;

    fn load() -> Load {
        let mix = Mix { products: 1, hot: 0.0, unknown: 0.0, users: 1, quantity_max: 1 };
        let pace = Pace::Closed { connections: 1 };
        let plan = LoadPlan { seed: 42, pace, limit: Limit::Count(1), mix };
        Load::new(plan, Target::with_token("http://127.0.0.1:1", ""), None)
    }

    #[test]
    fn the_summary_counts_each_fate_and_divides_by_the_whole_span() {
        let load = load();
        let due = Instant::now();
        {
            let mut tally = load.tally.lock();
            tally.started = due;
            for id in ["a", "b", "c"] {
                tally.accept(id.to_owned(), Status::Created, Open { due, accepted: due, user: 0 });
            }
            tally.settle("a".to_owned(), Status::Confirmed, due + Duration::from_millis(4));
            tally.settle("b".to_owned(), Status::Cancelled, due + Duration::from_millis(8));
            tally.refuse(503);
            tally.refuse(503);
            (tally.unknown, tally.resolved) = (1, 5);
        }
        let end = End { at: due + Duration::from_secs(2), pending: Some(1) };
        let text = Summary::new(&load, &end, vec![("broker", Duration::from_micros(50))]).to_string();
        for line in [
            "seed             42",
            "accepted         3",
            "settled          2 (1 confirmed, 1 cancelled)",
            "unsettled        1",
            "refused          2 with 503",
            "unknown outcome  1 (5 more became known by repeating the key)",
            "rate             1 orders/s, first POST to last settled in 2.00 s",
            "POST to settled  p50 4.00 ms, p99 8.00 ms, max 8.00 ms",
            "orders_pending   1",
            "CPU per order    25.0 µs broker",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
        }
    }
}
