//! Gauges that are read with each scrape. Anybody may ask at any rate, and a count may read a whole table; so
//! one that took long is kept for a while.

use futures_util::future::BoxFuture;
use sqlx::SqlitePool;
use tokio::sync::Mutex;
use tokio::time::{Duration, Instant};

use crate::storage::Database;

/// A count is told again for so many times as long as it took: it costs a tenth of one reader's time at most.
const KEPT_TIMES: u32 = 9;
/// A count that took this long or less is no burden, and always made anew.
const FREE: Duration = Duration::from_millis(2);

type Count = Box<dyn for<'a> Fn(&'a SqlitePool) -> BoxFuture<'a, sqlx::Result<i64>> + Send + Sync>;

/// A number of `/metrics` that is found out when somebody asks.
pub struct Gauge {
    /// What it counts, for the log.
    what: &'static str,
    gauge: metrics::Gauge,
    count: Count,
    /// The latest count, and until when it is told again.
    kept: Mutex<Option<(i64, Instant)>>,
}

impl Gauge {
    pub fn new(
        what: &'static str,
        gauge: metrics::Gauge,
        count: impl for<'a> Fn(&'a SqlitePool) -> BoxFuture<'a, sqlx::Result<i64>> + Send + Sync + 'static,
    ) -> Self {
        Self { what, gauge, count: Box::new(count), kept: Mutex::default() }
    }

    /// Sets it; one that cannot be counted stays as it was.
    pub async fn read(&self, database: &Database) {
        match self.counted(database.reader()).await {
            Ok(number) => self.gauge.set(number as f64),
            Err(error) => {
                database.note_failure(&error);
                tracing::warn!(%error, "{} not counted", self.what);
            }
        }
    }

    /// The number now, or a short while ago. It is counted for one caller at a time.
    async fn counted(&self, reader: &SqlitePool) -> sqlx::Result<i64> {
        let mut kept = self.kept.lock().await;
        let started = Instant::now();
        if let Some((number, _)) = kept.filter(|(_, until)| started < *until) {
            return Ok(number);
        }
        let number = (self.count)(reader).await?;
        let took = started.elapsed();
        *kept = (took > FREE).then(|| (number, Instant::now() + took * KEPT_TIMES));
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use futures_util::future::join_all;
    use sqlx::sqlite::SqlitePoolOptions;

    use super::*;

    #[tokio::test]
    async fn a_count_that_takes_long_is_made_once_for_all_who_ask_at_the_same_time() {
        static MADE: AtomicI64 = AtomicI64::new(0);
        let gauge = Gauge::new("test", metrics::Gauge::noop(), |_| {
            Box::pin(async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                Ok(MADE.fetch_add(1, Ordering::Relaxed) + 1)
            })
        });
        let reader = SqlitePoolOptions::new().connect_lazy("sqlite::memory:").unwrap();
        let told = join_all((0..10).map(|_| gauge.counted(&reader))).await;
        assert!(told.iter().all(|number| matches!(number, Ok(1))), "{told:?}");
    }
}
