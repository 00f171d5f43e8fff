//! What a half of the bound and `sim bench` say to each other, by standard input and output.
//!
//! A half ends with its standard input. So it never outlives whoever has started it, and lives until its processor time
//! was read.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, stdin};

/// What a half prints once it can begin.
pub const READY: &str = "ready";

/// What the half that orders prints in the end, as JSON.
#[derive(Debug, Serialize, Deserialize)]
pub struct Told {
    pub settled: u64,
    /// From the first order until the last one was settled.
    pub seconds: f64,
}

pub fn say_ready() {
    println!("{READY}");
}

/// Waits for a line.
pub async fn told_to_go() -> Result<()> {
    let read = BufReader::new(stdin()).read_line(&mut String::new()).await;
    ensure!(read.context("cannot read the standard input")? > 0, "told to end before the start");
    Ok(())
}

/// Waits for the end of the standard input.
pub async fn told_to_end() {
    let _ = stdin().read_to_end(&mut Vec::new()).await;
}
