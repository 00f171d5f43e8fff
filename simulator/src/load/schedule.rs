//! When the next order is due: at once in a closed loop, at its own time in an open one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::plan::{Limit, LoadPlan, Pace};

/// Hands out numbers and times; shared by all connections.
pub(super) struct Schedule {
    pace: Pace,
    limit: Limit,
    started: Instant,
    next: AtomicU64,
}

/// The number of an order, and when it should be sent: what its latency is measured from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) number: u64,
    pub(super) due: Instant,
}

impl Schedule {
    pub(super) fn start(plan: &LoadPlan) -> Self {
        Self { pace: plan.pace, limit: plan.limit, started: Instant::now(), next: AtomicU64::new(0) }
    }

    /// Waits until the next order is due; `None` when enough were sent or `stop` is cancelled.
    pub(super) async fn next(&self, stop: &CancellationToken) -> Option<Turn> {
        if stop.is_cancelled() {
            return None;
        }
        let turn = self.claim()?;
        tokio::select! {
            biased;
            () = stop.cancelled() => None,
            () = sleep_until(turn.due.into()) => Some(turn),
        }
    }

    fn claim(&self) -> Option<Turn> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let due = self.due(number);
        let wanted = match self.limit {
            Limit::Count(count) => number < count,
            Limit::Duration(duration) => due < self.started + duration,
        };
        wanted.then_some(Turn { number, due })
    }

    fn due(&self, number: u64) -> Instant {
        match self.pace {
            Pace::Closed { .. } => Instant::now(),
            Pace::Open { rate, .. } => self.started + Duration::from_secs_f64(number as f64 / rate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::plan::Mix;

    fn schedule(pace: Pace, limit: Limit) -> Schedule {
        let mix = Mix { products: 1, hot: 0.0, unknown: 0.0, users: 1, quantity_max: 1 };
        Schedule::start(&LoadPlan::new(1, pace, limit, mix))
    }

    async fn turns(schedule: &Schedule) -> Vec<Turn> {
        let stop = CancellationToken::new();
        let mut turns = Vec::new();
        while let Some(turn) = schedule.next(&stop).await {
            turns.push(turn);
        }
        turns
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_loop_is_due_at_its_rate_however_late_it_is_asked() {
        let pace = Pace::Open { rate: 100.0, connections: 1 };
        let schedule = schedule(pace, Limit::Duration(Duration::from_secs(1)));
        // Nobody was free for 300 ms: the orders of that time are still due when they were.
        std::thread::sleep(Duration::from_millis(300));
        let turns = turns(&schedule).await;
        assert_eq!(turns.len(), 100);
        let offset = |turn: &Turn| turn.due.duration_since(schedule.started).as_millis();
        assert_eq!(turns.iter().map(offset).take(3).collect::<Vec<_>>(), [0, 10, 20]);
    }

    #[tokio::test]
    async fn a_count_is_met_exactly_and_a_cancelled_load_hands_out_nothing_more() {
        let schedule = schedule(Pace::Closed { connections: 2 }, Limit::Count(5));
        let numbers: Vec<u64> = turns(&schedule).await.iter().map(|turn| turn.number).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4]);
        let stop = CancellationToken::new();
        stop.cancel();
        let schedule = self::schedule(Pace::Closed { connections: 2 }, Limit::Count(5));
        assert_eq!(schedule.next(&stop).await, None);
    }
}
