//! The broker as one service sees it, and how its calls arrive.
//!
//! Each call ends the step of whoever makes it, so that anything may happen before it arrives; one that changes
//! something ends another step before its answer is seen.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use shared::clock::simulated::park;
use shared::clock::sleep;

use super::fault::Fault;
use super::log::Log;
use super::{Model, State};
use crate::simulation::mutants::Mutant;
use crate::simulation::timeline::Side;

/// Nobody waits so long for an answer of the API.
pub(super) const TOO_LATE: Duration = Duration::from_secs(6);

/// One service's place at the broker.
#[derive(Clone)]
pub struct Seat {
    pub model: Arc<Model>,
    pub side: Side,
}

impl Seat {
    pub(super) fn tell(&self, text: impl FnOnce() -> String) {
        self.model.timeline.tell(self.side.name(), text);
    }

    pub(super) fn is(&self, mutant: Mutant) -> bool {
        self.model.mutant == Some(mutant)
    }

    pub(super) fn connection(&self) -> Option<u64> {
        let state = self.model.state();
        state.connections.get(&self.side).and_then(|(count, stands)| stands.then_some(*count))
    }

    /// Waits until the request has arrived; an error if it did not, or is refused.
    pub(super) async fn arrive(&self, what: &str) -> Result<()> {
        park().await;
        if self.model.strikes(Fault::CallFails) {
            self.tell(|| format!("{what}: refused"));
            bail!("the broker refuses it");
        }
        if self.connection().is_none() || self.model.strikes(Fault::CallLate) {
            self.tell(|| format!("{what}: no answer in time"));
            sleep(TOO_LATE).await;
            bail!("no answer in time");
        }
        Ok(())
    }

    pub(super) async fn read<T>(
        &self,
        what: &str,
        read: impl FnOnce(&mut State, &mut Log) -> T,
    ) -> Result<T> {
        self.arrive(what).await?;
        let mut state = self.model.state();
        let mut log = state.log.take().context("there is no stream")?;
        let answer = read(&mut state, &mut log);
        state.log = Some(log);
        Ok(answer)
    }

    pub(super) async fn change<T>(
        &self,
        what: &str,
        change: impl FnOnce(&mut State, &mut Log) -> T,
    ) -> Result<T> {
        let answer = self.read(what, change).await?;
        self.tell(|| what.to_owned());
        self.model.notify_pulls();
        park().await;
        Ok(answer)
    }
}
