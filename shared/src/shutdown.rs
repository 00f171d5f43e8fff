//! One signal, one token: SIGINT and SIGTERM cancel it, and everything else only watches the token.

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that the first SIGINT or SIGTERM cancels. A second signal ends the process at once.
pub fn on_signal() -> Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        for attempt in 1.. {
            let name = tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
            };
            if attempt > 1 {
                tracing::warn!(signal = name, "second signal: exit without draining");
                std::process::exit(1);
            }
            tracing::info!(signal = name, "draining");
            cancelled.cancel();
        }
    });
    Ok(token)
}
