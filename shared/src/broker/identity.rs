//! Who a database is: an id, and a generation that grows with its life.

use std::fs;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context as _, Error, Result};

use crate::broker::stream::{ConsumerState, Metadata};
use crate::storage::Database;
use crate::{clock, from_row};

/// The key of the id in a consumer's metadata.
const ID_KEY: &str = "database";
/// The key of the generation.
pub const GENERATION_KEY: &str = "database_generation";

/// Which database this is, and how far its life has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// A UUID.
    pub id: String,
    /// Higher is later.
    pub generation: i64,
}

from_row!(Identity { id, generation });

impl Identity {
    /// Reads who `database` is. A file without an id, or one that is not the file that got it, gets one.
    pub async fn establish(database: &Database) -> Result<Self> {
        let path = database.path();
        let inode = fs::metadata(path).with_context(|| format!("look at {}", path.display()))?.ino() as i64;
        let established = database.write(|mut tx| async move {
            let (known, known_inode): (String, i64) =
                sqlx::query_as("SELECT id, inode FROM database_identity").fetch_one(&mut *tx).await?;
            if known.is_empty() || known_inode != inode {
                let id = clock::ordered_id().to_string();
                sqlx::query("UPDATE database_identity SET id = $1, inode = $2")
                    .bind(&id)
                    .bind(inode)
                    .execute(&mut *tx)
                    .await?;
                let (path, copy_of) = (path.display(), Some(known).filter(|id| !id.is_empty()));
                tracing::info!(database = id, copy_of, %path, "the database has a new id");
            }
            let query = "SELECT id, generation FROM database_identity";
            let identity = sqlx::query_as(query).fetch_one(&mut *tx).await?;
            Ok((tx, identity))
        });
        established.await.map_err(Error::from).context("establish the database's identity")
    }

    /// What a consumer's metadata say of its database; `None` when it is nobody's yet.
    pub fn of(consumer: &ConsumerState) -> Option<Self> {
        let metadata = &consumer.metadata;
        let generation = metadata.get(GENERATION_KEY).and_then(|text| text.parse().ok()).unwrap_or(0);
        metadata.get(ID_KEY).map(|id| Self { id: id.clone(), generation })
    }

    /// The same as a consumer's metadata.
    pub fn metadata(&self) -> Metadata {
        let generation = self.generation.to_string();
        [(ID_KEY.to_owned(), self.id.clone()), (GENERATION_KEY.to_owned(), generation)].into()
    }
}
