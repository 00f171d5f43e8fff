//! What a system uses that nobody uses.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::figures::Measured;
use super::ground::Ground;
use super::scenario::saturating;
use crate::binaries::Binaries;
use crate::load::plan::Limit;
use crate::load::{CpuMeter, micros_each};

/// What the order of the warm-up leaves to do is done by then.
const CALM: Duration = Duration::from_secs(1);
/// A figure of processor time in microseconds, and its name here.
const SHARES: [(&str, &str); 3] = [
    ("order_cpu_us", "order_percent"),
    ("inventory_cpu_us", "inventory_percent"),
    ("broker_cpu_us", "broker_percent"),
];

/// The processor time of each process meanwhile, in percent of a core.
pub async fn measure(binaries: &Binaries, duration: Duration) -> Result<Measured> {
    let mut ground = Ground::fresh(binaries, saturating(Limit::Duration(duration))).await?;
    sleep(CALM).await;
    let meter = CpuMeter::start(&ground.topology);
    sleep(duration).await;
    let used = micros_each(&meter.used(), 1);
    ground.topology.stop().await?;
    let micros = |name| used.iter().find(|(figure, _)| *figure == name).map(|(_, micros)| *micros);
    let percent = |micros: f64| micros / duration.as_micros() as f64 * 100.0;
    Ok(SHARES.into_iter().filter_map(|(from, name)| Some((name, percent(micros(from)?)))).collect())
}
