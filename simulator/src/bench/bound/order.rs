//! The half of the bound that places orders and settles them.
//!
//! All of its clients wait for the same commit, so each round has one new order of every client, and the answers
//! that have arrived meanwhile. What is to be sent after a commit is sent while the next one is under way.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use async_nats::jetstream::{Context, Message};
use shared::clock::now_ms;
use shared::contract::subjects::{ORDER_CONSUMER, ORDER_CREATED};
use tokio::sync::mpsc;

use super::arguments::BoundArgs;
use super::arrivals::{Arrivals, acknowledge};
use super::events::{Announcer, Order, acknowledged, connect, id_in};
use super::front;
use super::front::Caller;
use super::protocol::{Told, say_ready, told_to_end, told_to_go};
use super::rows::{Batch, Rows};
use super::sending::Sending;

/// Clients in one commit, at most.
const WAITING_MAX: usize = 1_000;

/// Connects, waits for the word, and tells how many orders were settled in what time.
pub(super) async fn run(args: &BoundArgs) -> Result<()> {
    let context = connect(&args.nats_url, "order").await?;
    let mut half = OrderHalf {
        rows: Rows::create(&args.database).await?,
        answers: Arrivals::of(&context, ORDER_CONSUMER).await?,
        context,
        sending: Sending::default(),
    };
    let callers = match args.listen {
        Some(port) => Some(front::callers(port, args.connections).await?),
        None => None,
    };
    say_ready();
    told_to_go().await?;
    let measured = async {
        match callers {
            Some(callers) => half.serve(callers).await,
            None => half.measure(args.connections, args.duration).await,
        }
    };
    let end = told_to_end();
    tokio::pin!(end);
    tokio::select! {
        told = measured => println!("{}", serde_json::to_string(&told?)?),
        () = &mut end => bail!("told to end before every order was settled"),
    }
    end.await;
    Ok(())
}

struct OrderHalf {
    rows: Rows,
    answers: Arrivals,
    context: Context,
    sending: Sending,
}

impl OrderHalf {
    async fn measure(&mut self, connections: usize, duration: Duration) -> Result<Told> {
        let started = Instant::now();
        let (mut placed, mut settled) = (0, 0);
        loop {
            let is_due = started.elapsed() < duration;
            let orders: Vec<Order> =
                (0..if is_due { connections } else { 0 }).map(|_| Order::new()).collect();
            let answers = if is_due { self.answers.ready() } else { self.answers.next_batch().await }?;
            (placed, settled) = (placed + orders.len(), settled + answers.len());
            self.commit(orders, answers).await?;
            // What was delivered twice is counted twice, which is better than to wait for ever.
            if !is_due && settled >= placed {
                let seconds = started.elapsed().as_secs_f64();
                self.sending.finish().await?;
                return Ok(Told { settled: settled as u64, seconds });
            }
        }
    }

    /// As long as anybody calls: each commit has whatever waits for it.
    async fn serve(&mut self, mut callers: mpsc::Receiver<Caller>) -> Result<Told> {
        let started = Instant::now();
        let (mut placed, mut settled, mut is_called) = (0, 0, true);
        while is_called || settled < placed {
            let (mut waiting, mut answers) = (Vec::new(), Vec::new());
            tokio::select! {
                received = callers.recv_many(&mut waiting, WAITING_MAX), if is_called => is_called = received > 0,
                arrived = self.answers.next_batch() => answers = arrived?,
            }
            answers.extend(self.answers.ready()?);
            while let Ok(caller) = callers.try_recv() {
                waiting.push(caller);
            }
            let orders: Vec<Order> = waiting.iter().map(|_| Order::new()).collect();
            let ids: Vec<String> = orders.iter().map(|order| order.id.clone()).collect();
            (placed, settled) = (placed + orders.len(), settled + answers.len());
            self.commit(orders, answers).await?;
            for (caller, id) in waiting.into_iter().zip(ids) {
                // The client may be gone; its order is committed.
                let _ = caller.send(id);
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        self.sending.finish().await?;
        Ok(Told { settled: settled as u64, seconds })
    }

    async fn commit(&mut self, orders: Vec<Order>, answers: Vec<Message>) -> Result<()> {
        let now = now_ms();
        let mut batch = Batch::with_room_for(orders.len() + answers.len());
        orders.iter().for_each(|order| push_order(&mut batch, order, now));
        for answer in &answers {
            push_answer(&mut batch, id_in(answer)?, now);
        }
        self.rows.append(batch).await?;
        let announcer = Announcer::new(&self.context, ORDER_CREATED, now);
        self.sending.spawn(async move {
            let mut sent = Vec::with_capacity(orders.len());
            for order in orders {
                sent.push(announcer.send(order).await?);
            }
            acknowledge(&answers).await?;
            acknowledged(sent).await
        });
        self.sending.keep_up().await
    }
}

/// The row of a new order.
pub(super) fn push_order(batch: &mut Batch, order: &Order, now: i64) {
    let Order { id, traceparent } = order;
    batch.push(format_args!("{id} load-1 1 2 {traceparent} created {now} {now}"));
}

/// The row of an order's end.
pub(super) fn push_answer(batch: &mut Batch, id: &str, now: i64) {
    batch.push(format_args!("{id} confirmed {now} {now}"));
}
