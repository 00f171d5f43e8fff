//! Until nothing is left to do, and what is found then.

use std::time::Duration;

use anyhow::Result;
use order_service::orders::pending;
use shared::clock::Instant;
use shared::delivery::outbox;

use super::model::Loss;
use super::model::fault::Fault;
use super::oracle;
use super::timeline::Side;
use super::world::World;

const BACKOFF_START: Duration = Duration::from_millis(pending::BACKOFF_START_MS as u64);

impl World {
    /// The time until all must be quiet again, from the last fault on.
    pub fn heals_within(&self) -> Duration {
        let (state, memory) = (self.model.state(), self.memory.borrow());
        // After a full disk the relay's pauses have grown. A consumer is set back once, and not again before something was
        // handled: else whatever kills a service at each start would do so at once.
        let is_slow = memory.was_full || self.nodes.iter().any(|node| node.deaths > 1);
        let is_waited_out = is_slow || Fault::WAITED_OUT.iter().any(|fault| state.struck.contains_key(fault));
        // A clock that was ahead by less than a back-off is not told from the time: the back-off is longer by so much.
        let ahead = if memory.has_jumped { BACKOFF_START } else { Duration::ZERO };
        match state.loss {
            // Less than `ack_wait`.
            Loss::Nothing if !is_waited_out => Duration::from_secs(8),
            Loss::Nothing | Loss::Noticed => Duration::from_secs(15),
            // The sweeper begins anew with the connection.
            Loss::Newest => Duration::from_secs(45) + ahead,
            // Its back-off doubles: the first time it is 30 s, or none for an order of long ago, then 60 s.
            Loss::Some => Duration::from_secs(75) + self.begun.elapsed() + ahead,
        }
    }

    /// Goes on in turns until nothing is left to do, no longer than so long. How long it took.
    pub async fn until_quiet(&mut self, within: Duration) -> Result<Option<Duration>> {
        let begun = Instant::now();
        loop {
            if self.goes_on_for_ever() {
                return Ok(None);
            }
            if let Some(place) = self.next_able() {
                self.take_step(place).await;
                continue;
            }
            let before = begun.elapsed();
            self.adopt_what_is_foreign();
            if self.is_quiet().await? {
                return Ok(Some(before));
            }
            if before > within || !self.failures.is_empty() {
                return Ok(None);
            }
            self.wait_a_little();
        }
    }

    fn adopt_what_is_foreign(&mut self) {
        for side in Side::ALL {
            let is_foreign =
                self.node(side).running.as_ref().is_some_and(|running| running.broker.is_foreign());
            if is_foreign && !self.memory.borrow().has_forgotten {
                self.failures
                    .push(format!("the {side} takes its consumer for another's, and nothing was restored"));
            }
            if is_foreign && !self.tasks.iter().any(|task| task.name == "adoption") {
                self.adopt(side);
            }
        }
    }

    async fn is_quiet(&mut self) -> Result<bool> {
        let is_under_way = |name| ["request", "adoption"].contains(&name);
        if self.model.owes() || self.tasks.iter().any(|task| is_under_way(task.name)) {
            return Ok(false);
        }
        for side in Side::ALL {
            let Some(database) = self.database(side) else { return Ok(false) };
            if !self.node(side).running.as_ref().is_some_and(|running| running.broker.is_connected()) {
                return Ok(false);
            }
            if outbox::count(database.reader()).await? > 0 {
                return Ok(false);
            }
            if side == Side::Order && pending::count(database.reader()).await? > 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What the oracle finds.
    pub async fn look_at_all(&mut self) -> Result<()> {
        let (is_silent, memory) = (self.model.state().loss > Loss::Nothing, self.memory.borrow().clone());
        for side in Side::ALL {
            let Some(database) = self.database(side) else { continue };
            self.failures.extend(oracle::dead_letters(side, &database, &memory, is_silent).await?);
        }
        self.failures.extend(self.clients.wrong_answers());
        self.failures.extend(oracle::needless_sendings(&self.model.state(), &memory));
        self.failures.extend(oracle::needless_repeats(&self.model.state(), &memory));
        self.failures.extend(oracle::taken_unadopted(&self.model.state()));
        Ok(())
    }
}
