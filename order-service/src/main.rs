//! The `order-service` command: serves, or runs one of its small tools.

use std::process::ExitCode;

use order_service::app;
use order_service::settings::Cli;
use shared::operations::{command_line, start};

fn main() -> ExitCode {
    let Cli { command, settings } = command_line::parse(std::env::args_os());
    start::start(app::ABOUT.name, command, settings, app::run)
}
