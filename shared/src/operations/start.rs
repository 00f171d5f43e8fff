//! What a service's process does: it serves until a signal, or runs one of its small tools.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::operations::commands::Command;
use crate::operations::{shutdown, telemetry};
use crate::settings::ServiceSettings;

/// Runs the tool, or `serve` without one, and tells the error that ends it.
pub async fn start<Own: Args, F: Future<Output = Result<()>>>(
    name: &str,
    command: Option<Command>,
    settings: ServiceSettings<Own>,
    serve: impl FnOnce(ServiceSettings<Own>, TcpListener, CancellationToken) -> F,
) -> ExitCode {
    let run = async {
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
    };
    telemetry::exit_code(name, run.await)
}
