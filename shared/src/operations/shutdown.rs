//! One signal, one token: SIGINT and SIGTERM cancel it, and everything else only watches the token.

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::operations::log;
use crate::operations::tasks::Tasks;

/// Runs `work` with a token that the first SIGINT or SIGTERM cancels. A second one ends the process at once.
pub async fn on_signal<T, F: Future<Output = Result<T>>>(
    work: impl FnOnce(CancellationToken) -> F,
) -> Result<T> {
    let shutdown = CancellationToken::new();
    let mut listening = listening(shutdown.clone())?;
    tokio::select! {
        ended = work(shutdown) => ended,
        error = listening.first_end() => Err(error),
    }
}

fn listening(shutdown: CancellationToken) -> Result<Tasks> {
    let interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut listening = Tasks::default();
    listening.spawn("signals", listen(interrupt, terminate, shutdown));
    Ok(listening)
}

async fn listen(mut interrupt: Signal, mut terminate: Signal, shutdown: CancellationToken) {
    for attempt in 1.. {
        let name = tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        };
        if attempt > 1 {
            tracing::warn!(signal = name, "second signal: exit without draining");
            log::STDERR.flush();
            std::process::exit(1);
        }
        tracing::info!(signal = name, "draining");
        shutdown.cancel();
    }
}
