//! The real binary of a service.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use processes::{Logs, Process};
use reqwest::Client;
use serde_json::Value;
use shared::http::auth::INVENTORY_WRITE_SCOPE;
use tokio::process::Command;
use tokio::time::timeout;

use super::caller::{Caller, token};
use crate::contract::Contract;
use crate::{DEADLINE, expect, wait_until};

/// The variables that both services read, as their help names them.
pub const VARIABLES: [&str; 17] = [
    "HOST",
    "PORT",
    "DATABASE",
    "NATS_URL",
    "NATS_USER",
    "NATS_PASSWORD",
    "NATS_MAX_BYTES",
    "JWT_SECRET",
    "JWT_SECRET_FILE",
    "JWT_PUBLIC_KEY_FILE",
    "JWT_ISSUER",
    "JWT_AUDIENCE",
    "JWT_REQUIRE_EXP",
    "ADMIN_TOKEN",
    "LOG_FORMAT",
    "RUST_LOG",
    "DRAIN_SECONDS",
];

/// What a command did that has ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    /// Standard output, as it is and as text.
    pub output: Vec<u8>,
    pub said: String,
    pub errors: String,
}

impl Ran {
    pub fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// Panics with its error output unless it succeeded; what it said.
    #[track_caller]
    pub fn success(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.errors);
        self.said
    }

    /// Panics unless it failed with this code; what its error output says.
    #[track_caller]
    pub fn failure(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}", self.errors);
        self.errors
    }
}

/// Runs a command to its end.
pub async fn run(command: &mut Command) -> Ran {
    let output = timeout(DEADLINE, command.kill_on_drop(true).output()).await;
    let output = expect("run the command", output.expect("the command ends by itself"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (said, errors) = (text(&output.stdout), text(&output.stderr));
    Ran { code: output.status.code(), output: output.stdout, said, errors }
}

/// A service as a process of its own, with JSON lines in a file.
pub struct ServiceProcess {
    process: Process,
    log: PathBuf,
    pub port: u16,
    pub http: Client,
    contract: &'static Contract,
}

impl ServiceProcess {
    /// Starts it on a free port, or the command's own, with its log in `folder`; returns when it listens.
    pub async fn spawn(contract: &'static Contract, mut command: Command, folder: &Path) -> Self {
        let log = folder.join("service.log");
        // A log of an earlier process would tell its address.
        let _ = fs::remove_file(&log);
        if !command.as_std().get_envs().any(|(name, _)| name == "PORT") {
            command.env("PORT", "0");
        }
        command.env("LOG_FORMAT", "json");
        let logs = Logs::Folder(folder.to_owned());
        let process = expect("start the service", Process::spawn("service", command, &logs));
        wait_until("the service listens", async || port(&log).is_some()).await;
        let port = port(&log).unwrap_or_default();
        let http = expect("make a client", Client::builder().no_proxy().build());
        Self { process, log, port, http, contract }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn caller(&self, token: &str) -> Caller {
        Caller::new(self.contract, &self.http, &self.url(), token)
    }

    /// Whoever may change stock.
    pub fn keeper(&self, sub: &str) -> Caller {
        self.caller(&token(sub, Some(INVENTORY_WRITE_SCOPE)))
    }

    pub fn user(&self, sub: &str) -> Caller {
        self.caller(&token(sub, None))
    }

    /// Status and body of an answer, which the OpenAPI document must have; 0 without an answer.
    pub async fn get(&self, path: &str) -> (u16, String) {
        match self.contract.try_send(self.http.get(format!("{}{path}", self.url()))).await {
            Ok(answer) => (answer.status().as_u16(), answer.text().await.unwrap_or_default()),
            Err(_) => (0, String::new()),
        }
    }

    pub async fn until_readyz_is(&self, status: u16) {
        let what = format!("readyz answers {status}");
        wait_until(&what, async || self.get("/readyz").await.0 == status).await;
    }

    /// Waits until the process ends by itself.
    pub async fn end(&mut self) -> ExitStatus {
        let end = timeout(DEADLINE, self.process.wait()).await;
        expect("wait for the process", end.expect("the process ends by itself"))
    }

    /// SIGTERM, after which the process must end well.
    pub async fn stop(&mut self) {
        assert_eq!(self.terminate().await.code(), Some(0), "{}", self.log());
    }

    /// SIGTERM, and how the process ended.
    pub async fn terminate(&mut self) -> ExitStatus {
        expect("stop the process", self.process.terminate(DEADLINE).await)
    }

    /// SIGTERM, without waiting.
    pub async fn signal_termination(&self) {
        let pid = self.process.pid().expect("the process runs").to_string();
        let status = Command::new("kill").args(["-TERM", &pid]).status().await;
        assert!(expect("send a signal", status).success());
    }

    pub async fn kill(&mut self) {
        expect("kill the process", self.process.kill().await);
    }

    /// All that was logged so far.
    pub fn log(&self) -> String {
        expect("read the log", fs::read_to_string(&self.log))
    }
}

/// The port that the service names in its log.
fn port(log: &Path) -> Option<u16> {
    let text = fs::read_to_string(log).ok()?;
    let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let listening = lines.rfind(|line| line["message"] == "listening")?;
    listening["address"].as_str()?.rsplit(':').next()?.parse().ok()
}
