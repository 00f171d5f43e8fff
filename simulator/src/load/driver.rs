//! A load that others drive, too: start to watch, send, wait for the end, and meanwhile read the tally.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio_util::sync::CancellationToken;

use super::plan::LoadPlan;
use super::tally::{SharedTally, Tally};
use super::target::Target;
use super::watch::{self, Watch};
use super::{callers, end};
use crate::answers::Recorder;

/// A plan on its way to a target. Cheap to clone; clones share the tally.
///
/// The services may die and come back at any time: see [`Load::send`].
#[derive(Clone)]
pub struct Load {
    pub(super) plan: Arc<LoadPlan>,
    pub(super) target: Arc<Target>,
    pub(super) tally: SharedTally,
    pub(super) recorder: Option<Recorder>,
}

impl Load {
    /// Nothing is sent yet. With a recorder, every answer and every observation is written; whoever made it finishes it.
    pub fn new(plan: LoadPlan, target: Target, recorder: Option<Recorder>) -> Self {
        Self { plan: plan.into(), target: target.into(), tally: Tally::shared(), recorder }
    }

    /// Another plan to the same target: what it sends counts in the same tally and is written by the same recorder.
    pub fn with_plan(&self, plan: LoadPlan) -> Self {
        Self { plan: plan.into(), ..self.clone() }
    }

    /// What it sends.
    pub fn plan(&self) -> &LoadPlan {
        &self.plan
    }

    /// The counts, at any time.
    pub fn tally(&self) -> &SharedTally {
        &self.tally
    }

    /// Starts to see orders settled, until the returned value is dropped. Begin before [`Load::send`].
    ///
    /// With `nats_url` by events, and by asking for those that wait for long; without it by asking alone. The
    /// broker must be there now; later it and the services may go and come back.
    pub async fn watch(&self, nats_url: Option<&str>) -> Result<Watch> {
        watch::start(self, nats_url).await
    }

    /// Sends orders until the plan's limit or until `stop` is cancelled; returns when the last one's outcome is known.
    ///
    /// A lost connection, a missing answer and a 5xx other than 503 are an unknown outcome: the order is repeated under
    /// its key until a 201 tells, for at most two minutes, also after `stop`.
    pub async fn send(&self, stop: &CancellationToken) -> Result<()> {
        callers::run(self, stop).await
    }

    /// Waits until no accepted order is open and the order service has stored that, or none was settled for as long as
    /// `standstill`. Returns how many are open.
    pub async fn wait_until_settled(&self, standstill: Duration) -> u64 {
        end::wait_until_settled(self, standstill).await
    }
}
