//! Waiting for what nobody announces.

use std::time::{Duration, Instant};

use tokio::time::sleep;

/// Asks until there is an answer, with pauses of `every` between; `None`: there was none `within` this time.
pub async fn poll<T>(
    within: Duration,
    every: Duration,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> Option<T> {
    let start = Instant::now();
    loop {
        let answer = ask().await;
        if answer.is_some() || start.elapsed() > within {
            return answer;
        }
        sleep(every).await;
    }
}
