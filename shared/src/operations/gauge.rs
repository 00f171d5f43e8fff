//! Gauges that are read with each scrape: anybody may ask at any rate, and counting reads the whole of a table or index.

use futures_util::future::BoxFuture;
use sqlx::SqlitePool;
use tokio::{
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::storage::Database;

/// A count is told again for so many times as long as it took: a tenth of one reader's time is spent on it at most.
const KEPT_TIMES: u32 = 9;
/// A count that took this long or less is no burden, and always made anew.
const FREE: Duration = Duration::from_millis(2);

/// Counts the rows of something.
pub type Count = for<'a> fn(&'a SqlitePool) -> BoxFuture<'a, sqlx::Result<i64>>;

/// One gauge, and where its number comes from.
pub struct Gauge {
    gauge: metrics::Gauge,
    source: Source,
}

enum Source {
    Rows(Count, RowCount),
    Value(Box<dyn Fn() -> usize + Send + Sync>),
}

impl Gauge {
    /// So many rows as `count` finds, or found a short while ago.
    pub fn rows(gauge: metrics::Gauge, count: Count) -> Self {
        Self { gauge, source: Source::Rows(count, RowCount::default()) }
    }

    /// A number that costs nothing to read.
    pub fn value(gauge: metrics::Gauge, read: impl Fn() -> usize + Send + Sync + 'static) -> Self {
        Self { gauge, source: Source::Value(Box::new(read)) }
    }

    /// Sets it; one that cannot be counted stays as it was.
    pub async fn read(&self, database: &Database) {
        match &self.source {
            Source::Value(read) => self.gauge.set(read() as f64),
            Source::Rows(count, kept) => match kept.rows(count(database.reader())).await {
                Ok(rows) => self.gauge.set(rows as f64),
                Err(error) => {
                    database.note_failure(&error);
                    tracing::warn!(%error, "rows not counted for a gauge");
                }
            },
        }
    }
}

/// One count, made by one caller at a time.
#[derive(Default)]
struct RowCount(Mutex<Option<(i64, Instant)>>);

impl RowCount {
    /// The number that `count` finds, or found a short while ago.
    async fn rows(&self, count: impl Future<Output = sqlx::Result<i64>>) -> sqlx::Result<i64> {
        let mut counted = self.0.lock().await;
        let started = Instant::now();
        if let Some((rows, _)) = counted.filter(|(_, until)| started < *until) {
            return Ok(rows);
        }
        let rows = count.await?;
        let took = started.elapsed();
        *counted = (took > FREE).then(|| (rows, Instant::now() + took * KEPT_TIMES));
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn a_count_that_takes_long_is_made_once_for_all_who_ask_at_the_same_time() {
        let (asked, made) = (RowCount::default(), std::cell::Cell::new(0));
        let count = async || {
            tokio::time::sleep(Duration::from_millis(100)).await;
            made.set(made.get() + 1);
            Ok(7)
        };
        let told = join_all((0..10).map(|_| asked.rows(count()))).await;
        assert!(told.iter().all(|rows| matches!(rows, Ok(7))), "{told:?}");
        assert_eq!(made.get(), 1);
    }
}
