//! The broker as a local process, with the repository's own configuration, and the users in it.

use std::env;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use async_nats::ConnectOptions;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use crate::{poll, workspace};

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

/// Below it nobody but the user hears replies.
pub fn inbox_prefix(user: &str) -> String {
    match user {
        "observer" => "_INBOX".to_owned(),
        _ => format!("_INBOX_{user}"),
    }
}

/// How to connect as a user of `nats.conf`; the observer has neither name nor password.
pub fn options(user: &str) -> ConnectOptions {
    let options = match user {
        "observer" => ConnectOptions::new(),
        _ => ConnectOptions::with_user_and_password(user.to_owned(), password(user)),
    };
    options.custom_inbox_prefix(inbox_prefix(user))
}

/// The command that runs `server` on 127.0.0.1 with its streams in `folder`; `monitor` -1: a random port.
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
    let greeting = async || timeout(Duration::from_secs(1), greets(port)).await.ok()?.then_some(());
    let greeted = poll(START, Duration::from_millis(20), greeting).await;
    greeted.with_context(|| format!("no broker answered on port {port} within {} s", START.as_secs()))
}

/// An open port is not enough: Docker's proxy accepts connections before the server does.
async fn greets(port: u16) -> bool {
    let Ok(stream) = TcpStream::connect(("127.0.0.1", port)).await else { return false };
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await.is_ok() && line.starts_with("INFO ")
}
