//! What is sent after commits, while the next ones are under way.

use anyhow::{Context, Result};
use tokio::task::JoinSet;

/// Commits whose events may be under way at once.
const UNDER_WAY_MAX: usize = 64;

#[derive(Default)]
pub(super) struct Sending(JoinSet<Result<()>>);

impl Sending {
    pub fn spawn(&mut self, batch: impl Future<Output = Result<()>> + Send + 'static) {
        self.0.spawn(batch);
    }

    /// Looks after what has ended, and waits where too much is under way.
    pub async fn keep_up(&mut self) -> Result<()> {
        while let Some(ended) = self.0.try_join_next() {
            ended.context("a batch was not sent")??;
        }
        while self.0.len() > UNDER_WAY_MAX {
            self.join_next().await?;
        }
        Ok(())
    }

    /// Waits for all.
    pub async fn finish(&mut self) -> Result<()> {
        while !self.0.is_empty() {
            self.join_next().await?;
        }
        Ok(())
    }

    async fn join_next(&mut self) -> Result<()> {
        let ended = self.0.join_next().await;
        ended.map_or(Ok(()), |ended| ended.context("a batch was not sent")?)
    }
}
