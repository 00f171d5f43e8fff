//! Whose consumer is this? Each database has an id and a generation, and its consumer carries both in its metadata.
//!
//! A consumer with another id belongs to another database. One with a higher generation has served a later state of this
//! very file, which is then a restored backup. The generation is committed here before it is written there, so a crash
//! of anything at any time leaves it lower there, and never raises a false alarm.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Error, Result};
use async_nats::jetstream::{Context, consumer::PullConsumer};
use uuid::Uuid;

use crate::{
    broker::{
        complaints::Complaints,
        jetstream::{create_consumer, find_consumer, update_consumer},
    },
    fail_point,
    storage::Database,
};

/// The key of the id in a consumer's metadata.
const ID_KEY: &str = "database";
/// The key of the generation.
const GENERATION_KEY: &str = "database_generation";

/// Which database this is, and how far its life has come.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Identity {
    /// A UUID.
    pub id: String,
    /// Higher is later.
    pub generation: i64,
}

impl Identity {
    /// Reads who `database` is. A file without an id, or one that is not the file that got it, gets an id of its own.
    pub async fn establish(database: &Database, path: &Path) -> Result<Self> {
        let inode = fs::metadata(path).with_context(|| format!("look at {}", path.display()))?.ino() as i64;
        let established = database.write(|mut tx| async move {
            let (known, known_inode): (String, i64) =
                sqlx::query_as("SELECT id, inode FROM database_identity").fetch_one(&mut *tx).await?;
            if known.is_empty() || known_inode != inode {
                let id = Uuid::now_v7().to_string();
                sqlx::query("UPDATE database_identity SET id = $1, inode = $2")
                    .bind(&id)
                    .bind(inode)
                    .execute(&mut *tx)
                    .await?;
                let was = Some(known).filter(|id| !id.is_empty());
                tracing::info!(database = id, copy_of = was, path = %path.display(), "the database has a new id");
            }
            let query = "SELECT id, generation FROM database_identity";
            let identity = sqlx::query_as(query).fetch_one(&mut *tx).await?;
            Ok((tx, identity))
        });
        established.await.map_err(Error::from).context("establish the database's identity")
    }

    /// What a consumer's metadata say of its database; `None` when it is nobody's yet.
    pub(crate) fn of(consumer: &PullConsumer) -> Option<Self> {
        let metadata = &consumer.cached_info().config.metadata;
        let generation = metadata.get(GENERATION_KEY).and_then(|text| text.parse().ok()).unwrap_or(0);
        metadata.get(ID_KEY).map(|id| Self { id: id.clone(), generation })
    }

    fn metadata(&self) -> HashMap<String, String> {
        let generation = self.generation.to_string();
        [(ID_KEY.to_owned(), self.id.clone()), (GENERATION_KEY.to_owned(), generation)].into()
    }
}

/// Whose the consumer is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// This database's.
    Ours,
    /// Not this database's; the text says why, and what to do.
    Foreign(String),
}

/// One database, and the durable consumer that should be its own.
#[derive(Clone)]
pub struct Ownership {
    /// The database.
    pub database: Database,
    /// The durable consumer's name, which is also the service's.
    pub consumer: &'static str,
    /// The subject that the consumer is filtered on.
    pub subject: &'static str,
    // What the database says; this process alone writes it.
    identity: Arc<Mutex<Identity>>,
    // The rows that the write connection had changed when the generation was last raised.
    marked_at: Arc<tokio::sync::Mutex<Option<i64>>>,
    complaints: Arc<Complaints>,
}

impl Ownership {
    /// Ties the consumer to the database.
    pub fn new(
        database: Database,
        identity: Identity,
        consumer: &'static str,
        subject: &'static str,
    ) -> Self {
        let identity = Arc::new(Mutex::new(identity));
        Self { database, consumer, subject, identity, marked_at: Arc::default(), complaints: Arc::default() }
    }

    /// Who the database is at present.
    pub(crate) fn identity(&self) -> Identity {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes note of what was committed.
    pub(crate) fn set_identity(&self, identity: Identity) {
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = identity;
    }

    /// Tells whose the consumer is. A missing one is created as ours, and one that is nobody's is claimed.
    pub(crate) async fn observe(&self, context: &Context) -> Result<Owner> {
        let consumer = self.open(context).await?;
        if consumer.cached_info().paused {
            self.complaints
                .log("an operator has paused the consumer: nothing is delivered until it is resumed");
        }
        // Read after the consumer: the generation only grows.
        let ours = self.identity();
        match Identity::of(&consumer) {
            None => {
                tracing::info!(consumer = self.consumer, database = ours.id, "consumer claimed");
                self.write(context, &consumer, &ours).await?;
            }
            Some(owner) if owner.id != ours.id => {
                return Ok(Owner::Foreign(self.belongs_to_another(&owner, &ours)));
            }
            Some(owner) if owner.generation > ours.generation => {
                return Ok(Owner::Foreign(self.is_ahead_of_a_backup()));
            }
            Some(owner) => self.write(context, &consumer, &owner).await?,
        }
        Ok(Owner::Ours)
    }

    /// The consumer; created as ours if it is missing.
    pub(crate) async fn open(&self, context: &Context) -> Result<PullConsumer> {
        match find_consumer(context, self.consumer).await? {
            Some(consumer) => Ok(consumer),
            None => create_consumer(context, self.consumer, self.subject, self.identity().metadata()).await,
        }
    }

    /// Writes `owner` into the consumer's metadata, unless it and the settings stand there already.
    pub(crate) async fn write(
        &self,
        context: &Context,
        consumer: &PullConsumer,
        owner: &Identity,
    ) -> Result<()> {
        update_consumer(context, consumer, self.subject, owner.metadata()).await
    }

    /// Raises the generation if the database has changed since the latest time, here first and then at the consumer.
    pub(crate) async fn mark(&self, context: &Context) -> Result<()> {
        let mut marked_at = self.marked_at.lock().await;
        let Some((raised, changes)) = self.raise(*marked_at).await? else { return Ok(()) };
        fail_point::reach("identity: generation committed, not at the broker");
        self.set_identity(raised.clone());
        let consumer = self.open(context).await?;
        // Whoever adopted it meanwhile keeps it.
        if Identity::of(&consumer).is_some_and(|owner| owner.id == raised.id) {
            self.write(context, &consumer, &raised).await?;
        }
        *marked_at = Some(changes);
        Ok(())
    }

    /// The higher generation, and the rows that were changed up to it; `None` if none was changed since `marked_at`.
    async fn raise(&self, marked_at: Option<i64>) -> Result<Option<(Identity, i64)>> {
        let raised = self.database.write(|mut tx| async move {
            let changes: i64 = sqlx::query_scalar("SELECT total_changes()").fetch_one(&mut *tx).await?;
            if marked_at == Some(changes) {
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
            "the consumer {name} at the broker belongs to the database {}, and this one is {}: stop this service, or, when the \
             other database is stopped for good, take over with `{name} adopt`",
            owner.id, ours.id
        )
    }

    fn is_ahead_of_a_backup(&self) -> String {
        let name = self.consumer;
        format!(
            "the consumer {name} at the broker has served a later state of this database, which was restored from a backup: bring \
             the later file back, or go on with this one with `{name} adopt`"
        )
    }
}
