//! Gets back what is delivered and will not be acknowledged: its process has died, or its pull was dropped.

use anyhow::Result;

use super::unreadable::Unreadable;
use crate::broker::stream::Durable;
use crate::fail_point;
use crate::storage::Database;

/// Who was given messages that are not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    /// The process before this one.
    DeadProcess,
    /// This process, with a pull that it dropped.
    DroppedPull,
}

/// Knows whether somebody may still hold messages.
pub(super) struct Reset {
    holder: Option<Holder>,
}

impl Reset {
    /// At the start of a process.
    pub fn after_a_dead_process() -> Self {
        Self { holder: Some(Holder::DeadProcess) }
    }

    pub fn pull_was_dropped(&mut self) {
        self.holder = self.holder.or(Some(Holder::DroppedPull));
    }

    /// Resets the consumer: what was delivered and not acknowledged comes again without waiting for `ack_wait`.
    ///
    /// A reset would deliver an unreadable message again, too. So that one is set aside instead, and the others
    /// are given back one by one.
    ///
    /// A reset starts the delivery counts over. A message that kills the process at every start would never
    /// reach the number at which it is given up. So after a dead process there is no reset without progress
    /// since the latest one; redelivery is then left to `ack_wait`, which counts.
    pub async fn take_back(&mut self, durable: &dyn Durable, unreadable: &Unreadable<'_>) -> Result<()> {
        let seen = durable.seen();
        let (floor, held) = (seen.ack_floor as i64, seen.unacknowledged);
        let Some(holder) = self.holder.filter(|_| held > 0) else {
            self.holder = None;
            return Ok(());
        };
        let due = !unreadable.set_aside_owed(seen, 0).await?
            && (holder == Holder::DroppedPull || note_progress(unreadable.database, floor).await?);
        if due {
            // From here on it is due, whatever becomes of this attempt.
            self.holder = Some(Holder::DroppedPull);
            fail_point::reach("consumer: reset noted, not done");
            durable.reset(None).await?;
            fail_point::reach("consumer: reset done");
            tracing::info!(consumer = seen.name, held, "unacknowledged messages are delivered again");
        }
        self.holder = None;
        Ok(())
    }
}

/// Whether the ack floor has moved since the latest reset after a dead process, which the database knows.
async fn note_progress(database: &Database, floor: i64) -> Result<bool> {
    let noted = database.write(|mut tx| async move {
        let noted = sqlx::query("UPDATE broker_memory SET reset_floor = $1 WHERE reset_floor IS NOT $1")
            .bind(floor)
            .execute(&mut *tx)
            .await?;
        Ok((tx, noted.rows_affected() > 0))
    });
    Ok(noted.await?)
}
