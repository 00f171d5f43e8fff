//! The machine that the figures are of: they mean nothing without it.

use std::env::consts::{ARCH, OS};
use std::fmt;
use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

/// How often the disk is asked to keep something.
const SYNCS: usize = 100;
/// What is kept each time: as much as SQLite appends for one small commit.
const PAGE: [u8; 4096] = [0; 4096];

/// What this machine is, as far as it tells.
#[derive(Debug, Serialize)]
pub struct Machine {
    system: String,
    processor: String,
    cores: usize,
    memory_gib: f64,
    /// The median time of an fsync behind a small append, in milliseconds, where the measurements lie.
    fsync_ms: f64,
}

impl Machine {
    pub fn look() -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let processor = first_value("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
        let memory = first_value("/proc/meminfo", "MemTotal");
        let kib: f64 = memory.and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or(0.0);
        let fsync_ms = fsync().context("cannot measure the disk")?.as_secs_f64() * 1e3;
        let memory_gib = kib / (1024.0 * 1024.0);
        Ok(Self { system: format!("{OS} {ARCH}"), processor, cores, memory_gib, fsync_ms })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { system, processor, cores, memory_gib, fsync_ms } = self;
        write!(
            f,
            "{processor}, {cores} cores, {memory_gib:.1} GiB, {system}; an fsync takes {fsync_ms:.2} ms"
        )
    }
}

/// What stands behind `name:` in one of the kernel's files.
fn first_value(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The median time until the disk has kept an append, in the folder where the topologies lie.
fn fsync() -> Result<Duration> {
    let mut file = tempfile::tempfile()?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let started = Instant::now();
        file.write_all(&PAGE)?;
        file.sync_data()?;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    Ok(times[SYNCS / 2])
}
