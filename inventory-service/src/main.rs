//! The `inventory-service` command: serves, or runs one of its small tools.

use std::process::ExitCode;

use anyhow::{Context, Result};
use inventory_service::{
    app,
    settings::{Cli, Command, Settings},
};
use shared::{
    http::auth::Tokens,
    operations::{
        admin_client::AdminClient,
        command_line,
        commands::{adopt, healthcheck},
        shutdown, telemetry,
    },
};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    telemetry::exit_code("inventory-service", run(command_line::parse(std::env::args_os())).await)
}

async fn run(Cli { command, settings }: Cli) -> Result<()> {
    let address = settings.server.reachable(settings.port);
    match command {
        None => serve(settings).await,
        Some(Command::Healthcheck) => healthcheck::healthcheck(address).await,
        Some(Command::Adopt) => adopt::command(&AdminClient::new(address, &settings.jwt)?).await,
        Some(Command::Token(token)) => token.print(&Tokens::new(&settings.jwt)?),
        Some(Command::DeadLetters(command)) => command.run(&AdminClient::new(address, &settings.jwt)?).await,
        Some(Command::Backup(backup)) => backup.run(&settings.database).await,
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
