//! What `sim load` prints in the end.

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter, Result};

use anyhow::ensure;
use hdrhistogram::Histogram;

use super::cpu::{CpuTimes, micros_each};
use super::end::End;
use super::tally::{Tally, Totals};

/// What a load did, once every accepted order is settled, or too many are not.
pub(crate) struct Summary {
    pub(super) seed: u64,
    pub(super) tally: Tally,
    pub(super) end: End,
    pub(super) cpu: CpuTimes,
}

impl Summary {
    /// Fails if an accepted order was not settled.
    pub fn check_settled(&self) -> anyhow::Result<()> {
        let unsettled = self.tally.open.len();
        ensure!(unsettled == 0, "{unsettled} accepted orders were not settled");
        Ok(())
    }

    /// Settled orders a second, from the first POST to the last settled order.
    pub fn rate(&self) -> f64 {
        self.tally.totals.settled as f64 / self.span().max(f64::EPSILON)
    }

    fn span(&self) -> f64 {
        self.end.at.saturating_duration_since(self.tally.started).as_secs_f64()
    }

    /// The same as numbers: orders a second, milliseconds, and microseconds of CPU for each settled order.
    pub fn figures(&self) -> Vec<(&'static str, f64)> {
        let Tally { post, settle, .. } = &self.tally;
        let mut figures = vec![
            ("rate", self.rate()),
            ("post_p50_ms", ms(post, 0.5)),
            ("post_p99_ms", ms(post, 0.99)),
            ("decided_p50_ms", ms(settle, 0.5)),
            ("decided_p99_ms", ms(settle, 0.99)),
        ];
        figures.extend(micros_each(&self.cpu, self.tally.totals.settled));
        figures
    }
}

impl Display for Summary {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Tally { totals, cancelled, unsent, refused, post, settle, open, .. } = &self.tally;
        let Totals { accepted, settled, unknown, resolved, .. } = *totals;
        let confirmed = settled - cancelled;
        let (rate, span) = (self.rate(), self.span());
        writeln!(f, "seed             {}", self.seed)?;
        writeln!(f, "accepted         {accepted}")?;
        writeln!(f, "settled          {settled} ({confirmed} confirmed, {cancelled} cancelled)")?;
        writeln!(f, "unsettled        {}", open.len())?;
        writeln!(f, "refused          {}", by_status(refused))?;
        write!(f, "unknown outcome  {unknown}")?;
        match resolved {
            0 => writeln!(f)?,
            more => writeln!(f, " ({more} more became known by repeating the key)")?,
        }
        if *unsent > 0 {
            writeln!(f, "not sent         {unsent}")?;
        }
        writeln!(f, "rate             {rate:.0} orders/s, first POST to last settled in {span:.2} s")?;
        writeln!(f, "POST to 201      {}", percentiles(post))?;
        writeln!(f, "POST to decided  {}", percentiles(settle))?;
        match self.end.pending {
            Some(pending) => writeln!(f, "orders_pending   {pending}")?,
            None => writeln!(f, "orders_pending   not among the order service's metrics")?,
        }
        for (name, used) in &self.cpu {
            let micros = used.as_secs_f64() * 1e6 / settled.max(1) as f64;
            writeln!(f, "CPU per order    {micros:.1} µs {name}")?;
        }
        Ok(())
    }
}

fn percentiles(times: &Histogram<u64>) -> String {
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| ms(times, share));
    format!("p50 {p50:.2} ms, p99 {p99:.2} ms, max {max:.2} ms")
}

/// The time within which this share of the orders lies, in milliseconds.
fn ms(times: &Histogram<u64>, share: f64) -> f64 {
    times.value_at_quantile(share) as f64 / 1000.0
}

fn by_status(refused: &BTreeMap<u16, u64>) -> String {
    let parts: Vec<String> = refused.iter().map(|(status, count)| format!("{count} with {status}")).collect();
    if parts.is_empty() { "0".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::tally::Open;
    use shared::contract::status::Status;
    use std::time::{Duration, Instant};

    #[test]
    fn the_summary_counts_each_fate_and_divides_by_the_whole_span() {
        let (mut tally, due) = (Tally::new(), Instant::now());
        tally.started = due;
        for id in ["a", "b", "c"] {
            tally.accept(id.to_owned(), Status::Created, Open { due, accepted: due, user: 0 });
        }
        tally.settle("a".to_owned(), Status::Confirmed, due + Duration::from_millis(4));
        tally.settle("b".to_owned(), Status::Cancelled, due + Duration::from_millis(8));
        tally.refuse(503);
        tally.refuse(503);
        (tally.totals.unknown, tally.totals.resolved) = (1, 5);
        let end = End { at: due + Duration::from_secs(2), pending: Some(1) };
        let cpu = vec![("broker", Duration::from_micros(50))];
        let text = Summary { seed: 42, tally, end, cpu }.to_string();
        for line in [
            "seed             42",
            "accepted         3",
            "settled          2 (1 confirmed, 1 cancelled)",
            "unsettled        1",
            "refused          2 with 503",
            "unknown outcome  1 (5 more became known by repeating the key)",
            "rate             1 orders/s, first POST to last settled in 2.00 s",
            "POST to decided  p50 4.00 ms, p99 8.00 ms, max 8.00 ms",
            "orders_pending   1",
            "CPU per order    25.0 µs broker",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
        }
    }
}
