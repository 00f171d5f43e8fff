//! The broker as a local process, with the repository's own configuration.

use std::env;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::workspace;

/// The users of `nats.conf` that have a password.
pub const USERS: [&str; 3] = ["order", "inventory", "operator"];

/// How long a broker may take from its start to its first greeting.
const START: Duration = Duration::from_secs(30);

/// The variable that holds a user's password, as `nats.conf` names it.
pub fn password_variable(user: &str) -> String {
    format!("NATS_{}_PASSWORD", user.to_uppercase())
}

/// A user's password: from its variable, else the one of the demo. The observer's is empty.
pub fn password(user: &str) -> String {
    match env::var(password_variable(user)) {
        Ok(password) if !password.is_empty() => password,
        _ if USERS.contains(&user) => format!("{user}-demo-password"),
        _ => String::new(),
    }
}

/// The command that runs `server` on 127.0.0.1 with its streams in `folder`; `monitor` is -1 for a random port.
pub fn command(server: &Path, folder: &Path, port: u16, monitor: i32) -> Command {
    let mut command = Command::new(server);
    command.arg("-c").arg(workspace::nats_conf());
    command.arg("-sd").arg(folder);
    command.args(["-a", "127.0.0.1", "-p", &port.to_string(), "-m", &monitor.to_string()]);
    for user in USERS {
        command.env(password_variable(user), password(user));
    }
    command
}

/// Waits for the broker's greeting. It starts to listen after JetStream is ready, so the greeting means both.
pub async fn wait_until_ready(port: u16) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < START {
        if let Ok(true) = timeout(Duration::from_secs(1), greets(port)).await {
            return Ok(());
        }
        sleep(Duration::from_millis(20)).await;
    }
    bail!("no broker answered on port {port} within {} s", START.as_secs())
}

/// An open port is not enough: Docker's proxy accepts connections before the server does.
async fn greets(port: u16) -> bool {
    let Ok(stream) = TcpStream::connect(("127.0.0.1", port)).await else {
        return false;
    };
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await.is_ok() && line.starts_with("INFO ")
}
