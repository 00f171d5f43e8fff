//! A load that others drive, too.

use std::sync::Arc;

use super::plan::LoadPlan;
use super::tally::{SharedTally, Tally};
use super::target::Target;
use crate::answers::Recorder;

/// A plan on its way to a target. Cheap to clone; clones share the tally.
///
/// `watch` first, then `send`, then `wait_until_settled`. The services may die and come back at any time.
#[derive(Clone)]
pub struct Load {
    pub plan: Arc<LoadPlan>,
    pub target: Arc<Target>,
    pub tally: SharedTally,
    pub(super) recorder: Option<Recorder>,
}

impl Load {
    /// Nothing is sent yet. A recorder gets every answer and observation; whoever made it finishes it.
    pub fn new(plan: LoadPlan, target: Target, recorder: Option<Recorder>) -> Self {
        Self { plan: plan.into(), target: target.into(), tally: Tally::shared(), recorder }
    }

    /// Another plan to the same target, with the same tally and recorder.
    pub fn with_plan(&self, plan: LoadPlan) -> Self {
        Self { plan: plan.into(), ..self.clone() }
    }
}
