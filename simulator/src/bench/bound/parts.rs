//! What one order takes that is alone, as the sum of its parts: three commits of one row, and two hops.
//!
//! Each part is measured by itself, one after the other, with nothing else under way. A hop is the way of an event from
//! one client to another that waits for it; its PubAck is asked for, and not waited for.

use std::time::{Duration, Instant};

use anyhow::Result;
use async_nats::jetstream::Context;
use shared::clock::now_ms;
use shared::contract::subjects::{INVENTORY_CONSUMER, ORDER_CONSUMER, ORDER_CREATED, ORDER_PROCESSED};

use super::arrivals::{Arrivals, acknowledge};
use super::events::{Announcer, Order, acknowledged, connect};
use super::inventory::push_reservation;
use super::order::{push_answer, push_order};
use super::rows::{Batch, Rows};
use crate::bench::figures::Measured;
use crate::topology::Topology;

/// How often each part is measured.
const SAMPLES: usize = 200;

/// Adds the row of an order at a time.
type Push = fn(&mut Batch, &Order, i64);

/// The medians, and their sum, in milliseconds.
pub(super) async fn measure(topology: &Topology) -> Result<Measured> {
    let (order, inventory) = (connect_to(topology, "order").await?, connect_to(topology, "inventory").await?);
    let mut orders = Arrivals::of(&inventory, INVENTORY_CONSUMER).await?;
    let mut answers = Arrivals::of(&order, ORDER_CONSUMER).await?;
    let hops = hop(&order, ORDER_CREATED, &mut orders).await?
        + hop(&inventory, ORDER_PROCESSED, &mut answers).await?;
    let mut rows = Rows::create(&topology.config.folder.join("parts.db")).await?;
    let mut commits = Duration::ZERO;
    let push_end: Push = |batch, order, now| push_answer(batch, &order.id, now);
    for push in [push_order as Push, push_reservation, push_end] {
        commits += commit(&mut rows, push).await?;
    }
    let figure = |name, time: Duration| (name, time.as_secs_f64() * 1e3);
    Ok(vec![figure("commits_ms", commits), figure("hops_ms", hops), figure("parts_ms", commits + hops)])
}

async fn connect_to(topology: &Topology, user: &str) -> Result<Context> {
    connect(&topology.nats_url(), user).await
}

async fn commit(rows: &mut Rows, push: Push) -> Result<Duration> {
    let mut times = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let (started, mut batch) = (Instant::now(), Batch::with_room_for(1));
        push(&mut batch, &Order::new(), now_ms());
        rows.append(batch).await?;
        times.push(started.elapsed());
    }
    Ok(median(times))
}

async fn hop(from: &Context, subject: &'static str, to: &mut Arrivals) -> Result<Duration> {
    let mut times = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let started = Instant::now();
        let sent = Announcer::new(from, subject, now_ms()).send(Order::new()).await?;
        let arrived = to.next_batch().await?;
        times.push(started.elapsed());
        acknowledged(vec![sent]).await?;
        acknowledge(&arrived).await?;
    }
    Ok(median(times))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
