//! What a service's process does: it serves until a signal, or runs one of its small tools.

use std::process::ExitCode;
use std::thread;

use anyhow::{Context, Result, ensure};
use clap::Args;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use crate::clock::{now_ms, rfc3339};
use crate::operations::commands::Command;
use crate::operations::{shutdown, telemetry};
use crate::settings::ServiceSettings;

/// Runs the tool, or `serve` without one, and tells the error that ends it.
pub fn start<Own: Args, F: Future<Output = Result<()>>>(
    name: &str,
    command: Option<Command>,
    settings: ServiceSettings<Own>,
    serve: impl FnOnce(ServiceSettings<Own>, TcpListener, CancellationToken) -> F,
) -> ExitCode {
    let result = runtime().and_then(|runtime| runtime.block_on(run(command, settings, serve)));
    telemetry::exit_code(name, result)
}

/// A worker for each two processors. The threads of SQLite take as much, and each worker more is one more that
/// tasks are handed to and fro between.
fn runtime() -> Result<Runtime> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let workers = (processors / 2).max(1);
    Builder::new_multi_thread().worker_threads(workers).enable_all().build().context("start the runtime")
}

async fn run<Own: Args, F: Future<Output = Result<()>>>(
    command: Option<Command>,
    settings: ServiceSettings<Own>,
    serve: impl FnOnce(ServiceSettings<Own>, TcpListener, CancellationToken) -> F,
) -> Result<()> {
    if let Some(command) = command {
        return command.run(&settings).await;
    }
    telemetry::start_logging(&settings.log)?;
    check_clock(now_ms())?;
    let (host, port) = (settings.host, settings.port);
    let until_signal = shutdown::on_signal(async |shutdown| {
        let listener = TcpListener::bind((host, port)).await;
        let listener = listener.with_context(|| format!("listen on HOST {host}, PORT {port}"))?;
        serve(settings, listener, shutdown).await
    });
    until_signal.await
}

/// No id can carry a time before 1970: whatever makes one would panic.
fn check_clock(now_ms: i64) -> Result<()> {
    ensure!(now_ms >= 0, "the clock of this machine shows {}, which is before 1970: set it", rfc3339(now_ms));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_before_1970_is_refused_with_what_it_shows() {
        assert!(check_clock(now_ms()).is_ok() && check_clock(0).is_ok());
        let error = check_clock(-1).unwrap_err().to_string();
        assert!(error.contains("1969-12-31T23:59:59.999Z"), "{error}");
    }
}
