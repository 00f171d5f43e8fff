//! A load that others drive, too.

use std::sync::Arc;

use super::plan::LoadPlan;
use super::tally::{SharedTally, Tally};
use super::target::Target;
use crate::answers::Recorder;

/// A plan on its way to a target. Cheap to clone; clones share the tally.
///
/// Begin with `watch`, then `send`, then `wait_until_settled`. The services may die and come back at any time.
#[derive(Clone)]
pub struct Load {
    pub plan: Arc<LoadPlan>,
    pub target: Arc<Target>,
    pub tally: SharedTally,
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
}
