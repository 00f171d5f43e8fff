//! How many rows there are, for a gauge: anybody may ask at any rate, and counting reads the whole of a table or index.

use tokio::{
    sync::Mutex,
    time::{Duration, Instant},
};

/// A count is told again for so many times as long as it took: a tenth of one reader's time is spent on it at most.
const KEPT_TIMES: u32 = 9;
/// A count that took this long or less is no burden, and always made anew.
const FREE: Duration = Duration::from_millis(2);

/// One count, made by one caller at a time.
#[derive(Default)]
pub struct RowCount(Mutex<Option<(i64, Instant)>>);

impl RowCount {
    /// The number that `count` finds, or found a short while ago.
    pub async fn rows(&self, count: impl Future<Output = sqlx::Result<i64>>) -> sqlx::Result<i64> {
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
