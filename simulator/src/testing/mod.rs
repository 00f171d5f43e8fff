//! What tests start: a broker of their own, never a mock, with the repository's `nats.conf`.
//!
//! `TEST_NATS=docker` or `process` decides where it runs; unset, Docker is used where an engine answers. Failures
//! panic with their reason, since nobody but a failing test would handle them.

mod container;
pub mod contract;
pub mod event_contract;
pub mod families;
mod local;
mod raw_publisher;
mod small_disk;

use std::env;
use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::sync::Mutex;
use tokio::time::sleep;

use self::container::Container;
use self::local::Local;
pub use self::raw_publisher::RawPublisher;
pub use self::small_disk::SmallDisk;
use crate::broker;
use crate::ports::Port;

/// How long [`wait_until`] waits.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A broker for one test, on a port that stays its own while it is stopped. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct Broker {
    backend: Mutex<Backend>,
    port: Port,
}

#[derive(Debug)]
enum Backend {
    Docker(Box<Container>),
    Process(Box<Local>),
}

impl Broker {
    /// A fresh broker with empty storage.
    pub async fn start() -> Self {
        let port = expect("claim a port", Port::claim());
        let backend = if use_docker().await {
            Backend::Docker(Box::new(expect(
                "start a broker in Docker",
                Container::start(port.number()).await,
            )))
        } else {
            Backend::Process(Box::new(expect("start a local broker", Local::start(port.number()).await)))
        };
        expect("reach the new broker", broker::wait_until_ready(port.number()).await);
        Self { backend: Mutex::new(backend), port }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// `nats://127.0.0.1:PORT`, without a user.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port())
    }

    /// Stops the broker in order; its storage stays.
    pub async fn stop(&self) {
        let result = match &mut *self.backend.lock().await {
            Backend::Docker(container) => container.stop().await,
            Backend::Process(local) => local.stop().await,
        };
        expect("stop the broker", result);
    }

    /// `kill -9`; its storage stays as it is.
    pub async fn kill(&self) {
        let result = match &mut *self.backend.lock().await {
            Backend::Docker(container) => container.kill().await,
            Backend::Process(local) => local.kill().await,
        };
        expect("kill the broker", result);
    }

    /// Starts a stopped or killed broker on its port and storage, and waits until it answers.
    pub async fn start_again(&self) {
        let result = match &mut *self.backend.lock().await {
            Backend::Docker(container) => container.start_again().await,
            Backend::Process(local) => local.start_again().await,
        };
        expect("start the broker again", result);
        expect("reach the broker", broker::wait_until_ready(self.port()).await);
    }

    /// Stops the broker if it runs, erases all that it has stored, and starts it again.
    pub async fn wipe(&self) {
        let result = match &mut *self.backend.lock().await {
            Backend::Docker(container) => container.wipe().await,
            Backend::Process(local) => local.wipe().await,
        };
        expect("wipe the broker", result);
        expect("reach the wiped broker", broker::wait_until_ready(self.port()).await);
    }

    /// A client of one of the users in `nats.conf`, with that user's own inbox prefix.
    pub async fn connect(&self, user: &str) -> async_nats::Client {
        let options = match user {
            // The default user: neither name nor password, and the only one whose replies are in `_INBOX.>`.
            "observer" => async_nats::ConnectOptions::new(),
            _ => async_nats::ConnectOptions::with_user_and_password(user.to_owned(), broker::password(user))
                .custom_inbox_prefix(format!("_INBOX_{user}")),
        };
        expect(&format!("connect as {user}"), options.connect(self.url()).await)
    }
}

/// Waits until `condition` holds; panics with `what` after [`DEADLINE`].
pub async fn wait_until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < DEADLINE, "waited {} s in vain until {what}", DEADLINE.as_secs());
        sleep(Duration::from_millis(20)).await;
    }
}

async fn use_docker() -> bool {
    match env::var("TEST_NATS").as_deref() {
        Ok("docker") => {
            let answer = container::engine_answers().await;
            expect("find the Docker engine that TEST_NATS=docker asks for", answer);
            true
        }
        Ok("process") => false,
        Ok("") | Err(_) => container::engine_answers().await.is_ok(),
        Ok(other) => panic!("TEST_NATS is {other:?}, and must be docker or process"),
    }
}

fn expect<T, E: Debug>(what: &str, result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("cannot {what}: {error:?}"))
}
