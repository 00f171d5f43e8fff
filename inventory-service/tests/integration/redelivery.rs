//! Messages that come again: because a process died with them, or because they themselves cannot be handled.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use async_nats::jetstream;
use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::PullConsumer;
use processes::proxy::{Link, Proxy};
use shared::broker::Broker as Connection;
use shared::broker::jetstream::ACK_WAIT;
use shared::broker::stream::Durable;
use shared::contract::events::{EventBody, Received};
use shared::contract::subjects::{INVENTORY_CONSUMER, ORDER_CREATED, STREAM};
use shared::delivery::consumer::{Consumed, Consumer};
use shared::delivery::handler::{EventHandler, Outcome};
use shared::storage::{Database, Tx};
use testing::{Broker, wait_until};
use tokio_util::sync::CancellationToken;

use crate::fixture::{
    Home, Publisher, body, confirmed, connected, connection, ends, inventory_consumer, order, take,
};

/// Any body.
struct Raw(String);

impl EventBody for Raw {
    const SUBJECT: &'static str = ORDER_CREATED;

    fn decode(body: &[u8]) -> Result<Self, String> {
        Ok(Self(String::from_utf8_lossy(body).into_owned()))
    }
}

/// Remembers each call as `body#attempt` words, and fails every batch with the body `bad`.
#[derive(Clone, Default)]
struct Failing {
    calls: Arc<Mutex<Vec<String>>>,
}

impl EventHandler for Failing {
    type Event = Raw;

    async fn handle(&self, _: &mut Tx, batch: &[Received<Raw>]) -> Result<Vec<Outcome>> {
        let words = batch.iter().map(|one| format!("{}#{}", one.event.0, one.attempt));
        self.calls.lock().unwrap().push(words.collect::<Vec<_>>().join(" "));
        ensure!(batch.iter().all(|one| one.event.0 != "bad"), "it fails on purpose");
        Ok(batch.iter().map(|_| Outcome::Done("counted")).collect())
    }
}

/// Holds what it is given for ever, as a process does that dies of it. Remembers the attempts.
#[derive(Clone, Default)]
struct Stuck {
    attempts: Arc<Mutex<Vec<i64>>>,
}

impl EventHandler for Stuck {
    type Event = Raw;

    async fn handle(&self, _: &mut Tx, batch: &[Received<Raw>]) -> Result<Vec<Outcome>> {
        self.attempts.lock().unwrap().push(batch[0].attempt);
        std::future::pending().await
    }
}

/// Finds the database's worker gone until it is mended; then counts.
#[derive(Clone, Default)]
struct Unwritable {
    mended: Arc<AtomicBool>,
}

impl EventHandler for Unwritable {
    type Event = Raw;

    async fn handle(&self, _: &mut Tx, batch: &[Received<Raw>]) -> Result<Vec<Outcome>> {
        match self.mended.load(Ordering::Relaxed) {
            true => Ok(batch.iter().map(|_| Outcome::Done("counted")).collect()),
            false => Err(sqlx::Error::WorkerCrashed.into()),
        }
    }
}

/// A consumer's parts without its loop, and who publishes to it.
struct World {
    _broker: Broker,
    home: Home,
    database: Database,
    connection: Connection,
    durable: Box<dyn Durable>,
    /// The same for whoever takes messages by hand.
    pulls: PullConsumer,
    publisher: Publisher,
}

impl World {
    async fn start() -> Self {
        let broker = Broker::start().await;
        let (home, connection) = (Home::at(&broker), connection(&broker).await);
        let (database, durable) = (home.database().await, connection.open_consumer().await.unwrap());
        let pulls = inventory_consumer(&broker).await;
        let publisher = Publisher::order(&broker).await;
        Self { _broker: broker, home, database, connection, durable, pulls, publisher }
    }

    fn consumer(&self, handler: impl EventHandler) -> Consumer {
        Consumer::new(self.database.clone(), self.connection.clone(), Arc::new(handler))
    }
}

/// Gives the one waiting message back until its next delivery is number `next`.
async fn nak_until_delivery(pulls: &PullConsumer, next: i64) {
    loop {
        let message = take(pulls, 1).await.remove(0);
        let delivered = message.info().unwrap().delivered;
        message.ack_with(AckKind::Nak(None)).await.unwrap();
        if delivered + 1 >= next {
            return;
        }
    }
}

#[tokio::test]
async fn a_message_that_always_fails_is_handled_alone_from_its_5th_delivery_and_given_up_at_its_20th_attempt()
{
    let world = World::start().await;
    let World { home, durable, pulls, publisher, .. } = &world;
    let failing = Failing::default();
    let consumer = world.consumer(failing.clone());
    let calls = || std::mem::take(&mut *failing.calls.lock().unwrap()).join(", ");

    publisher.publish("bad").await;
    nak_until_delivery(pulls, 4).await;
    publisher.publish("good-1").await;
    publisher.publish("good-2").await;
    assert_eq!(consumer.consume_once(&**durable).await.unwrap(), Consumed::Handled(3));
    let seen = calls();
    for word in ["bad#4", "good-1#1", "good-2#1"] {
        assert!(seen.contains(word), "{word}: {seen}");
    }

    // Given back with a delay of a second. Meanwhile nothing else waits: the good ones are acknowledged.
    let redelivered = Instant::now();
    let mut seen = String::new();
    while seen.is_empty() {
        assert!(redelivered.elapsed() < ACK_WAIT, "a message that failed comes again after a second");
        consumer.consume_once(&**durable).await.unwrap();
        seen = calls();
    }
    assert_eq!(seen, "bad#5");

    // Many deliveries alone mean nothing: it is given up after as many attempts.
    nak_until_delivery(pulls, 30).await;
    home.change("UPDATE handling_attempts SET attempts = 18").await;
    for number in 3..30 {
        publisher.publish(format!("good-{number}")).await;
    }
    consumer.consume_once(&**durable).await.unwrap();
    let seen = calls();
    let with_bad: Vec<&str> = seen.split(", ").filter(|call| call.contains("bad")).collect();
    assert_eq!(with_bad, ["bad#30"], "alone although others wait: {seen}");
    assert!(seen.contains("good-3#1") && seen.contains("good-29#1"), "{seen}");

    wait_until("at the 20th attempt it is a dead letter", async || {
        consumer.consume_once(&**durable).await.unwrap();
        !home.dead_letters().await.is_empty()
    })
    .await;
    assert_eq!(calls(), "", "it is given up before it is handled");
    let letters = home.dead_letters().await;
    let (found, reason, detail, attempts) = &letters[0];
    assert_eq!((&found[..], reason.as_str(), *attempts), (&b"bad"[..], "too_many_deliveries", 31));
    assert!(detail.contains("20 times"), "{detail}");
    wait_until("nothing is left", async || {
        let now = world.durable.state().await.unwrap();
        now.unacknowledged == 0 && now.undelivered == 0
    })
    .await;
}

#[tokio::test]
async fn while_the_database_cannot_be_written_messages_are_given_back_and_none_is_set_aside() {
    let world = World::start().await;
    let World { home, database, durable, publisher, .. } = &world;
    let handler = Unwritable::default();
    let consumer = world.consumer(handler.clone());
    for event in ["a", "b", "c"] {
        publisher.publish(event).await;
    }
    assert_eq!(consumer.consume_once(&**durable).await.unwrap(), Consumed::NotWritable);
    assert!(!database.is_writable());

    handler.mended.store(true, Ordering::Relaxed);
    database.probe().await.unwrap();
    let (started, mut handled) = (Instant::now(), 0);
    while handled < 3 {
        match consumer.consume_once(&**durable).await.unwrap() {
            Consumed::Handled(messages) => handled += messages,
            Consumed::NotWritable => panic!("the database was mended"),
        }
        assert!(started.elapsed() < ACK_WAIT / 2, "given back with a delay of a second");
    }
    assert_eq!(home.dead_letters().await.len(), 0);
}

/// The database is locked for much longer than twenty deliveries take.
#[tokio::test]
async fn a_good_message_is_never_given_up_because_somebody_else_held_the_write_lock() {
    let world = World::start().await;
    let World { home, database, durable, pulls, publisher, .. } = &world;
    let handler = Failing::default();
    let consumer = world.consumer(handler.clone());
    publisher.publish("good").await;
    nak_until_delivery(pulls, 25).await;
    let lock = home.hold_write_lock().await;
    consumer.consume_once(&**durable).await.unwrap();
    lock.release().await;
    assert_eq!(home.number("SELECT count(*) FROM handling_attempts").await, 0, "nothing was tried");
    if !database.is_writable() {
        database.probe().await.unwrap();
    }
    wait_until("it is handled", async || {
        consumer.consume_once(&**durable).await.unwrap();
        !handler.calls.lock().unwrap().is_empty()
    })
    .await;
    assert_eq!(home.dead_letters().await, []);
    assert_eq!(home.number("SELECT count(*) FROM handling_attempts").await, 0, "its count ends with it");
}

/// What a process leaves that dies of a message: an attempt that was counted before it began.
#[tokio::test]
async fn an_attempt_is_counted_before_it_begins_and_over_a_consumer_reset() {
    let mut world = World::start().await;
    world.publisher.publish("deadly").await;
    for attempts in 5..=7 {
        nak_until_delivery(&world.pulls, 5).await;
        let stuck = Stuck::default();
        let consumer = world.consumer(stuck.clone());
        let process = tokio::spawn({
            let durable = world.connection.open_consumer().await.unwrap();
            async move { consumer.consume_once(&*durable).await }
        });
        wait_until("the message arrives", async || !stuck.attempts.lock().unwrap().is_empty()).await;
        assert_eq!(world.home.number("SELECT attempts FROM handling_attempts").await, attempts);
        process.abort();
        let _ = process.await;
        world.pulls.reset(None).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_dead_process_held_is_delivered_at_once_to_the_next() {
    let broker = Broker::start().await;
    let home = Home::at(&broker);
    connection(&broker).await;
    let (publisher, mut observer) = ends(&broker).await;
    publisher.place(&["a", "b", "c"]).await;
    let held = take(&inventory_consumer(&broker).await, 3).await;
    let started = Instant::now();
    let inventory = home.start(&[]).await;
    assert_eq!(observer.next_bodies(3).await, ["a", "b", "c"].map(confirmed));
    let elapsed = started.elapsed();
    assert!(elapsed < ACK_WAIT / 2, "{elapsed:?} is not at once; without the reset it takes {ACK_WAIT:?}");
    drop(held);
    home.close(inventory).await;
}

#[tokio::test]
async fn what_a_lost_connection_held_is_delivered_at_once_over_the_next() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(([127, 0, 0, 1], broker.port()).into()).unwrap();
    let mut home = Home::at(&broker);
    home.nats_url = format!("nats://127.0.0.1:{}", proxy.port());
    let inventory = home.start(&[]).await;
    inventory.until_broker_is("connected").await;
    let (publisher, mut observer) = ends(&broker).await;
    proxy.set(Link::Cut);
    inventory.until_broker_is("unreachable").await;
    publisher.place(&["a", "b", "c"]).await;
    // As if they had been on their way to the service when its connection was lost.
    connection(&broker).await;
    let held = take(&inventory_consumer(&broker).await, 3).await;
    let mended = Instant::now();
    proxy.set(Link::Pass);
    assert_eq!(observer.next_bodies(3).await, ["a", "b", "c"].map(confirmed));
    let elapsed = mended.elapsed();
    assert!(elapsed < ACK_WAIT / 2, "{elapsed:?} is not at once; without the reset it takes {ACK_WAIT:?}");
    drop(held);
    home.close(inventory).await;
}

#[tokio::test]
async fn messages_that_were_handled_and_come_again_are_repeats() {
    let (broker, home, inventory) = connected().await;
    let (publisher, mut observer) = ends(&broker).await;
    let answers = ["a", "b"].map(confirmed);
    for order_id in ["a", "b"] {
        publisher.publish(order(order_id, "1", 3)).await;
    }
    assert_eq!(observer.next_bodies(2).await, answers);

    // As if every acknowledgement had been lost: the operator sets the consumer back to the first message.
    let operator = jetstream::new(broker.connect("operator").await);
    let mut consumer: PullConsumer =
        operator.get_consumer_from_stream(INVENTORY_CONSUMER, STREAM).await.unwrap();
    consumer.reset(Some(1)).await.unwrap();
    assert_eq!(observer.next_bodies(2).await, answers);
    assert_eq!((home.stock("1").await, home.reservations().await), (4, 2));
    publisher.publish(order("c", "1", 1)).await;
    assert_eq!(body(&observer.next().await), confirmed("c"));
    home.close(inventory).await;
}

/// What `take_back` in `shared::delivery::consumer` rests on.
#[tokio::test]
async fn a_consumer_reset_delivers_what_is_unacknowledged_again_and_starts_its_count_over() {
    let broker = Broker::start().await;
    let connection = connection(&broker).await;
    let publisher = Publisher::order(&broker).await;
    connection.open_consumer().await.unwrap();
    let mut pulls = inventory_consumer(&broker).await;
    publisher.publish("held").await;
    nak_until_delivery(&pulls, 3).await;
    publisher.publish("acked").await;
    for message in take(&pulls, 2).await {
        if &message.payload[..] == b"acked" {
            message.ack().await.unwrap();
        }
    }
    pulls.reset(None).await.unwrap();
    let again = take(&pulls, 1).await.remove(0);
    assert_eq!((&again.payload[..], again.info().unwrap().delivered), (&b"held"[..], 1));
}

/// A process that dies of the same message at every start must count its deliveries, so only the first start resets.
#[tokio::test]
async fn a_start_after_one_without_progress_leaves_redelivery_to_the_broker_which_counts() {
    let world = World::start().await;
    world.publisher.publish("deadly").await;
    let stuck = Stuck::default();
    let mut waited = Vec::new();
    for run in 1..=3 {
        let (consumer, started) = (world.consumer(stuck.clone()), Instant::now());
        let process = tokio::spawn(async move { consumer.run(CancellationToken::new()).await });
        wait_until("the message arrives", async || stuck.attempts.lock().unwrap().len() == run).await;
        waited.push(started.elapsed());
        process.abort();
        let _ = process.await;
    }
    let attempts = stuck.attempts.lock().unwrap().clone();
    assert!(waited[1] < ACK_WAIT / 2, "the second start resets: {waited:?}");
    assert!(waited[2] > Duration::from_secs(5), "the third does not, so ack_wait passes: {waited:?}");
    assert!(attempts[2] > attempts[1], "the third delivery must count: {attempts:?}");
}
