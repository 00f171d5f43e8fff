//! A schedule: everything that happens, in its order. It is drawn from a seed, and any part of it is one, too.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::crash::Point;
use super::model::fault::Fault;
use super::timeline::Side;

/// What happens, and the seed of all that is left to chance: ids, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    pub seed: u64,
    pub acts: Vec<Act>,
}

impl Schedule {
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no schedule", path.display()))
    }

    /// One act a line.
    pub fn write(&self, path: &Path) -> Result<()> {
        let acts = self.acts.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
        let text = format!("{{\"seed\": {}, \"acts\": [\n  {}\n]}}\n", self.seed, acts.join(",\n  "));
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// One thing that happens. What does not apply when its turn comes does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// One of those who can go on takes a step; time passes if there is none.
    Step(u16),
    /// Time passes until somebody waits no longer, whoever can go on.
    Wait,
    /// So many seconds pass, and each has its turn all the while.
    Pass(u8),
    /// A client orders.
    Place {
        user: u8,
        product: u8,
        quantity: u8,
    },
    /// A client repeats one of the requests with its key.
    Repeat(u16),
    /// A client looks at all orders, and at the stock.
    Look,
    /// So many pieces of a product come in.
    Restock {
        product: u8,
        quantity: u8,
    },
    /// Somebody counts the pieces of a product.
    Count {
        product: u8,
        stock: u8,
    },
    /// An operator has a dead letter handled again.
    Redrive(u16),
    /// An operator discards a dead letter.
    Discard(u16),
    /// What a consumer would be given next becomes a dead letter instead, as after a fault of the service that is mended.
    SetAside(Side),
    /// An operator lets the database take over the consumer.
    Adopt(Side),
    /// The service dies. It is started again, sooner or later.
    Crash(Side),
    /// Whoever reaches this fail-point next dies there.
    CrashAt(Point),
    /// Both services are off for so many hours.
    NightOff(u8),
    /// It is told to end, and does.
    Stop(Side),
    Start(Side),
    /// Its clock is ahead by so many seconds from now on.
    Jump(Side, i16),
    /// Its disk is full, or no longer.
    Fill(Side),
    Free(Side),
    /// The database of the orders is backed up.
    Backup,
    /// It is restored from the latest backup: what came later is forgotten.
    RestoreBackup,
    /// Strikes the next call that it concerns.
    Fault(Fault),
    /// The connection of a service is lost.
    Disconnect(Side),
    BrokerStops,
    BrokerStarts,
    /// A message that the broker has is published once more.
    Again(u16),
    /// Somebody publishes what nobody can handle.
    Poison(Side, u8),
    DeleteConsumer(Side),
    CopyBroker,
    RestoreBroker,
    Wipe,
    Truncate(u8),
    DiscardOldest(u8),
}

impl Act {
    /// Its kind, in one word.
    pub fn word(&self) -> String {
        let text = format!("{self:?}");
        text.split(|char: char| !char.is_alphanumeric()).next().unwrap_or_default().to_owned()
    }
}
