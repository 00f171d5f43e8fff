//! The feed: one task reads each new status change once, and hands it to all whom it concerns.
//!
//! It never waits for a subscriber. One that falls behind is told so, and reads the database itself. So
//! everybody subscribes first and reads second: what the database does not show yet is handed over later.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::clock::sleep;
use shared::contract::status::Status;
use shared::storage::Database;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::status_changes;
use super::status_changes::StatusChange;

/// Changes read in one step, at most.
const PAGE_MAX: i64 = 1_000;
/// Commits wake the task; should a wake-up be missing, it looks after this time.
const TICK: Duration = Duration::from_secs(1);
/// Changes that wait for a subscriber before it is told that it is behind. An order has two changes in all.
const ORDER_BUFFER: usize = 2;
const USER_BUFFER: usize = 256;

/// What a subscriber wants to hear of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    /// The order with this id.
    Order(String),
    /// All orders of this user.
    User(String),
}

/// A change, or `None`: the database has what this subscriber should hear of.
type News = Option<Arc<StatusChange>>;

type Topics = HashMap<Topic, broadcast::Sender<News>>;

/// Where to subscribe. Cheap to clone.
#[derive(Clone, Default)]
pub struct Feed {
    topics: Arc<Mutex<Topics>>,
}

/// Reads the database and hands out what is new.
pub struct FeedReader {
    feed: Feed,
    database: Database,
    /// The id of the last change that was handed out; `None` while nobody listens.
    position: Option<i64>,
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// Nobody listens.
    Unwanted,
    /// So many changes were handed out; there may be more.
    Page(usize),
    /// So many changes were handed out, all that there were.
    All(usize),
}

impl FeedReader {
    pub fn new(database: Database, feed: Feed) -> Self {
        Self { feed, database, position: None }
    }

    /// Steps with each commit until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut commits = self.database.commits();
        while !shutdown.is_cancelled() {
            // Seen before the step looks: a commit during the step wakes the next one.
            commits.borrow_and_update();
            match self.read_once().await {
                Ok(Read::Page(_)) => continue,
                Ok(Read::Unwanted | Read::All(_)) => {}
                Err(error) => {
                    self.database.note_failure(&error);
                    tracing::warn!(%error, "status changes not read; they are read again");
                }
            }
            tokio::select! {
                _ = commits.changed() => {}
                () = sleep(TICK) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }

    /// One step. While nobody listens it reads nothing.
    ///
    /// The first step behind that begins with the newest change. Who subscribed before it has perhaps read the
    /// database before that change, and reads again.
    pub async fn read_once(&mut self) -> sqlx::Result<Read> {
        if self.feed.topics().is_empty() {
            self.position = None;
            return Ok(Read::Unwanted);
        }
        let Some(position) = self.position else {
            self.position = Some(status_changes::newest(self.database.reader()).await?);
            self.feed.topics().values().for_each(|topic| send(topic, None));
            return Ok(Read::All(0));
        };
        let page = status_changes::after(self.database.reader(), position, PAGE_MAX).await?;
        let handed = page.len();
        self.position = Some(page.last().map_or(position, |last| last.id));
        self.feed.hand_out(page);
        Ok(if handed < PAGE_MAX as usize { Read::All(handed) } else { Read::Page(handed) })
    }
}

fn send(topic: &broadcast::Sender<News>, news: News) {
    // It fails only without receivers, and the last of them takes its topic along.
    let _ = topic.send(news);
}

impl Feed {
    /// Subscribes to a topic, until the subscription is dropped.
    pub fn subscribe(&self, topic: Topic) -> Subscription {
        let buffer = match topic {
            Topic::Order(_) => ORDER_BUFFER,
            Topic::User(_) => USER_BUFFER,
        };
        let mut topics = self.topics();
        let sender = topics.entry(topic.clone()).or_insert_with(|| broadcast::channel(buffer).0);
        let changes = sender.subscribe();
        Subscription { feed: self.clone(), topic, changes }
    }

    /// How many topics somebody listens to.
    pub fn topics_count(&self) -> usize {
        self.topics().len()
    }

    fn topics(&self) -> MutexGuard<'_, Topics> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hand_out(&self, page: Vec<StatusChange>) {
        let topics = self.topics();
        for change in page.into_iter().map(Arc::new) {
            for topic in [Topic::Order(change.order_id.clone()), Topic::User(change.user_id.clone())] {
                if let Some(topic) = topics.get(&topic) {
                    send(topic, Some(change.clone()));
                }
            }
        }
    }
}

/// One subscriber's end of a topic.
pub struct Subscription {
    feed: Feed,
    topic: Topic,
    changes: broadcast::Receiver<News>,
}

impl Subscription {
    /// The next change; `None` when some will not come, because too many waited or nobody listened before: the
    /// database has them.
    pub async fn next(&mut self) -> Option<Arc<StatusChange>> {
        match self.changes.recv().await {
            Ok(news) => news,
            Err(RecvError::Lagged(_)) => None,
            // The sender stays as long as this subscription does.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }

    /// Waits until an order got its final status, or perhaps did: the database tells.
    pub async fn settled(&mut self) {
        while self.next().await.is_some_and(|change| change.status == Status::Created) {}
    }
}

impl Drop for Subscription {
    /// The last subscriber takes its topic along. Its receiver goes under the lock, too: of two that leave at
    /// once each would otherwise count the other one, and leave the topic behind for ever.
    fn drop(&mut self) {
        let mut topics = self.feed.topics();
        self.changes = broadcast::channel(1).1;
        if topics.get(&self.topic).is_some_and(|sender| sender.receiver_count() == 0) {
            topics.remove(&self.topic);
        }
    }
}
