//! The half of the bound that answers orders.

use anyhow::Result;
use shared::clock::now_ms;
use shared::contract::subjects::{INVENTORY_CONSUMER, ORDER_PROCESSED};

use super::arguments::BoundArgs;
use super::arrivals::{Arrivals, acknowledge};
use super::events::{Announcer, Order, acknowledged, connect};
use super::protocol::{say_ready, told_to_end};
use super::rows::{Batch, Rows};
use super::sending::Sending;

/// Answers whatever comes, until it is told to end.
pub(super) async fn run(args: &BoundArgs) -> Result<()> {
    let context = connect(&args.nats_url, "inventory").await?;
    let mut rows = Rows::create(&args.database).await?;
    let mut arrivals = Arrivals::of(&context, INVENTORY_CONSUMER).await?;
    let mut sending = Sending::default();
    say_ready();
    let end = told_to_end();
    tokio::pin!(end);
    loop {
        let messages = tokio::select! {
            messages = arrivals.next_batch() => messages?,
            () = &mut end => return sending.finish().await,
        };
        let now = now_ms();
        let orders = messages.iter().map(Order::of).collect::<Result<Vec<Order>>>()?;
        let mut batch = Batch::with_room_for(orders.len());
        orders.iter().for_each(|order| push_reservation(&mut batch, order, now));
        rows.append(batch).await?;
        let announcer = Announcer::new(&context, ORDER_PROCESSED, now);
        sending.spawn(async move {
            let mut sent = Vec::with_capacity(orders.len());
            for order in orders {
                sent.push(announcer.send(order).await?);
            }
            acknowledged(sent).await?;
            acknowledge(&messages).await
        });
        sending.keep_up().await?;
    }
}

/// The row of a decided order.
pub(super) fn push_reservation(batch: &mut Batch, order: &Order, now: i64) {
    let Order { id, traceparent } = order;
    batch.push(format_args!("{id} 1 2 confirmed {now} {traceparent}"));
}
