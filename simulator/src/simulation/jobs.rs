//! Many schedules, on several threads: each has its own clock, its own world, and a processor to itself.
//!
//! A statement goes to SQLite's thread and back. Between two processors that takes twice as long as on one.

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow};
#[cfg(target_os = "linux")]
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio_util::future::FutureExt;
use tokio_util::sync::CancellationToken;

use super::mutants::Mutant;
use super::report::{Failure, Totals};
use super::run::{run, templates};
use super::schedule::{Act, Schedule};
use super::shrink::shrink;
use super::world::Ground;

/// What all schedules have in common.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub acts: u32,
    pub mutant: Option<Mutant>,
    /// After so many failures no further schedule is begun.
    pub failures: usize,
}

/// What the threads share.
pub struct Shared {
    settings: Settings,
    next: AtomicU64,
    end: u64,
    stop: CancellationToken,
    totals: Mutex<Totals>,
}

impl Shared {
    pub fn new(settings: Settings, from: u64, count: u64) -> Arc<Self> {
        let (next, stop, totals) = (AtomicU64::new(from), CancellationToken::new(), Mutex::default());
        Arc::new(Self { settings, next, end: from.saturating_add(count), stop, totals })
    }

    pub fn totals(&self) -> MutexGuard<'_, Totals> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No further schedule is begun, and those under way are dropped.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    fn next_seed(&self) -> Option<u64> {
        let is_enough = self.totals().failures.len() >= self.settings.failures;
        if is_enough || self.stop.is_cancelled() {
            return None;
        }
        let seed = self.next.fetch_add(1, Ordering::AcqRel);
        (seed < self.end).then_some(seed)
    }
}

/// Starts the threads. One that cannot go on stops the others.
pub fn start(shared: &Arc<Shared>, jobs: Option<u16>) -> Result<Vec<JoinHandle<Result<()>>>> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let spawn = |job: usize| {
        let shared = shared.clone();
        let thread = thread::Builder::new().name(format!("job {job}"));
        thread.spawn(move || {
            stay_on_one(job);
            let runtime = Builder::new_current_thread().enable_all().build().context("start a runtime")?;
            runtime.block_on(work(&shared)).inspect_err(|_| shared.stop())
        })
    };
    (0..jobs.map_or(processors, usize::from)).map(|job| spawn(job).context("start a thread")).collect()
}

/// Waits for a thread to end.
pub fn join(job: JoinHandle<Result<()>>) -> Result<()> {
    job.join().map_err(|_| anyhow!("a thread of the simulation panicked"))?
}

/// On one of the processors that it may have; the threads of SQLite that this one starts stay there, too. Where that cannot be
/// had, it goes more slowly.
#[cfg(target_os = "linux")]
fn stay_on_one(job: usize) {
    let Ok(all) = sched_getaffinity(None) else { return };
    let allowed: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|processor| all.is_set(*processor)).collect();
    let Some(place) = job.checked_rem(allowed.len()) else { return };
    let mut only = CpuSet::new();
    only.set(allowed[place]);
    let _ = sched_setaffinity(None, &only);
}

#[cfg(not(target_os = "linux"))]
fn stay_on_one(_: usize) {}

/// A folder in memory, where there is one: nothing is ever read again after a crash of the machine.
pub fn folder() -> Result<TempDir> {
    let memory = PathBuf::from("/dev/shm");
    let base = if memory.is_dir() { memory } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("sim-simulate-").tempdir_in(base).context("cannot create a folder")
}

async fn work(shared: &Shared) -> Result<()> {
    let Settings { acts, mutant, .. } = shared.settings;
    let folder = folder()?;
    let templates = templates(folder.path(), mutant).await?;
    while let Some(seed) = shared.next_seed() {
        let schedule = Schedule::draw(seed, acts);
        let ground = Ground::new(&templates, mutant);
        let outcome = run(&schedule, &ground).with_cancellation_token(&shared.stop).await;
        let Some(outcome) = outcome else { break };
        let outcome = outcome.with_context(|| format!("schedule {seed}"))?;
        if !outcome.failures.is_empty() {
            let shortest = shortest(&schedule, &outcome.failures, &ground, &shared.stop).await?;
            let failure = Failure { seed, what: outcome.failures.clone(), shortest };
            shared.totals().failures.push(failure);
        }
        shared.totals().add(&schedule, outcome);
    }
    Ok(())
}

/// The shortest part of a schedule that was found to fail in the same way.
async fn shortest(
    schedule: &Schedule,
    what: &[String],
    ground: &Ground<'_>,
    stop: &CancellationToken,
) -> Result<Schedule> {
    let (seed, kinds): (_, Vec<String>) = (schedule.seed, what.iter().map(|what| kind(what)).collect());
    let fails = async |acts: &[Act], ground: &Ground<'_>| {
        let schedule = Schedule { seed, acts: acts.to_vec() };
        let outcome = run(&schedule, ground).with_cancellation_token(stop).await.transpose()?;
        let found = outcome.map(|outcome| outcome.failures).unwrap_or_default();
        anyhow::Ok(found.iter().any(|what| kinds.contains(&kind(what))))
    };
    // What is stuck for so long was stuck for longer before.
    let quick = Ground { stuck_after: 1, ..*ground };
    let acts = shrink(schedule.acts.clone(), async |acts: &[Act]| fails(acts, &quick).await).await?;
    // The machine may have paused for as long.
    let is_certain = fails(&acts, ground).await?;
    Ok(if is_certain { Schedule { seed, acts } } else { schedule.clone() })
}

/// What a finding is about, without names and numbers.
fn kind(what: &str) -> String {
    what.split(':').next().unwrap_or_default().chars().filter(|char| !char.is_ascii_digit()).collect()
}
