//! Requests that stay open until something happens: what bounds them, and how one waits for its order.
//!
//! None of them holds a database connection while it waits, and all end with the drain.

use std::sync::Arc;
use std::time::Duration;

use shared::http::database::read;
use shared::http::problem::Problem;
use shared::http::server::connections_max;
use shared::storage::Database;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::orders::feed::{Feed, Topic};
use crate::orders::{self, Order};

/// What requests that stay open work with. Cheap to clone.
#[derive(Clone)]
pub struct OpenRequests {
    pub feed: Feed,
    pub database: Database,
    /// Cancelled when the service begins to drain.
    pub shutdown: CancellationToken,
    slots: Arc<Semaphore>,
    slots_max: usize,
}

impl OpenRequests {
    /// With as many slots as half of the connections, so that others always get through.
    pub fn new(feed: Feed, database: Database, shutdown: CancellationToken) -> Self {
        let slots_max = connections_max() / 2;
        Self { feed, database, shutdown, slots: Arc::new(Semaphore::new(slots_max)), slots_max }
    }

    /// A slot for one request, as long as it is held; `None` when all are taken.
    pub fn slot(&self) -> Option<OwnedSemaphorePermit> {
        self.slots.clone().try_acquire_owned().ok()
    }

    /// How many slots are taken.
    pub fn taken(&self) -> i64 {
        (self.slots_max - self.slots.available_permits()) as i64
    }

    /// The order, and the wait that was honoured. `None` at once when the order is unknown or not `owner`'s.
    ///
    /// With a wait, the order comes as soon as it is settled, or as it is when the wait ends or the drain
    /// begins. A preference may be ignored (RFC 7240, section 2), and is while no slot is free.
    pub async fn find(
        &self,
        owner: Option<&str>,
        id: &str,
        wait: Option<Duration>,
    ) -> Result<(Option<Order>, Option<Duration>), Problem> {
        let slot = wait.and_then(|wait| Some((wait, self.slot()?)));
        let Some((wait, _slot)) = slot else { return Ok((self.find_now(owner, id).await?, None)) };
        // Before the order is read, so that a settlement after the read is heard of.
        let mut changes = self.feed.subscribe(Topic::Order(id.to_owned()));
        let mut found = self.find_now(owner, id).await?;
        let until = Instant::now() + wait;
        let mut is_over = false;
        while !is_over && found.as_ref().is_some_and(|order| !order.is_settled()) {
            tokio::select! {
                () = changes.settled() => {}
                () = sleep_until(until) => is_over = true,
                () = self.shutdown.cancelled() => is_over = true,
            }
            match self.find_now(owner, id).await {
                Ok(now) => found = now,
                // An older answer is better than none; but it is not what was waited for.
                Err(_) => return Ok((found, None)),
            }
        }
        Ok((found, Some(wait)))
    }

    async fn find_now(&self, owner: Option<&str>, id: &str) -> Result<Option<Order>, Problem> {
        read(&self.database, orders::find_of(self.database.reader(), owner, id)).await
    }
}
