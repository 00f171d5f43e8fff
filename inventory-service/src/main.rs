//! The `inventory-service` command: serves, or runs one of its small tools.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use inventory_service::{
    app,
    settings::{Cli, Command, Settings},
};
use shared::{admin::AdminClient, adoption, auth::Tokens, operations, shutdown, telemetry};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    telemetry::exit_code("inventory-service", run(Cli::parse()).await)
}

async fn run(cli: Cli) -> Result<()> {
    match cli.command {
        None => serve(cli.settings).await,
        Some(Command::Healthcheck) => operations::healthcheck(cli.settings.port).await,
        Some(Command::Adopt) => {
            adoption::command(&AdminClient::new(cli.settings.port, &cli.settings.jwt)?).await
        }
        Some(Command::Token(token)) => token.print(&Tokens::new(&cli.settings.jwt)?),
        Some(Command::DeadLetters(command)) => {
            command.run(&AdminClient::new(cli.settings.port, &cli.settings.jwt)?).await
        }
        Some(Command::Backup(backup)) => backup.run(&cli.settings.database).await,
    }
}

async fn serve(settings: Settings) -> Result<()> {
    telemetry::start_logging(&settings.log)?;
    telemetry::metrics();
    let address = (settings.server.host, settings.port);
    shutdown::on_signal(async |shutdown| {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("listen on HOST {}, PORT {}", address.0, address.1))?;
        app::run(settings, listener, shutdown).await
    })
    .await
}
