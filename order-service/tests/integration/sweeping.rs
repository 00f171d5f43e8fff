//! The sweeper, step by step at times that the test chooses.

use std::time::{Duration, Instant};

use async_nats::jetstream;
use order_service::orders::pending::BACKOFF_MAX_MS;
use order_service::sweeper::Sweeper;
use shared::clock::now_ms;
use shared::contract::subjects::STREAM;
use shared::delivery::relay::Relayed;
use tokio_util::sync::CancellationToken;

use crate::fixture::nats::{InventoryConsumer, header};
use crate::fixture::parts::Parts;
use crate::fixture::{Broker, Files, wait_until};

const SECOND: i64 = 1_000;
const DAY: i64 = 24 * 3600 * SECOND;

struct World {
    files: Files,
    broker: Broker,
    parts: Parts,
}

impl World {
    /// The sweeper has seen the stream, as it has a second after a service's start.
    async fn start() -> Self {
        let (files, broker) = (Files::new(), Broker::start().await);
        let parts = Parts::open(&files, &broker).await;
        assert_eq!(parts.sweep(now_ms()).await, 0);
        Self { files, broker, parts }
    }

    async fn inventory(&self) -> InventoryConsumer {
        InventoryConsumer::open(&self.broker).await
    }
}

#[tokio::test]
async fn an_order_without_an_answer_is_sent_again_after_30_seconds_and_then_ever_more_rarely() {
    let world = World::start().await;
    let (parts, inventory) = (&world.parts, world.inventory().await);
    let mut sent_at = now_ms();
    parts.place(1, sent_at).await;
    parts.relay(1).await;
    let first = inventory.handle(1).await.remove(0);
    let mut message_ids = vec![header(&first, "Nats-Msg-Id").to_owned()];
    for seconds in [30, 60, 120, 240, 480, 600, 600] {
        let due = sent_at + seconds * SECOND;
        assert_eq!(parts.sweep(due - 1).await, 0, "not before {seconds} s");
        assert_eq!(parts.sweep(due).await, 1, "after {seconds} s");
        parts.relay(1).await;
        let again = inventory.handle(1).await.remove(0);
        assert_eq!(again.payload, first.payload);
        for name in ["ce-id", "ce-time", "ce-type", "ce-source", "ce-subject", "traceparent"] {
            assert_eq!(header(&again, name), header(&first, name), "{name} belongs to the event");
        }
        message_ids.push(header(&again, "Nats-Msg-Id").to_owned());
        sent_at = due;
    }
    message_ids.sort_unstable();
    message_ids.dedup();
    assert_eq!(message_ids.len(), 8, "each sending has an id of its own, so that the broker keeps it");
}

#[tokio::test]
async fn an_order_whose_message_still_waits_is_never_swept() {
    let world = World::start().await;
    let parts = &world.parts;
    let now = now_ms();
    parts.place(1, now).await;
    assert_eq!(parts.sweep(now + DAY).await, 0, "its event is in the outbox");
    parts.relay(1).await;
    assert_eq!(parts.sweep(now + DAY).await, 0, "the inventory never ran and owes every message");
    let inventory = world.inventory().await;
    assert_eq!(parts.sweep(now + DAY).await, 0, "the inventory has not asked for it");
    let taken = inventory.take(1).await;
    assert_eq!(parts.sweep(now + DAY).await, 0, "the inventory works on it");
    taken[0].double_ack().await.unwrap();
    assert_eq!(parts.sweep(now + DAY).await, 1, "nobody has it any more");
}

#[tokio::test]
async fn a_lost_order_is_swept_although_newer_messages_wait() {
    let world = World::start().await;
    let (parts, inventory) = (&world.parts, world.inventory().await);
    let now = now_ms();
    let lost = parts.place(1, now - 60 * SECOND).await.remove(0);
    parts.relay(1).await;
    inventory.handle(1).await;
    parts.place(3, now - 40 * SECOND).await;
    parts.relay(3).await;
    assert_eq!(parts.sweep(now).await, 1);
    let in_outbox = world.files.look().texts("SELECT order_id FROM outbox").await;
    assert_eq!(in_outbox, [lost.id]);
}

#[tokio::test]
async fn a_settled_order_is_never_swept_and_a_step_takes_at_most_a_thousand() {
    let world = World::start().await;
    let (parts, look) = (&world.parts, world.files.look());
    let now = now_ms();
    parts.place(1_501, now).await;
    // As if the broker had acknowledged the events and then lost them.
    look.change("DELETE FROM outbox_batches").await;
    let settled =
        "UPDATE orders SET status = 'confirmed', settled_at = created_at, settled_number = number + 10000
         WHERE id = (SELECT max(id) FROM orders)";
    assert_eq!(look.change(settled).await, 1);
    assert_eq!(parts.sweep(now + DAY).await, 1_000);
    assert_eq!(parts.sweep(now + DAY).await, 500);
    assert_eq!(parts.sweep(now + DAY).await, 0);
    let distinct = look.number("SELECT count(DISTINCT order_id) FROM outbox").await;
    assert_eq!((distinct, look.outbox().await), (1_500, 1_500));
}

#[tokio::test]
async fn a_new_connection_starts_the_back_off_over() {
    let world = World::start().await;
    let (parts, look) = (&world.parts, world.files.look());
    let sent_at = now_ms();
    parts.place(1, sent_at).await;
    look.change("DELETE FROM outbox_batches").await;
    look.change(&format!("UPDATE orders SET sweeps = 9, sent_at = {sent_at}")).await;
    assert_eq!(parts.sweep(sent_at + BACKOFF_MAX_MS - 1).await, 0);

    let before = parts.connection.state().borrow().clone();
    world.broker.stop().await;
    world.broker.start_again().await;
    wait_until("the service is connected anew", || async {
        parts.connection.observe_once().await.is_ok() && *parts.connection.state().borrow() != before
    })
    .await;
    assert_eq!(parts.sweep(sent_at + 30 * SECOND - 1).await, 0);
    assert_eq!(parts.sweep(sent_at + 30 * SECOND).await, 1);
}

#[tokio::test]
async fn a_stream_without_what_it_acknowledged_last_has_every_pending_order_sent_again_at_once() {
    let world = World::start().await;
    let (parts, inventory, look) = (&world.parts, world.inventory().await, world.files.look());
    let now = now_ms();
    parts.place(3, now).await;
    parts.relay(3).await;
    inventory.handle(3).await;
    assert_eq!(look.number("SELECT acked_sequence FROM broker_memory").await, 3);
    parts.begin_session().await;
    assert_eq!(parts.sweep(now).await, 0, "nothing is lost");
    let losses = [
        // What the database would say if the broker had acknowledged a fourth message and lost it in a power cut…
        "UPDATE broker_memory SET acked_sequence = acked_sequence + 1",
        // … and if it had used the lost one's sequence again by now.
        "UPDATE broker_memory SET acked_message_id = 'of the lost message'",
    ];
    for loss in losses {
        assert_eq!(look.change(loss).await, 1);
        parts.begin_session().await;
        assert_eq!(parts.sweep(now).await, 3, "{loss}");
        parts.relay(3).await;
        inventory.handle(3).await;
        assert_eq!(parts.sweep(now).await, 0, "once");
    }
}

/// The client reaches a broker that came back older, and hands it events, before anybody hears of the new connection.
#[tokio::test]
async fn a_stream_that_uses_sequences_again_is_noticed_although_the_session_seems_to_be_the_same() {
    let world = World::start().await;
    let (parts, now) = (&world.parts, now_ms());
    parts.place(3, now).await;
    parts.relay(3).await;
    let operator = jetstream::new(world.broker.connect("operator").await);
    let config = operator.get_stream(STREAM).await.unwrap().cached_info().config.clone();
    operator.delete_stream(STREAM).await.unwrap();
    operator.create_stream(config).await.unwrap();

    parts.place(5, now).await;
    assert_eq!(parts.relay_once().await, Relayed::Unacknowledged { sent: 0, kept: 5 });
    assert_eq!(parts.relay_once().await, Relayed::Sent(5), "the stream has them already");
    assert_eq!(parts.sweep(now).await, 3, "what the former stream held");
}

#[tokio::test]
async fn the_first_stream_that_a_database_sees_has_lost_nothing() {
    let (files, broker) = (Files::new(), Broker::start().await);
    let parts = Parts::open(&files, &broker).await;
    let now = now_ms();
    // Two sessions, and the stream has not acknowledged anything yet.
    parts.begin_session().await;
    parts.begin_session().await;
    parts.place(1, now).await;
    parts.relay(1).await;
    assert_eq!(parts.sweep(now).await, 0, "its message waits in the stream");
    assert_eq!(files.look().outbox().await, 0);
}

#[tokio::test]
async fn an_order_placed_while_the_clock_was_ahead_is_swept_once_the_clock_is_right_and_then_as_any_other() {
    let world = World::start().await;
    let (parts, inventory) = (&world.parts, world.inventory().await);
    let now = now_ms();
    parts.place(1, now + DAY).await;
    assert_eq!(parts.sweep(now).await, 0, "its event is in the outbox");
    parts.relay(1).await;
    assert_eq!(parts.sweep(now).await, 0, "its message waits at the inventory");
    inventory.handle(1).await;
    assert_eq!(parts.sweep(now).await, 1, "nobody has it any more");
    assert_eq!(parts.sweep(now).await, 0, "once");
    parts.relay(1).await;
    inventory.handle(1).await;
    assert_eq!(parts.sweep(now + 60 * SECOND - 1).await, 0, "from here on it backs off");
    assert_eq!(parts.sweep(now + 60 * SECOND).await, 1);
}

#[tokio::test]
async fn orders_behind_a_message_from_the_future_are_not_swept_while_it_waits() {
    let world = World::start().await;
    let (parts, inventory) = (&world.parts, world.inventory().await);
    let now = now_ms();
    parts.place(1, now + DAY).await;
    parts.relay(1).await;
    parts.place(5, now).await;
    parts.relay(5).await;
    assert_eq!(parts.sweep(now + 3_600 * SECOND).await, 0, "they wait behind it");
    inventory.handle(1).await;
    assert_eq!(parts.sweep(now + 3_600 * SECOND).await, 1, "it is not settled, and they still wait");
    inventory.handle(5).await;
}

#[tokio::test]
async fn an_order_a_little_ahead_of_the_sweepers_clock_is_not_taken_for_lost() {
    let world = World::start().await;
    let (parts, inventory) = (&world.parts, world.inventory().await);
    let now = now_ms();
    parts.place(1, now + 20 * SECOND).await;
    parts.relay(1).await;
    inventory.handle(1).await;
    assert_eq!(parts.sweep(now).await, 0);
    assert_eq!(parts.sweep(now + 50 * SECOND).await, 1);
}

/// At one step a second it would take nine seconds.
#[tokio::test]
async fn a_loss_of_many_orders_is_swept_without_a_pause_between_full_steps() {
    let world = World::start().await;
    let (parts, look) = (&world.parts, world.files.look());
    parts.place(9_500, now_ms()).await;
    look.change("DELETE FROM outbox_batches").await;
    look.change("UPDATE orders SET sent_at = 0").await;
    let shutdown = CancellationToken::new();
    let sweeper = Sweeper::new(parts.database.clone(), parts.connection.clone());
    let (started, all) = (Instant::now(), async || look.outbox().await == 9_500);
    let ((), ()) = tokio::join!(sweeper.run(shutdown.clone()), async {
        wait_until("all are in the outbox again", all).await;
        shutdown.cancel();
    });
    assert!(started.elapsed() < Duration::from_secs(9), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_loss_makes_every_pending_order_due_of_which_nothing_waits_in_the_outbox() {
    let world = World::start().await;
    let (parts, look) = (&world.parts, world.files.look());
    parts.begin_session().await;
    for _ in 0..12 {
        parts.place(1_000, now_ms() - 1).await;
    }
    look.change("DELETE FROM outbox_batches WHERE id > 5").await;
    look.change("UPDATE broker_memory SET lost = 1").await;
    assert_eq!(parts.sweep(now_ms()).await, 1_000);
    let due = look.number("SELECT count(*) FROM orders WHERE sent_at = 0").await;
    assert_eq!((due, look.outbox().await), (6_000, 6_000), "one step takes a thousand of seven");
    let waiting = "SELECT count(*) FROM orders WHERE sent_at = 0 AND id IN (SELECT order_id FROM outbox)";
    assert_eq!(look.number(waiting).await, 0);
    assert_eq!(look.number("SELECT lost FROM broker_memory").await, 0);
}

#[tokio::test]
async fn a_loss_makes_orders_due_also_that_were_sent_before_the_clock_was_set_back() {
    let world = World::start().await;
    let (parts, look) = (&world.parts, world.files.look());
    let now = now_ms();
    parts.place(3, now + 3_600 * SECOND).await;
    parts.relay(3).await;
    look.change("UPDATE broker_memory SET lost = 1").await;
    assert_eq!(parts.sweep(now).await, 0, "by this clock nobody can tell what waits");
    assert_eq!(look.number("SELECT lost FROM broker_memory").await, 0);
    assert_eq!(look.number("SELECT count(*) FROM orders WHERE sent_at = 0").await, 3);
}

#[tokio::test]
async fn nothing_is_swept_into_an_outbox_that_is_full() {
    let world = World::start().await;
    let (parts, look) = (&world.parts, world.files.look());
    let now = now_ms();
    parts.place(9_500, now).await;
    parts.place(1_000, now).await;
    look.change("DELETE FROM outbox_batches WHERE id = (SELECT max(id) FROM outbox_batches)").await;
    look.change("UPDATE orders SET sent_at = 0 WHERE id NOT IN (SELECT order_id FROM outbox)").await;
    assert_eq!(parts.sweep(now).await, 1_000, "there is room");
    look.change("UPDATE orders SET sent_at = 0").await;
    assert_eq!(parts.sweep(now).await, 0, "it is the relay that is behind");
}
