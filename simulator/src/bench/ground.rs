//! Where something is measured: a topology in a folder of its own, which goes with it.

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::binaries::Binaries;
use crate::load;
use crate::load::Load;
use crate::load::plan::LoadPlan;
use crate::topology::Topology;

pub struct Ground {
    // Dropped first: the folder can go only when nobody writes to it any more.
    pub topology: Topology,
    pub load: Load,
    _folder: TempDir,
}

impl Ground {
    /// With plenty of stock, and warmed up by one order.
    pub async fn fresh(binaries: &Binaries, plan: LoadPlan) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot create a folder for the topology")?;
        let (topology, load) = load::start_own(folder.path(), plan, binaries.clone(), None).await?;
        Ok(Self { topology, load, _folder: folder })
    }
}
