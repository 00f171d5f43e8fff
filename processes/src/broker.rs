//! The broker as a local process, with the repository's own configuration, and the users in it.

use std::env;
use std::fs;
use std::path::{self, Path};
use std::process;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_nats::ConnectOptions;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use crate::{poll, workspace};

/// The users of `nats.conf` that have a password.
pub const USERS: [&str; 3] = ["order", "inventory", "operator"];

/// Of nats-server, each with one dash or two.
const STORE_FLAGS: [&str; 2] = ["-sd", "-store_dir"];

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
    // Absolute, so that [`running_on`] recognises it whatever folder the server was started in.
    command.arg("-sd").arg(path::absolute(folder).unwrap_or_else(|_| folder.to_owned()));
    command.args(["-a", "127.0.0.1", "-p", &port.to_string(), "-m", &monitor.to_string()]);
    for user in USERS {
        command.env(password_variable(user), password(user));
    }
    command
}

/// A server as `ps` shows it, whoever has started it.
#[derive(Debug, PartialEq, Eq)]
pub struct Running {
    pub pid: String,
    /// Its command line.
    pub command: String,
}

/// The server that has its streams in `folder`, as its command line tells; one that names it in a file is not found.
pub fn running_on(folder: &Path) -> Result<Option<Running>> {
    // A folder that is not there is nobody's.
    let Ok(folder) = fs::canonicalize(folder) else { return Ok(None) };
    let output = process::Command::new("ps").args(["-A", "-ww", "-o", "pid=,args="]).output();
    let output = output.context("cannot run ps, which tells whether a nats-server runs")?;
    ensure!(output.status.success(), "ps cannot tell whether a nats-server runs: {}", output.status);
    let lines = String::from_utf8_lossy(&output.stdout);
    let mut servers = lines.lines().filter_map(|line| line.trim_start().split_once(' '));
    let found = servers.find(|(_, command)| has_streams_in(command, &folder));
    Ok(found.map(|(pid, command)| Running { pid: pid.to_owned(), command: command.trim().to_owned() }))
}

/// Whether a command line names `folder`, which is canonical, as the folder of the streams.
fn has_streams_in(command: &str, folder: &Path) -> bool {
    let named = STORE_FLAGS.iter().flat_map(|flag| command.split(flag).skip(1));
    // Nobody knows where the path ends: a space may belong to it.
    named.filter_map(|rest| rest.strip_prefix([' ', '='])).any(|rest| {
        let ends = rest.match_indices(' ').map(|(end, _)| end).chain([rest.len()]);
        ends.map(|end| &rest[..end]).any(|path| fs::canonicalize(path).is_ok_and(|path| path == folder))
    })
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_servers_folder_is_found_in_its_command_line_however_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let (store, link) = (folder.path().join("my nats"), folder.path().join("link"));
        fs::create_dir(&store).unwrap();
        symlink(&store, &link).unwrap();
        let (store, canonical) = (store.display(), fs::canonicalize(&store).unwrap());
        let finds = |command: String| has_streams_in(&command, &canonical);
        assert!(finds(format!("nats-server -sd {store}")));
        assert!(finds(format!("/bin/nats-server -c nats.conf -sd {store} -p 4222")));
        assert!(finds(format!("nats-server --store_dir={store}/ -p 4222")));
        assert!(finds(format!("nats-server -js -sd {}", link.display())));
        assert!(!finds(format!("nats-server -sd {store}/other")));
        assert!(!finds(format!("ls -l {store}")));
        assert!(!finds("nats-server -sd".to_owned()));
    }

    #[test]
    fn a_servers_folder_is_absolute_in_its_command_line() {
        let command = command(Path::new("nats-server"), Path::new("db/nats"), 4222, -1);
        let arguments: Vec<_> = command.as_std().get_args().collect();
        let flag = arguments.iter().position(|argument| *argument == STORE_FLAGS[0]).unwrap();
        assert!(Path::new(arguments[flag + 1]).is_absolute(), "{arguments:?}");
    }
}
