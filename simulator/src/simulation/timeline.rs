//! What happened, line by line: a hash of it for every schedule, the lines for whoever asks.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::broker::stream::Outgoing;
use shared::clock::Instant;
use shared::contract::subjects::{INVENTORY_CONSUMER, ORDER_CONSUMER, ORDER_CREATED, ORDER_PROCESSED};

/// Which service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    Order,
    Inventory,
}

impl Side {
    pub const ALL: [Self; 2] = [Self::Order, Self::Inventory];

    pub fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Inventory => "inventory",
        }
    }

    /// The name of its consumer.
    pub fn consumer(self) -> &'static str {
        match self {
            Self::Order => ORDER_CONSUMER,
            Self::Inventory => INVENTORY_CONSUMER,
        }
    }

    /// What its consumer receives.
    pub fn subject(self) -> &'static str {
        match self {
            Self::Order => ORDER_PROCESSED,
            Self::Inventory => ORDER_CREATED,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The history of one schedule.
pub struct Timeline {
    begun: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    hash: DefaultHasher,
    /// Only if somebody wants to read them.
    lines: Option<Vec<String>>,
    /// Short names of orders, in the order of their appearance.
    names: HashMap<String, usize>,
}

impl Timeline {
    pub fn new(keeps_lines: bool) -> Self {
        let state = State { lines: keeps_lines.then(Vec::new), ..State::default() };
        Self { begun: Instant::now(), state: Mutex::new(state) }
    }

    /// `who` does something.
    pub fn tell(&self, who: &str, text: impl FnOnce() -> String) {
        let (at, text) = (self.begun.elapsed(), text());
        self.with(|state| {
            (at, who, &text).hash(&mut state.hash);
            if let Some(lines) = &mut state.lines {
                lines.push(line(at, who, &text));
            }
        });
    }

    /// The short name of an order.
    pub fn name(&self, order_id: &str) -> String {
        self.with(|state| {
            let next = state.names.len() + 1;
            format!("o{}", state.names.entry(order_id.to_owned()).or_insert(next))
        })
    }

    /// A message in a few words.
    pub fn about(&self, message: &Outgoing) -> String {
        let order = message.headers.get("ce-subject").map(|id| self.name(id.as_str())).unwrap_or_default();
        format!("{} {order}", message.subject)
    }

    /// A number that another run of the same schedule has, too.
    pub fn hash(&self) -> u64 {
        self.with(|state| state.hash.finish())
    }

    pub fn lines(&self) -> Vec<String> {
        self.with(|state| state.lines.take().unwrap_or_default())
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut State) -> T) -> T {
        use_it(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn line(at: Duration, who: &str, text: &str) -> String {
    format!("{:>9.3} s  {who:<10} {text}", at.as_secs_f64())
}
