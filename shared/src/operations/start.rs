//! What a service's process does: it serves until a signal, or runs one of its small tools.

use std::process::ExitCode;
use std::thread;

use anyhow::{Context, Result};
use clap::Args;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

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
    let (host, port) = (settings.host, settings.port);
    let until_signal = shutdown::on_signal(async |shutdown| {
        let listener = TcpListener::bind((host, port)).await;
        let listener = listener.with_context(|| format!("listen on HOST {host}, PORT {port}"))?;
        serve(settings, listener, shutdown).await
    });
    until_signal.await
}
