//! Batches that the stream acknowledged and that are not deleted yet.
//!
//! Deleting costs a commit, and so an fsync of the one writer that new orders wait for, too. So batches of
//! several steps are deleted together, soon. A crash in between costs a repeat and nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Error, Result};

use super::unsendable;
use super::unsendable::Unsendable;
use crate::broker::stream_memory;
use crate::broker::stream_memory::Acknowledged;
use crate::clock::Instant;
use crate::delivery::outbox;
use crate::fail_point;
use crate::storage::Database;

/// Acknowledged batches are deleted at this number…
const DELETE_AT: usize = 1_000;
/// … and at the latest after this time.
pub const DELETE_AFTER: Duration = Duration::from_millis(50);

#[derive(Default)]
pub(super) struct AcknowledgedBatches {
    /// Each once, also where it was published again while the disk was full.
    ids: BTreeSet<i64>,
    latest: Acknowledged,
    since: Option<Instant>,
}

impl AcknowledgedBatches {
    /// Adds what was acknowledged in one step.
    pub fn add(&mut self, ids: Vec<i64>, latest: Acknowledged) {
        if latest.sequence > self.latest.sequence {
            self.latest = latest;
        }
        self.since.get_or_insert_with(Instant::now);
        self.ids.extend(ids);
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    pub fn is_due(&self) -> bool {
        self.ids.len() >= DELETE_AT || self.since.is_some_and(|since| since.elapsed() >= DELETE_AFTER)
    }

    /// Deletes the batches, sets aside what is unsendable in them, and remembers the latest acknowledgement.
    pub async fn delete(
        &mut self,
        database: &Database,
        service: &'static str,
        unsendable: &[Unsendable<'_>],
    ) -> Result<()> {
        if !self.is_empty() {
            let (ids, latest) = (&self.ids, &self.latest);
            let deleted = database.write(|mut tx| async move {
                fail_point::reach("relay: PubAcks seen, rows not deleted");
                unsendable::set_aside(&mut tx, service, unsendable).await?;
                outbox::delete(&mut tx, ids).await?;
                stream_memory::remember(&mut tx, latest).await?;
                fail_point::reach("relay: rows deleted, not committed");
                Ok((tx, ()))
            });
            deleted.await.map_err(Error::from).context("delete relayed events")?;
            unsendable::report(service, unsendable);
            fail_point::reach("relay: delete committed");
        }
        *self = Self::default();
        Ok(())
    }
}
