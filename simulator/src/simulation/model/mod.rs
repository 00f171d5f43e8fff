//! A model of the broker: one stream, two durable consumers, and what may go wrong with them.
//!
//! Both services see it through [`Seat`], which is a [`Stream`](shared::broker::stream::Stream) like the real one.

mod deliveries;
pub mod fault;
mod harm;
mod log;
mod loss;
mod publishing;
mod pulling;
mod seat;
mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::broker::link::Link;
use shared::broker::stream::ConsumerState;
use shared::contract::subjects::{INVENTORY_CONSUMER, ORDER_CREATED};
use tokio::sync::Notify;

use self::deliveries::Consumer;
use self::fault::Fault;
use self::log::Log;
pub use self::loss::Loss;
pub use self::seat::Seat;
use super::mutants::Mutant;
use super::timeline::{Side, Timeline};

/// The broker.
pub struct Model {
    state: Mutex<State>,
    /// Told of whatever may let a waiting pull go on, and how often that was.
    changed: Notify,
    changes: AtomicU64,
    pub timeline: Arc<Timeline>,
    pub mutant: Option<Mutant>,
}

/// All that the broker knows, and what the oracle asks of it.
#[derive(Default)]
pub struct State {
    is_up: bool,
    log: Option<Log>,
    consumers: BTreeMap<String, Consumer>,
    /// How many streams there were, and how many consumers.
    streams: u64,
    created: u64,
    /// An older state of its disk.
    copy: Option<(Option<Log>, BTreeMap<String, Consumer>)>,
    armed: Vec<Fault>,
    /// Each kind of fault that has struck.
    pub struck: BTreeMap<Fault, u64>,
    /// What was lost that had been acknowledged.
    pub loss: Loss,
    links: BTreeMap<Side, Arc<Link>>,
    /// The connections of each side so far, and whether the last one stands.
    connections: BTreeMap<Side, (u64, bool)>,
    seen: BTreeMap<String, ConsumerState>,
    /// Under how many ids each event was published.
    pub sendings: BTreeMap<String, BTreeSet<String>>,
    /// Where the stream, as it is since the last harm, has acknowledged which orders.
    pub acked: BTreeMap<u64, String>,
    /// The stream was wiped, cut, or set back.
    pub was_harmed: bool,
    /// Somebody has published an order by hand, or once more.
    has_handmade: bool,
    /// Orders that were sent again while their message was still to be handled.
    pub needless: Vec<String>,
    /// Messages that were delivered again although all up to them was acknowledged.
    pub unasked: Vec<String>,
    /// What was delivered from the consumer of another database, or of a later state of this one.
    pub of_another: Vec<String>,
    /// How often each event was delivered.
    pub deliveries: BTreeMap<String, u64>,
}

impl Model {
    pub fn new(timeline: Arc<Timeline>, mutant: Option<Mutant>) -> Arc<Self> {
        let state = State { is_up: true, ..State::default() };
        Arc::new(Self {
            state: Mutex::new(state),
            changed: Notify::new(),
            changes: AtomicU64::new(0),
            timeline,
            mutant,
        })
    }

    /// Without a simulation around it.
    pub fn alone() -> Arc<Self> {
        Self::new(Arc::new(Timeline::new(false)), None)
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something has changed that a pull may wait for.
    fn notify_pulls(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    pub(super) fn tell(&self, text: impl FnOnce() -> String) {
        self.timeline.tell("broker", text);
    }

    /// A service connects.
    pub fn attach(&self, side: Side, link: Arc<Link>) {
        self.state().links.insert(side, link);
        self.connect(side);
    }

    /// A service has died.
    pub fn detach(&self, side: Side) {
        let mut state = self.state();
        state.links.remove(&side);
        state.connections.entry(side).or_default().1 = false;
    }

    pub(super) fn connect(&self, side: Side) {
        let mut state = self.state();
        if !state.is_up {
            return;
        }
        if let Some(link) = state.links.get(&side).cloned() {
            let (count, stands) = state.connections.entry(side).or_default();
            (*count, *stands) = (*count + 1, true);
            link.connected();
        }
    }

    /// A connection is lost, and there is a new one at once if the broker is there.
    pub fn reconnect(&self, side: Side) {
        self.tell(|| format!("loses the connection of the {side}"));
        self.disconnect(side);
        self.connect(side);
    }

    pub(super) fn disconnect(&self, side: Side) {
        let mut state = self.state();
        state.connections.entry(side).or_default().1 = false;
        if let Some(link) = state.links.get(&side).cloned() {
            link.disconnected();
        }
    }

    pub fn is_up(&self) -> bool {
        self.state().is_up
    }

    pub fn stop(&self) {
        self.tell(|| "is away".to_owned());
        self.state().is_up = false;
        Side::ALL.into_iter().for_each(|side| self.disconnect(side));
    }

    pub fn start(&self) {
        self.tell(|| "is back".to_owned());
        self.state().is_up = true;
        Side::ALL.into_iter().for_each(|side| self.connect(side));
    }

    pub fn arm(&self, fault: Fault) {
        self.state().armed.push(fault);
    }

    pub fn disarm(&self) {
        self.state().armed.clear();
    }

    /// Whether this fault strikes now.
    fn strikes(&self, fault: Fault) -> bool {
        let mut state = self.state();
        let Some(place) = state.armed.iter().position(|armed| *armed == fault) else { return false };
        state.armed.remove(place);
        *state.struck.entry(fault).or_default() += 1;
        true
    }

    /// Whether a consumer still owes a message.
    pub fn owes(&self) -> bool {
        let state = self.state();
        let Some(log) = &state.log else { return true };
        state.consumers.len() < 2
            || state.consumers.values().any(|consumer| {
                let state = consumer.state(log);
                state.unacknowledged > 0 || state.undelivered > 0
            })
    }
}

impl State {
    /// Whether something went wrong that only sending all anew can heal, or that looks like it.
    pub fn may_need_sweeps(&self) -> bool {
        // What is published behind something later, or behind what only the broker's clock has dated, is not seen to wait.
        let overtakes = [Fault::StaleRead, Fault::PublishLost, Fault::Reordered];
        let is_overtaken = overtakes.iter().any(|fault| self.struck.contains_key(fault));
        self.loss > Loss::Nothing || is_overtaken || self.has_handmade
    }

    pub fn note_loss(&mut self, loss: Loss) {
        self.loss = self.loss.max(loss);
    }

    /// Takes note that an event is published under this id.
    fn note_sending(&mut self, event: String, id: String) {
        let (Some(log), Some(inventory)) = (&self.log, self.consumers.get(INVENTORY_CONSUMER)) else {
            return;
        };
        let mut others = log.sendings(&event).filter(|(_, other)| *other != id);
        let is_needless =
            event.starts_with(ORDER_CREATED) && others.any(|(sequence, _)| inventory.owes(sequence));
        drop(others);
        self.needless.extend(is_needless.then(|| event.clone()));
        self.sendings.entry(event).or_default().insert(id);
    }
}
