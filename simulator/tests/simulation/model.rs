//! The model of the broker beside the real one, asked the same through the same trait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream;
use async_nats::jetstream::{AckKind, Context};
use fastrand::Rng;
use futures_util::StreamExt;
use processes::broker;
use shared::broker::jetstream::JetStream;
use shared::broker::link::Link;
use shared::broker::stream::{ConsumerState, Durable, Outgoing, Stream, Token};
use shared::contract::subjects::STREAM;
use shared::settings::NatsSettings;
use simulator::simulation::{Model, Seat, Side};
use testing::{Broker, wait_until};

/// A server with nothing else to do has taken note of everything by then.
const NOTED_WITHIN: Duration = Duration::from_secs(10);

/// What an operator, or a full disk, does to the broker.
enum Harm<'a> {
    Real(Box<Context>, &'a Broker),
    Model(Arc<Model>),
}

impl Harm<'_> {
    async fn discard(&self, count: u64) {
        match self {
            Self::Real(admin, _) => {
                let stream = admin.get_stream(STREAM).await.unwrap();
                let state = &stream.cached_info().state;
                let first = (state.first_sequence + count).min(state.last_sequence + 1);
                if state.messages > 0 {
                    stream.purge().sequence(first).await.unwrap();
                }
            }
            Self::Model(model) => model.discard(count as usize),
        }
    }

    async fn delete_consumer(&self, side: Side) {
        match self {
            Self::Real(admin, _) => {
                admin.get_stream(STREAM).await.unwrap().delete_consumer(side.consumer()).await.unwrap();
            }
            Self::Model(model) => model.delete_consumer(side),
        }
    }

    async fn restart(&self) {
        match self {
            Self::Real(_, broker) => {
                broker.stop().await;
                broker.start_again().await;
            }
            Self::Model(model) => {
                model.stop();
                model.start();
            }
        }
    }

    async fn wipe(&self) {
        match self {
            Self::Real(_, broker) => broker.wipe().await,
            Self::Model(model) => model.wipe(),
        }
    }
}

/// Waits until both sides are connected, and the stream is there.
async fn provisioned(streams: &[Arc<dyn Stream>; 2]) {
    for stream in streams {
        wait_until("the stream is there", async || stream.provision().await.is_ok()).await;
    }
}

async fn consumer(stream: &dyn Stream, side: Side) -> Box<dyn Durable> {
    stream.create_consumer(side.consumer(), side.subject(), Default::default()).await.unwrap()
}

/// Both sides of one broker, with their consumers.
struct Ends<'a> {
    streams: [Arc<dyn Stream>; 2],
    consumers: [Box<dyn Durable>; 2],
    harm: Harm<'a>,
    has_discarded: bool,
    /// Deliveries that have no end yet.
    open: [Vec<Token>; 2],
    /// Published so far.
    count: usize,
}

impl<'a> Ends<'a> {
    async fn open(streams: [Arc<dyn Stream>; 2], harm: Harm<'a>) -> Self {
        provisioned(&streams).await;
        let consumers =
            [consumer(&*streams[0], Side::Order).await, consumer(&*streams[1], Side::Inventory).await];
        Self { streams, consumers, harm, has_discarded: false, open: Default::default(), count: 0 }
    }

    /// Does something that the numbers say, and tells what is seen of it.
    async fn act(&mut self, rng: &mut Rng) -> String {
        let side = Side::ALL[rng.usize(..2)];
        match rng.u8(0..24) {
            0..9 => self.publish(side, rng).await,
            9..15 => self.pull(side, rng.usize(1..5)).await,
            15..20 => self.end_some(side, rng).await,
            20..22 => self.reset(side, rng).await,
            22 => {
                self.harm.discard(rng.u64(1..4)).await;
                self.has_discarded = true;
                "the oldest are gone".to_owned()
            }
            _ => {
                self.harm.delete_consumer(side).await;
                self.open[side as usize].clear();
                self.consumers[side as usize] = consumer(&*self.streams[side as usize], side).await;
                "a consumer was lost".to_owned()
            }
        }
    }

    async fn publish(&mut self, side: Side, rng: &mut Rng) -> String {
        let message = |number: usize| {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Msg-Id", format!("id {number}"));
            // What the other side receives.
            let subject = Side::ALL[1 - side as usize].subject().to_owned();
            Outgoing { subject, headers, body: format!("body {number}").into() }
        };
        let from = self.count.saturating_sub(usize::from(rng.u8(0..3)));
        self.count = from + rng.usize(1..4);
        let messages = (from..self.count).map(message).collect();
        let mut publisher = self.streams[side as usize].publisher().await.unwrap();
        format!("published {:?}", publisher.publish(messages).await)
    }

    async fn pull(&mut self, side: Side, most: usize) -> String {
        let consumer = &self.consumers[side as usize];
        let undelivered = consumer.state().await.unwrap().undelivered as usize;
        let count = most.min(undelivered);
        if count == 0 {
            return "nothing to pull".to_owned();
        }
        let mut pull = consumer.pull(count, Duration::from_secs(5)).await.unwrap();
        let mut seen = Vec::new();
        while seen.len() < count {
            let delivered = pull.next().await.unwrap().unwrap();
            let place = delivered.token.split('.').nth(5).unwrap().to_owned();
            seen.push((place, delivered.attempt, delivered.subject, delivered.body));
            self.open[side as usize].push(delivered.token);
        }
        format!("pulled {seen:?}")
    }

    async fn end_some(&mut self, side: Side, rng: &mut Rng) -> String {
        let open = &mut self.open[side as usize];
        if open.is_empty() {
            return "nothing to end".to_owned();
        }
        let token = open.remove(rng.usize(..open.len()));
        // Nothing tells when the server has taken note of a negative one.
        let kind = if rng.u8(0..4) == 0 { AckKind::Term } else { AckKind::Ack };
        let ended = format!("{kind:?} {:?}", token.split('.').nth(5));
        self.streams[side as usize].acknowledge(vec![(token, kind)]).await.unwrap();
        self.streams[side as usize].flush().await.unwrap();
        ended
    }

    async fn reset(&mut self, side: Side, rng: &mut Rng) -> String {
        if self.has_discarded {
            // Behind a purge the server goes back further at times, and what comes again is a repeat.
            return "not reset".to_owned();
        }
        let from = rng.bool().then(|| rng.u64(1..4));
        self.open[side as usize].clear();
        format!("reset {from:?}: {:?}", self.consumers[side as usize].reset(from).await.is_ok())
    }

    /// The broker is away for a moment.
    async fn restart(&mut self) {
        self.harm.restart().await;
        provisioned(&self.streams).await;
    }

    /// The broker loses its disk.
    async fn wipe(&mut self) {
        self.harm.wipe().await;
        provisioned(&self.streams).await;
        for side in Side::ALL {
            self.consumers[side as usize] = consumer(&*self.streams[side as usize], side).await;
        }
        (self.open, self.has_discarded) = Default::default();
    }

    /// Everything that can be asked.
    async fn state(&self) -> String {
        let state = self.streams[0].state().await.unwrap();
        let mut seen = format!("{} to {}", state.first_sequence, state.last_sequence);
        for consumer in &self.consumers {
            let ConsumerState { delivered, ack_floor, unacknowledged, undelivered, .. } =
                consumer.state().await.unwrap();
            seen += &format!(", {delivered} {ack_floor} {unacknowledged} {undelivered}");
        }
        for sequence in [1, state.last_sequence.max(1), state.last_sequence + 1] {
            let message = self.streams[0].message(sequence).await.unwrap();
            seen +=
                &format!(", {:?}", message.map(|message| (message.sequence, message.subject, message.body)));
        }
        for side in Side::ALL {
            let next = self.streams[side as usize].next_of(side.subject(), 2).await.unwrap();
            seen += &format!(", {:?}", next.map(|message| message.sequence));
        }
        seen
    }
}

async fn real(broker: &Broker) -> Ends<'_> {
    let stream = async |user: &str, side: Side| {
        let settings = NatsSettings {
            nats_url: broker.url(),
            nats_user: user.to_owned(),
            nats_password: broker::password(user).as_str().into(),
            nats_max_bytes: 1 << 30,
        };
        let stream = JetStream::connect(&settings, side.consumer(), Arc::<Link>::default()).await;
        Arc::new(stream.unwrap()) as Arc<dyn Stream>
    };
    let admin = Box::new(jetstream::new(broker.connect("operator").await));
    let streams = [stream("order", Side::Order).await, stream("inventory", Side::Inventory).await];
    Ends::open(streams, Harm::Real(admin, broker)).await
}

async fn modelled() -> Ends<'static> {
    let model = Model::alone();
    Side::ALL.into_iter().for_each(|side| model.attach(side, Arc::default()));
    let seat = |side| Arc::new(Seat { model: model.clone(), side }) as Arc<dyn Stream>;
    Ends::open([seat(Side::Order), seat(Side::Inventory)], Harm::Model(model.clone())).await
}

#[tokio::test]
async fn the_model_answers_as_a_real_broker_does() {
    for seed in 0..20 {
        let broker = Broker::start().await;
        let (mut real, mut model) = (real(&broker).await, modelled().await);
        let mut rngs = [Rng::with_seed(seed), Rng::with_seed(seed)];
        let mut history = Vec::new();
        for place in 0..60 {
            if place == 20 && seed % 3 == 0 {
                tokio::join!(real.restart(), model.restart());
            }
            if place == 40 && seed % 3 == 1 {
                tokio::join!(real.wipe(), model.wipe());
            }
            let (of_real, of_model) = (real.act(&mut rngs[0]).await, model.act(&mut rngs[1]).await);
            assert_eq!(of_real, of_model, "seed {seed}, after {history:#?}");
            history.push(of_real);
            // The server takes note of an acknowledgement when it comes to it.
            let (expected, begun) = (model.state().await, Instant::now());
            let mut seen = real.state().await;
            while seen != expected && begun.elapsed() < NOTED_WITHIN {
                seen = real.state().await;
            }
            assert_eq!(seen, expected, "seed {seed}, after {history:#?}");
            history.push(seen);
        }
    }
}
