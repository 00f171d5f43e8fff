//! Whose consumer is this? Each database has an id and a generation, and its consumer carries both.
//!
//! A consumer with another id belongs to another database. One with a higher generation has served a later
//! state of this very file, which is then a restored backup. The generation is committed here before it is
//! written there, so a crash of anything at any time leaves it lower there, and never raises a false alarm.

use std::sync::Arc;

use anyhow::{Context as _, Error, Result};
use tokio::sync::{Mutex, watch};

use crate::broker::identity::Identity;
use crate::broker::link::Complaints;
use crate::broker::stream::{Durable, Stream};
use crate::fail_point;
use crate::storage::Database;

/// One database, and the durable consumer that should be its own.
#[derive(Clone)]
pub struct Ownership {
    pub database: Database,
    /// The durable consumer's name, which is also the service's.
    pub consumer: &'static str,
    /// The subject that the consumer is filtered on.
    pub subject: &'static str,
    // What the database says; this process alone writes it.
    pub(super) identity: watch::Sender<Identity>,
    // The rows that the write connection had changed when the generation was last raised.
    recorded_at: Arc<Mutex<Option<i64>>>,
    complaints: Arc<Complaints>,
}

impl Ownership {
    /// Ties the consumer to the database.
    pub async fn establish(
        database: Database,
        consumer: &'static str,
        subject: &'static str,
    ) -> Result<Self> {
        let identity = watch::Sender::new(Identity::establish(&database).await?);
        let (recorded_at, complaints) = Default::default();
        Ok(Self { database, consumer, subject, identity, recorded_at, complaints })
    }

    /// Why the consumer is not this database's, and what to do; `None` if it is. A missing one is created as
    /// ours, and one that is nobody's is claimed.
    pub(super) async fn observe(&self, stream: &dyn Stream) -> Result<Option<String>> {
        let consumer = self.open(stream).await?;
        if consumer.seen().is_paused {
            self.complaints
                .log("an operator has paused the consumer: nothing is delivered until it is resumed");
        }
        // Read after the consumer: the generation only grows.
        let ours = self.identity.borrow().clone();
        match Identity::of(consumer.seen()) {
            None => {
                tracing::info!(consumer = self.consumer, database = ours.id, "consumer claimed");
                self.write(&*consumer, &ours).await?;
            }
            Some(owner) if owner.id != ours.id => {
                return Ok(Some(self.belongs_to_another(&owner, &ours)));
            }
            Some(owner) if owner.generation > ours.generation => {
                return Ok(Some(self.is_ahead_of_a_backup()));
            }
            Some(owner) => self.write(&*consumer, &owner).await?,
        }
        Ok(None)
    }

    /// The consumer; created as ours if it is missing.
    pub(super) async fn open(&self, stream: &dyn Stream) -> Result<Box<dyn Durable>> {
        match stream.consumer(self.consumer).await? {
            Some(consumer) => Ok(consumer),
            None => {
                let metadata = self.identity.borrow().metadata();
                stream.create_consumer(self.consumer, self.subject, metadata).await
            }
        }
    }

    /// Writes `owner` into the consumer's metadata, unless it and the settings stand there already.
    pub(super) async fn write(&self, consumer: &dyn Durable, owner: &Identity) -> Result<()> {
        consumer.update(self.subject, owner.metadata()).await
    }

    /// Raises the generation if the database has changed since: here first, and then at the consumer.
    pub(super) async fn record_generation(&self, stream: &dyn Stream) -> Result<()> {
        let mut recorded_at = self.recorded_at.lock().await;
        let Some((raised, changes)) = self.raise(*recorded_at).await? else { return Ok(()) };
        fail_point::reach("identity: generation committed, not at the broker");
        self.identity.send_replace(raised.clone());
        let consumer = self.open(stream).await?;
        // Whoever adopted it meanwhile keeps it.
        if Identity::of(consumer.seen()).is_some_and(|owner| owner.id == raised.id) {
            self.write(&*consumer, &raised).await?;
        }
        *recorded_at = Some(changes);
        Ok(())
    }

    /// The higher generation, and the rows changed up to it; `None` if none was since `recorded_at`.
    async fn raise(&self, recorded_at: Option<i64>) -> Result<Option<(Identity, i64)>> {
        let raised = self.database.write(|mut tx| async move {
            let changes: i64 = sqlx::query_scalar("SELECT total_changes()").fetch_one(&mut *tx).await?;
            if recorded_at == Some(changes) {
                return Ok((tx, None));
            }
            let raise = "UPDATE database_identity SET generation = generation + 1 RETURNING id, generation";
            let raised = sqlx::query_as(raise).fetch_one(&mut *tx).await?;
            Ok((tx, Some((raised, changes + 1))))
        });
        raised.await.map_err(Error::from).context("raise the database's generation")
    }

    fn belongs_to_another(&self, owner: &Identity, ours: &Identity) -> String {
        let name = self.consumer;
        format!(
            "the consumer {name} at the broker belongs to the database {}, and this one is {}: stop this \
             service, or, when the other database is stopped for good, take over with `{name} adopt`",
            owner.id, ours.id
        )
    }

    fn is_ahead_of_a_backup(&self) -> String {
        let name = self.consumer;
        format!(
            "the consumer {name} at the broker has served a later state of this database, which was restored \
             from a backup: bring the later file back, or go on with this one with `{name} adopt`"
        )
    }
}
