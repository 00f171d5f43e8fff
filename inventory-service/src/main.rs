//! The `inventory-service` command: serves, or runs one of its small tools.

use std::process::ExitCode;

use inventory_service::app;

fn main() -> ExitCode {
    app::main()
}
