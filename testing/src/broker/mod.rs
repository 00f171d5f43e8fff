//! A broker for one test, with the repository's `nats.conf`.
//!
//! `TEST_NATS=docker` or `process` decides where it runs; unset, Docker is used where an engine answers.

mod action;
mod container;
mod local;

use std::env;

use processes::{Port, broker};
use tokio::sync::Mutex;

use self::action::Action;
use self::container::Container;
use self::local::Local;
use crate::expect;

/// A broker on a port that stays its own while it is stopped. Dropped, it leaves nothing behind.
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
            let container = Container::start(port.number()).await;
            Backend::Docker(Box::new(expect("start a broker in Docker", container)))
        } else {
            Backend::Process(Box::new(expect("start a local broker", Local::start(port.number()).await)))
        };
        expect("reach the new broker", broker::wait_until_ready(port.number()).await);
        Self { backend: Mutex::new(backend), port }
    }

    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// `nats://127.0.0.1:PORT`, without a user.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port())
    }

    /// Stops the broker in order; its storage stays.
    pub async fn stop(&self) {
        self.change("stop the broker", Action::Stop).await;
    }

    /// `kill -9`; its storage stays as it is.
    pub async fn kill(&self) {
        self.change("kill the broker", Action::Kill).await;
    }

    /// Starts a stopped or killed broker on its port and storage, and waits until it answers.
    pub async fn start_again(&self) {
        self.change("start the broker again", Action::StartAgain).await;
    }

    /// Stops the broker if it runs, erases all that it has stored, and starts it again.
    pub async fn wipe(&self) {
        self.change("wipe the broker", Action::Wipe).await;
    }

    async fn change(&self, what: &str, action: Action) {
        let changed = match &mut *self.backend.lock().await {
            Backend::Docker(container) => container.change(action).await,
            Backend::Process(local) => local.change(action).await,
        };
        expect(what, changed);
        if matches!(action, Action::StartAgain | Action::Wipe) {
            expect("reach the broker", broker::wait_until_ready(self.port()).await);
        }
    }

    /// A client of one of the users in `nats.conf`, with that user's own inbox prefix.
    pub async fn connect(&self, user: &str) -> async_nats::Client {
        expect(&format!("connect as {user}"), broker::options(user).connect(self.url()).await)
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
