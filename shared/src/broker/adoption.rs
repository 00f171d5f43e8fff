//! `adopt`: a database takes over the consumer of another database, or of a later state of itself.
//!
//! Until the last step, which is one commit, the service stays idle and the command can be repeated: the
//! consumer gets a new id, so that its previous owner notices and stops; it is set back where that heals;
//! then the database takes the new id. Where it certainly did not, the consumer is given back.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::broker::connection::Broker;
use crate::broker::identity::Identity;
use crate::broker::stream::Durable;
use crate::broker::watch::OBSERVE_EVERY;
use crate::clock;
use crate::storage::{Database, WriteError};

/// After this time a previous owner has looked at its consumer, and stopped.
const NOTICED_AFTER: Duration = Duration::from_millis(2 * OBSERVE_EVERY.as_millis() as u64);

/// How a service gets back what its database missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Healing {
    /// The events of all pending orders are sent again, and the inventory repeats the answers that it has.
    SendAgain,
    /// The consumer starts over at the stream's beginning: what is known is a repeat, what is not is decided.
    DecideAgain,
}

impl Healing {
    /// What it does, for an operator.
    pub fn effect(self) -> &'static str {
        match self {
            Self::SendAgain => {
                "All pending orders are sent again, and the inventory repeats the answers that it has."
            }
            Self::DecideAgain => {
                "Everything that the stream still holds (7 days) is decided again in its order: what this \
                 database knows is a repeat, what it lost is decided again."
            }
        }
    }
}

/// What an operator has to know of the other database.
pub const WARNING: &str = "The other database must stay stopped for good. What only it knows and the stream no longer \
                           holds may be decided a second time; a second answer that differs shows as the dead letter \
                           conflicting_result at the order service.";

/// What adopting did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Adoption {
    /// The consumer was this database's already; nothing was changed.
    Unnecessary,
    /// It is now; before, it was the database's with this id.
    Done(String),
}

/// Takes over the consumer. After an error the service is as idle as before, and it can be repeated, also where
/// the outcome is unknown: whichever id the database has by then, it is given a new one.
pub async fn adopt(broker: &Broker, healing: Healing) -> Result<Adoption, WriteError> {
    let ownership = &broker.ownership;
    let Some(consumer) = foreign_consumer(broker).await.map_err(WriteError::NotStored)? else {
        return Ok(Adoption::Unnecessary);
    };
    let previous = Identity::of(consumer.seen());
    let generation = ownership.identity.borrow().generation + 1;
    let adopted = Identity { id: clock::ordered_id().to_string(), generation };
    let prepared = prepare(broker, &*consumer, &adopted, healing).await.map_err(WriteError::NotStored);
    let taken = match prepared {
        Ok(()) => commit(&ownership.database, &adopted, healing).await,
        error => error,
    };
    if let (Err(WriteError::NotStored(_) | WriteError::Rejected(_)), Some(previous)) = (&taken, &previous) {
        give_back(broker, &adopted, previous).await;
    }
    taken?;
    ownership.identity.send_replace(adopted.clone());
    let previous = previous.map(|owner| owner.id).unwrap_or_default();
    tracing::warn!(consumer = ownership.consumer, database = adopted.id, previous, "consumer adopted");
    // It is adopted, whatever is seen now: the watch looks again within a second.
    if let Err(error) = broker.observe_once().await {
        tracing::warn!(error = format!("{error:#}"), "broker not reached right after the adoption");
    }
    Ok(Adoption::Done(previous))
}

/// The consumer, where it is another database's; `None` where it is this one's already.
async fn foreign_consumer(broker: &Broker) -> Result<Option<Box<dyn Durable>>> {
    ensure!(broker.ownership.database.is_writable(), "the database is not writable");
    broker.observe_once().await?;
    if broker.is_connected() {
        return Ok(None);
    }
    broker.ownership.open(broker.stream()).await.map(Some)
}

/// Writes the new id into the consumer's metadata, waits until its previous owner must have seen it, and sets the
/// consumer back where that heals.
async fn prepare(
    broker: &Broker,
    consumer: &dyn Durable,
    adopted: &Identity,
    healing: Healing,
) -> Result<()> {
    let ownership = &broker.ownership;
    ownership.write(consumer, adopted).await?;
    clock::sleep(NOTICED_AFTER).await;
    let now = Identity::of(ownership.open(broker.stream()).await?.seen());
    if now.as_ref() != Some(adopted) {
        bail!("another database wrote its id at the same moment: stop its service, and adopt again");
    }
    if healing == Healing::DecideAgain {
        consumer.reset(Some(1)).await.context("set the consumer back to the beginning of the stream")?;
    }
    Ok(())
}

/// Makes the consumer its previous owner's again, who would otherwise wait until somebody adopts. Where it was set
/// back, that owner finds repeats.
async fn give_back(broker: &Broker, adopted: &Identity, previous: &Identity) {
    let given = async {
        let consumer = broker.ownership.open(broker.stream()).await?;
        // Whoever adopted it meanwhile keeps it.
        if Identity::of(consumer.seen()).as_ref() == Some(adopted) {
            broker.ownership.write(&*consumer, previous).await?;
        }
        anyhow::Ok(())
    };
    if let Err(error) = given.await {
        let error = format!("{error:#}");
        tracing::error!(error, "not given back: the consumer belongs to no database until one adopts it");
    }
}

async fn commit(database: &Database, adopted: &Identity, healing: Healing) -> Result<(), WriteError> {
    let written = database.write(|mut tx| async move {
        sqlx::query("UPDATE database_identity SET id = $1, generation = $2")
            .bind(&adopted.id)
            .bind(adopted.generation)
            .execute(&mut *tx)
            .await?;
        if healing == Healing::SendAgain {
            sqlx::query("UPDATE broker_memory SET lost = 1").execute(&mut *tx).await?;
        }
        Ok((tx, ()))
    });
    written.await
}

/// What an operator is told, of the consumer `name`.
pub fn describe(name: &str, adoption: &Adoption, healing: Healing) -> String {
    let Adoption::Done(previous) = adoption else {
        return format!("The consumer {name} belongs to this database already. Nothing was changed.");
    };
    let healed = healing.effect();
    format!(
        "This database now owns the consumer {name}, which belonged to the database {previous}. {healed} {WARNING}"
    )
}
