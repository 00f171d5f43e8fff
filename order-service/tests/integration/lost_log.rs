//! Nobody takes the log: then the log is lost, and nothing else.

use std::fs::File;
use std::net::TcpListener;
use std::process::Stdio;

use processes::Port;
use reqwest::Client;
use testing::DEADLINE;
use testing::service::token;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use crate::fixture::process::command;
use crate::fixture::{CONTRACT, Caller, Files, NO_BROKER, wait_until};

/// With `RUST_LOG=trace` they log a multiple of what a pipe holds.
const ORDERS: usize = 200;

/// A service whose standard error the test holds.
struct Service {
    child: Child,
    http: Client,
    url: String,
    _port: Port,
}

impl Service {
    async fn start(files: &Files, log: Stdio) -> Self {
        let (port, http) = (Port::claim().unwrap(), Client::builder().no_proxy().build().unwrap());
        let mut command = command(&["--nats-url", NO_BROKER, "--port", &port.number().to_string()]);
        command.env("DATABASE", files.database()).env("RUST_LOG", "trace").stderr(log).kill_on_drop(true);
        let (child, url) = (command.spawn().unwrap(), format!("http://127.0.0.1:{}", port.number()));
        let service = Self { child, http, url, _port: port };
        let answers = || async { service.http.get(format!("{}/livez", service.url)).send().await.is_ok() };
        wait_until("the service answers", answers).await;
        service
    }

    /// The end of its log that the test must read, or not.
    fn log(&mut self) -> ChildStderr {
        self.child.stderr.take().unwrap()
    }

    /// Places orders one after the other. Each must be accepted.
    async fn sells(&self) {
        let alice = Caller::new(&CONTRACT, &self.http, &self.url, &token("alice", None));
        for _ in 0..ORDERS {
            timeout(DEADLINE, alice.place("1", 1)).await.expect("an order is answered");
        }
    }

    async fn lost_lines(&self) -> u64 {
        let metrics = self.http.get(format!("{}/metrics", self.url)).send().await.unwrap();
        let metrics = metrics.text().await.unwrap();
        let lost = metrics.lines().find_map(|line| line.strip_prefix("log_lines_lost_total "));
        lost.map_or(0, |lost| lost.parse().unwrap())
    }

    /// SIGTERM, after which it must end well.
    async fn stop(&mut self) {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
        let ended = timeout(DEADLINE, self.child.wait()).await.expect("SIGTERM ends it").unwrap();
        assert_eq!(ended.code(), Some(0));
    }
}

#[tokio::test]
async fn a_service_whose_log_reader_is_gone_takes_orders_and_ends_on_sigterm() {
    let files = Files::new();
    let mut service = Service::start(&files, Stdio::piped()).await;
    let mut reader = BufReader::new(service.log()).lines();
    assert!(reader.next_line().await.unwrap().is_some(), "until then it was heard");
    drop(reader);
    service.sells().await;
    assert!(service.lost_lines().await > 0);
    service.stop().await;
    assert_eq!(files.look().orders().await, ORDERS as i64);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_service_whose_log_lies_on_a_full_disk_takes_orders_and_ends_on_sigterm() {
    let files = Files::new();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut service = Service::start(&files, full.into()).await;
    service.sells().await;
    assert!(service.lost_lines().await > 0);
    service.stop().await;
    assert_eq!(files.look().orders().await, ORDERS as i64);
}

#[tokio::test]
async fn a_service_whose_log_reader_stands_still_takes_orders_and_ends_on_sigterm() {
    let files = Files::new();
    let mut service = Service::start(&files, Stdio::piped()).await;
    let mut unread = service.log();
    service.sells().await;
    service.stop().await;
    assert_eq!(files.look().orders().await, ORDERS as i64);
    let mut log = String::new();
    unread.read_to_string(&mut log).await.unwrap();
    assert!(log.contains("listening") && !log.contains("drained"), "there was room for all of the log");
}

#[tokio::test]
async fn an_error_that_nobody_reads_is_still_an_error_and_no_panic() {
    let (files, taken) = (Files::new(), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = taken.local_addr().unwrap().port().to_string();
    let mut command = command(&["--nats-url", NO_BROKER, "--port", &port]);
    command.env("DATABASE", files.database()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    drop(child.stderr.take());
    let ended = timeout(DEADLINE, child.wait()).await.expect("it ends by itself").unwrap();
    assert_eq!(ended.code(), Some(1));
}
